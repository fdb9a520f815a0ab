"""Rows of the database as `sigmawatch read` shows them."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from deploy.cli.questions import moment_or_ago
from deploy.stored_rows import json_of, line_of, rows_as_they_come
from schemas.errors import ConfigError
from sinks.queries.anomalies import AnomalyRow
from sinks.queries.readings import ReadingRow
from sinks.queries.selection import Selection

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(seconds, device="a"):
    return ReadingRow(device, "power", NOW + timedelta(seconds=seconds), 1.5, None)


class Turns:
    """An event that is set after some waits, before each of which more rows come."""

    def __init__(self, rows, *later):
        self.rows, self.later = list(rows), list(later)

    def wait(self, _):
        if not self.later:
            return True
        self.rows += self.later.pop(0)
        return False

    def page(self, selection, limit):
        found = [one for one in self.rows if selection.begin is None or one.time >= selection.begin]
        return sorted(found, key=lambda one: one.time, reverse=True)[:limit]


def shown(turns, limit=2, selection=None):
    rows = rows_as_they_come(turns.page, selection or Selection(), limit, turns)
    return [(one.time - NOW).total_seconds() for one in rows]


def test_the_newest_in_the_order_of_time_and_then_the_end():
    turns = Turns([row(n) for n in range(5)])
    rows = rows_as_they_come(turns.page, Selection(), 2, None)
    assert [one.time for one in rows] == [row(3).time, row(4).time]


def test_what_comes_is_shown_once_and_what_was_there_is_not():
    turns = Turns([row(n) for n in range(5)], [row(5), row(6)], [], [row(7)])
    assert shown(turns) == [3, 4, 5, 6, 7]


def test_a_row_that_comes_a_little_late_is_shown_and_one_much_too_late_is_not():
    turns = Turns([row(1000)], [row(1001)], [row(960)], [row(800)])
    assert shown(turns) == [1000, 1001, 960]


def test_an_empty_database_is_waited_for():
    assert shown(Turns([], [], [row(1)], [row(2)])) == [1, 2]
    begin = Selection(begin=NOW + timedelta(seconds=2))
    assert shown(Turns([], [row(1), row(2)]), selection=begin) == [2]


ANOMALY = AnomalyRow(
    *(UUID(int=1), "<b>", "power", "drift", "OPENED", "CRITICAL", NOW, None, 40.0, None, 9.5, 20.0, 2.0),
    *(
        -math.inf,
        28.0,
        3,
        "shift",
        "far [red]away[/red]",
        None,
        None,
        NOW,
        NOW,
        "oven",
        "Oven",
        "Denver",
        "kW",
    ),
)


def test_an_anomaly_that_was_cleared_is_shown_again():
    cleared = replace(ANOMALY, state="CLEARED", cleared_at=NOW)
    states = [[ANOMALY], [cleared]]
    turns = Turns([], [], [])
    rows = rows_as_they_come(
        lambda _, __: states.pop(0) if len(states) > 1 else states[0], Selection(), 5, turns, None
    )
    assert [one.state for one in rows] == ["OPENED", "CLEARED"]


def test_rows_as_json_and_for_people():
    assert json_of(row(0.5)) == {
        "device_id": "a",
        "metric": "power",
        "time": "2026-03-01T12:00:00.500000Z",
        "value": 1.5,
        "fault": None,
    }
    assert json_of(ANOMALY)["lower"] is None
    assert json_of(ANOMALY)["anomaly_id"] == "00000000-0000-0000-0000-000000000001"
    assert line_of(row(0.5)).plain == "2026-03-01 12:00:00.500  a  power  1.5"
    assert line_of(ANOMALY).plain.endswith("OPENED   CRITICAL  <b>  power  drift  far [red]away[/red]")


def test_since_is_a_time_or_how_long_ago():
    assert moment_or_ago("--since", "2h", NOW) == NOW - timedelta(hours=2)
    assert moment_or_ago("--since", "2026-03-01T00:00:00Z", NOW) == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment_or_ago("--since", None, NOW) is None
    with pytest.raises(ConfigError, match="--since yesterday"):
        moment_or_ago("--since", "yesterday", NOW)
