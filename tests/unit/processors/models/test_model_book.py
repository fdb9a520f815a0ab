"""Models in force: which series have one, and how a folder that changes is noticed."""

import json

from structlog.testing import capture_logs

from processors.detection.facts import DeviceFacts, KnownDevices
from processors.engine.book import OneProfile
from processors.engine.forests import joined
from processors.engine.profile import Profile, ValueMeaning
from processors.engine.series_index import SeriesName
from processors.models.book import with_models
from processors.models.files import save
from processors.models.info import ModelKey
from processors.models.store import ModelStore, load_models
from tests.support.models import KEY, USUAL_MEANING, a_forest, info_and_content

DEVICES = KnownDevices(
    {"o1": DeviceFacts(type="oven"), "o2": DeviceFacts(type="oven"), "h1": DeviceFacts(type="heater")}
)


def models_of(folder, *keys):
    for seed, key in enumerate(keys, start=1):
        forest, make = a_forest(seed)
        save(folder, *info_and_content(forest, make, key))
    return load_models(folder)


def model_number(book, *name):
    row = book.number(SeriesName(*name))  # the table may grow
    return int(book.table[row]["model"]["number"])


def test_series_of_a_type_and_metric_have_its_model(tmp_path):
    models = models_of(tmp_path, KEY, ModelKey("heater", "temperature"))
    book = with_models(OneProfile(), models, DEVICES)
    order = list(models.usable)
    for device, key in (("o1", KEY), ("o2", KEY), ("h1", ModelKey("heater", "temperature"))):
        number = model_number(book, device, "temperature")
        assert order[number] == key
        assert book.forests.table[number]["threshold"] == models.usable[key].info.threshold
    assert model_number(book, "o1", "power") == -1
    assert model_number(book, "somebody", "temperature") == -1


def test_all_else_is_as_in_the_other_book(tmp_path):
    profile = Profile(kinds={"spike": "burst"})
    book = with_models(OneProfile(profile), models_of(tmp_path, KEY), DEVICES)
    number = book.number(SeriesName("o1", "temperature"))
    plain = OneProfile(profile).table[0]
    row = book.table[number]
    assert all(row[part] == plain[part] for part in plain.dtype.names if part != "model")
    assert book.kinds(number) == {"spike": "burst"}
    assert book.origin(SeriesName("o1", "temperature")) == 0


def test_without_models_the_book_stays(tmp_path):
    book = OneProfile()
    assert with_models(book, load_models(tmp_path / "none"), DEVICES) is book


def test_a_model_of_other_panes_is_not_asked(tmp_path):
    models = models_of(tmp_path, KEY)
    with capture_logs() as logs:
        book = with_models(OneProfile(Profile(meaning=ValueMeaning(pane_s=60.0))), models, DEVICES)
        assert model_number(book, "o1", "temperature") == -1
        assert model_number(book, "o2", "temperature") == -1
    (said,) = logs
    assert said["event"].startswith("model not asked")
    assert (said["trained_with"], said["now"]) == (str(USUAL_MEANING), "panes of 60 s")


def test_forests_stand_side_by_side():
    one, other = a_forest(1)[0], a_forest(2)[0]
    both = joined([one, other])
    assert both.table["first"].tolist() == [0, len(one.roots)]
    assert len(both.nodes) == len(one.nodes) + len(other.nodes)
    assert both.roots[len(one.roots)] == len(one.nodes)


def test_a_folder_that_changes_is_noticed(tmp_path):
    folder = tmp_path / "models"
    store = ModelStore(folder)
    assert not store.changed()
    assert not store.models.usable
    path = save(folder, *info_and_content())
    assert store.changed()
    assert list(store.models.usable) == [KEY]
    assert not store.changed()
    forest, make = a_forest(2)
    save(folder, *info_and_content(forest, make))
    assert store.changed()
    assert store.models.usable[KEY].forest.nodes.tobytes() == forest.nodes.tobytes()
    path.unlink()
    assert store.changed()
    assert not store.models.usable


def test_what_is_refused_is_not_in_force_and_said(tmp_path):
    path = save(tmp_path, *info_and_content())
    store = ModelStore(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 7}))
    with capture_logs() as logs:
        assert store.changed()
    assert not store.models.usable
    assert [(one["event"], one["file"]) for one in logs] == [("model refused", str(path))]


def test_the_same_model_once_more_changes_nothing(tmp_path):
    save(tmp_path, *info_and_content())
    store = ModelStore(tmp_path)
    save(tmp_path, *info_and_content())
    assert not store.changed()
