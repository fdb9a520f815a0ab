"""The quality in a run's summary: there where it can be said, and never in the way."""

from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from deploy.quality.model import Episode, FaultEvent, Rules, Watched
from deploy.quality.report import as_json
from deploy.quality.scoring import score
from deploy.reconcile import Ledger, Verdict
from deploy.stack.display import summary_lines
from deploy.stack.measuring import quality_of_run
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from schemas.settings import load_settings

VERDICT = Verdict(9, 9, 9, 1, 1, 0, 0, 0)


def test_the_summary_has_it_where_there_is_one():
    assert "quality" not in VERDICT.as_json()
    assert not any("detection" in line.plain for line in summary_lines(VERDICT))
    rules = Rules(warmup_us=0)
    said = as_json(
        score(
            [FaultEvent("d", "spike", 10, 10), FaultEvent("d", "drift", 50, 60)],
            [Episode("d", "m", "spike", 10), Episode("d", "m", "spike", 40)],
            [Watched("d", 0, 0, 100, 1)],
            rules,
        )
    )
    verdict = replace(VERDICT, quality=said)
    assert verdict.as_json()["quality"]["recall"] == 0.5
    (line,) = (line.plain for line in summary_lines(verdict) if "detection" in line.plain)
    assert line == "detection  1 of 2 faults found (50.0%)   false alarms 1 (precision 50.0%)"


@pytest.mark.parametrize("url", ["postgresql://me:hush@127.0.0.1:1/x", None])
def test_a_database_that_does_not_answer_fails_nothing(url):
    settings = load_settings(None, {} if url is None else {"database.url": url})
    with capture_logs() as logs:
        assert quality_of_run(settings, (0, 1_000_000)) is None
    (entry,) = logs
    assert entry["event"] == "the quality of detection cannot be said"
    assert "hush" not in str(entry)


def test_a_run_without_readings_is_not_asked_about():
    assert quality_of_run(load_settings(None, {}), None) is None


def test_the_ledger_knows_from_when_to_when_its_readings_are():
    ledger, codec = Ledger(), Codec(Catalogue())
    assert ledger.span is None
    for times in ([5_000_000, 3_000_000], [9_000_000]):
        values = [codec.encode_reading(Reading("d", "m", time, 1.0)) for time in times]
        stamps = np.full(len(values), 10_000, np.int64)
        ledger.add(0, np.arange(len(values)), decode_readings(values, stamps, codec, TimeBounds()))
    assert ledger.span == (3_000_000, 9_000_000)
