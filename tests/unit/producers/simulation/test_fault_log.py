"""The log of faults that come and go, against the readings that say which fault they have."""

from collections import Counter

import numpy as np
import pytest
from fleets_of_tests import SECOND, START, flat, fleet_of
from structlog.testing import capture_logs

from producers.clock import MAX_SPEED
from producers.options import SimulateOptions
from producers.simulation.commands import ClearFaults, DeleteDevices, InjectFault, Selector
from producers.simulation.fault_log import FaultLog
from producers.simulation.running import run_simulate
from schemas.settings import LogSettings, Settings

LEAK = {"effect": "add", "sign": "up", "intensity": 5, "duration": "3 readings"}
TYPES = {"pump": {"metrics": {"level": flat()}, "faults": {"leak": LEAK}}}
ONE, OTHER = Selector(device_id="p-1"), Selector(device_id="p-2")
BEGIN = START + 2 * SECOND


@pytest.fixture
def fleet(tmp_path):
    """Two pumps that were read twice."""
    made = fleet_of(tmp_path, TYPES, [{"type": "pump", "device_id": "p-{number}", "count": 2}])
    made.between(START, BEGIN)
    return made


def told(fleet, log, seconds, begin=BEGIN):
    """What is logged while the fleet runs, second by second."""
    with capture_logs() as logs:
        for end in range(begin + SECOND, begin + (seconds + 1) * SECOND, SECOND):
            fleet.between(end - SECOND, end)
            log(end)
    return logs


def moment(text):
    """µs of a time in the log."""
    return int(np.datetime64(text.removesuffix("Z"), "us").astype(np.int64))


def test_a_fault_is_told_when_it_begins_and_when_it_ends(fleet):
    fleet.apply(InjectFault(ONE, fault="leak"))
    began, ended = told(fleet, FaultLog(fleet), 10)
    start, end = moment(began.pop("at")), moment(ended.pop("at"))
    assert began == {
        "event": "a fault began",
        "log_level": "debug",
        "device_id": "p-1",
        "fault": "leak",
        "readings": 3,
        "intensity": 5.0,
        "values": {"level": 105.0},
    }
    assert ended == {"event": "a fault ended", "log_level": "debug", "device_id": "p-1", "fault": "leak"}
    assert BEGIN <= start < BEGIN + SECOND
    assert end - start == 3 * SECOND


def test_one_that_follows_on_another_is_another(fleet):
    log = FaultLog(fleet)
    fleet.apply(InjectFault(ONE, fault="leak", until_cleared=True))
    (began,) = told(fleet, log, 3)
    assert began["readings"] is None
    fleet.apply(InjectFault(ONE, fault="leak", readings=7))
    ended, again = told(fleet, log, 3, BEGIN + 3 * SECOND)
    assert (ended["event"], again["event"], again["readings"]) == ("a fault ended", "a fault began", 7)
    assert moment(ended["at"]) <= BEGIN + 4 * SECOND


def test_what_is_cleared_or_goes_with_its_device_has_ended(fleet):
    log = FaultLog(fleet)
    fleet.apply(InjectFault(fault="leak", until_cleared=True))
    assert [said["device_id"] for said in told(fleet, log, 2)] == ["p-1", "p-2"]
    fleet.apply(ClearFaults(ONE))
    fleet.apply(DeleteDevices(OTHER))
    ended = told(fleet, log, 2, BEGIN + 2 * SECOND)
    assert [(said["event"], said["device_id"]) for said in ended] == [
        ("a fault ended", "p-1"),
        ("a fault ended", "p-2"),
    ]


def simulated(publisher, clock, level, **options):
    """The summary of a simulation, and what it said about faults."""
    with capture_logs() as logs:
        summary = run_simulate(
            Settings(log=LogSettings(level=level)),
            SimulateOptions(fleet="energy", **options),
            clock=clock,
            publisher=publisher,
        )
    return summary, [said for said in logs if "fault" in said]


@pytest.mark.parametrize(("speed", "interval"), [(MAX_SPEED, 60.0), (60.0, 60.0), (1.0, 1.0), (1.0, 0.01)])
def test_at_level_debug_every_fault_of_a_simulation_is_told(publisher, codec, clock, speed, interval):
    times = {"speed": speed, "interval": interval, "duration": 100 * interval}
    summary, said = simulated(publisher, clock, "debug", anomaly_rate=0.2, **times)
    began = [line for line in said if line["event"] == "a fault began"]
    assert Counter(line["fault"] for line in began) == summary.episodes
    assert len(began) > 25
    readings = [codec.decode_reading(m.value) for m in publisher.sent if m.topic == "readings"]
    labels = {(reading.device_id, reading.fault, reading.time) for reading in readings}
    assert {(line["device_id"], line["fault"], moment(line["at"])) for line in began} <= labels
    # All but those that are still there.
    assert len(began) - 5 <= len(said) - len(began) <= len(began)


def test_it_says_nothing_at_any_other_level_and_the_readings_are_the_same(publisher, clock):
    sent = []
    for level in ("debug", "info"):
        publisher.sent.clear()
        _, said = simulated(publisher, clock, level, speed=MAX_SPEED, duration=3600.0)
        assert bool(said) == (level == "debug")
        sent.append([(message.key, message.value) for message in publisher.sent])
    assert sent[0] == sent[1]
