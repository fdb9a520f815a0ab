"""New models reach a running processor as changed rules do: looked for in between, in force behind a checkpoint."""

from pathlib import Path

from deploy.modelling.folder import models_folder, with_models_folder
from processors.detection.facts import DeviceFacts, Directory
from processors.detection.renewal import Renewal
from processors.detection.rules import Rules
from processors.engine.book import OneProfile
from processors.engine.series_index import SeriesName
from processors.metrics import Metrics
from processors.models.book import with_models
from processors.models.files import save
from processors.models.store import ModelStore
from processors.profiles import profile_renewal
from schemas.settings import ModelSettings, Settings
from tests.support.models import a_forest, info_and_content

NAME = SeriesName("o1", "temperature")


def number_of(book):
    row = book.number(NAME)
    return int(book.table[row]["model"]["number"])


def renewal_of(folder):
    directory = Directory()
    directory.take("o1", DeviceFacts(type="oven"))
    store = ModelStore(folder)

    def make(rules):
        assert rules == Rules()
        return with_models(OneProfile(), store.models, directory)

    return Renewal(
        make(Rules()), directory=directory, models=lambda rules: make(rules) if store.changed() else None
    )


def test_a_new_model_waits_to_be_adopted(tmp_path):
    renewal = renewal_of(tmp_path)
    assert number_of(renewal.book) == -1
    renewal.look()
    assert not renewal.has_news
    save(tmp_path, *info_and_content())
    renewal.look(rules=False)
    assert not renewal.has_news
    renewal.look()
    assert renewal.has_news
    assert number_of(renewal.book) == -1
    news = renewal.adopt()
    assert news.devices is None  # all series are asked for anew
    assert number_of(renewal.book) == 0
    assert not renewal.has_news


def test_one_that_is_trained_anew_takes_over(tmp_path):
    save(tmp_path, *info_and_content())
    renewal = renewal_of(tmp_path)
    before = renewal.book.forests.nodes
    save(tmp_path, *info_and_content(*a_forest(2)))
    renewal.look()
    renewal.adopt()
    assert renewal.book.forests.nodes.tobytes() != before.tobytes()


def test_a_processor_has_the_models_of_its_folder(tmp_path):
    save(tmp_path, *info_and_content())
    settings = Settings(models=ModelSettings(folder=tmp_path))
    assert len(profile_renewal(settings, Metrics()).book.forests.table) == 1
    assert len(profile_renewal(Settings(), Metrics()).book.forests.table) == 0


def test_the_folder_lies_in_the_state_folder():
    assert models_folder(Settings(state_dir=Path("/state"))) == Path("/state/models")
    assert with_models_folder(Settings(state_dir=Path("/state"))).models.folder == Path("/state/models")
    named = Settings(state_dir=Path("/state"), models=ModelSettings(folder=Path("/models")))
    assert models_folder(named) == Path("/models")
