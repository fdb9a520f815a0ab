"""The devices as they are now, from what the fleet was told."""

from datetime import UTC, datetime, timedelta

import pytest
from api_parts import device_row, latest, reading, told_fleet

from sinks.queries.devices import OpenAnomalies
from sinks.queries.selection import Selection


@pytest.fixture
def fleet():
    return told_fleet()


def test_the_state_is_the_worst_thing_that_is_known(fleet):
    states = {one.device_id: one.state for one in fleet.devices()}
    assert states == {name: name for name in ("critical", "info", "quiet", "silent", "unseen", "warning")} | {
        "stray": "quiet"
    }


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(types=("pump",)), ["silent", "unseen", "warning"]),
        (Selection(types=("oven",), search="QUI"), ["quiet"]),
        (Selection(devices=("stray", "nobody")), ["stray"]),
        (Selection(search="name of w"), ["warning"]),
        (Selection(places=("Nowhere",)), []),
    ],
    ids=str,
)
def test_devices_are_narrowed(fleet, selection, names):
    assert [one.device_id for one in fleet.devices(selection)] == names


def test_readings_that_come_make_a_device_heard_of(fleet):
    now = int(datetime.now(UTC).timestamp() * 1e6)
    fleet.take([reading("silent", value=7.0, time=now), reading("new", metric="power", time=now)])
    assert fleet.device("silent").state == "quiet"
    assert fleet.device("silent").latest["temperature"].value == 7.0
    assert fleet.device("new").description is None
    fleet.take([reading("silent", value=8.0, time=now - 1), reading("silent", time=2**62)])
    assert fleet.device("silent").latest["temperature"].value == 7.0


def test_the_newest_reading_of_all_metrics_is_when_it_was_seen(fleet):
    fleet.tell([device_row("a")], [latest("a", 900), latest("a", 30, metric="power")])
    found = fleet.device("a")
    assert datetime.now(UTC) - found.last_seen < timedelta(seconds=300)
    assert fleet.device("nobody") is None
    fleet.tell(opened={"only in alarm": OpenAnomalies(warning=1)})
    assert fleet.device("only in alarm").state == "warning"
