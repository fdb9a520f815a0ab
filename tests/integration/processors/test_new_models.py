"""A model that is trained while a processor runs: it judges by it, without a restart."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from processors.models.files import save
from schemas.readings import Reading
from schemas.testing import device
from tests.support.chaos import CODEC, STANDARD
from tests.support.models import BEGIN, DAY, MINUTE, day_after_day, info_and_content
from tests.support.processing import (
    Pipeline,
    Processor,
    all_committed,
    announce,
    processors,
    rules_changes,
    until_applied,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

OTHERS = ["spike", "jump", "range", "rare", "energy", "pattern", "shift", "stuck", "flicker", "dwell", "gap"]
RULES = "rules: [{" + ", ".join(f"{channel}: {{on: false}}" for channel in OTHERS) + "}]"
"""The model's channel alone."""
DAYS = 3
ODD = range(2 * 1440 + 300, 2 * 1440 + 420)
"""Minutes in which an oven does what is usual at another time of the day."""


@dataclass
class WithModels(Pipeline):
    """Workers look for models in a folder."""

    folder: Path = field(default=Path())

    def overrides(self, **processor):
        return {**super().overrides(**processor), "models.folder": str(self.folder)}


def stretch(number):
    """Days of an oven, a reading a minute; late on the last one its values are those of half a day before."""
    values = day_after_day(DAYS, seed=80 + number)
    values[ODD] = values[ODD.start - 720 : ODD.stop - 720]
    begin = BEGIN + (30 + number * DAYS) * DAY
    return [
        Reading("oven-1", "temperature", begin + row * MINUTE, float(value))
        for row, value in enumerate(values)
    ]


def test_a_running_processor_judges_by_a_model_that_was_trained_meanwhile(broker, tmp_path):
    pipeline = WithModels(broker.bootstrap_servers, partitions=2, folder=tmp_path / "models").create_topics()
    pipeline.folder.mkdir()
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    announce(pipeline, [device("oven-1", type="oven")])
    with processors(pipeline, tmp_path, 0) as workers:
        worker = Processor(pipeline, tmp_path / "worker.log", preset=STANDARD, rules=str(rules), reload=0.2)
        workers.append(worker)
        sent = 0

        def alarms(number):
            """What a stretch raises."""
            nonlocal sent
            readings = stretch(number)
            sent += pipeline.send(readings)
            until_applied(workers, sent)
            until(lambda: all_committed(worker), what="a checkpoint has flushed the anomalies", pause=0.1)
            found = [CODEC.decode_anomaly(value) for value in pipeline.anomalies_found().values()]
            return [one for one in found if one.opened_at >= readings[0].time]

        assert alarms(0) == []
        save(pipeline.folder, *info_and_content())
        until(lambda: rules_changes(worker, "in_force") == 1, what="the model is in force", pause=0.1)
        found = alarms(1)
        assert {one.channel for one in found} == {"model"}
        worker.stop()
