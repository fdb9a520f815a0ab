"""The record of a statistic: it follows a block behind, and what alarmed fades."""

import pytest

from processors.engine.channels import record
from processors.engine.profile import RecordLimits, SpikeLimits
from tests.unit.processors.engine.channels.channel_runs import limits_of, new_state

THRESHOLD = 10.0


def limits(**fields):
    return limits_of("spike", limits=SpikeLimits(memory=RecordLimits(**fields)))["memory"]


def note(state, values, **fields):
    for value in values:
        record.note(state, value, THRESHOLD, limits(**fields))
    return record.largest(state)


def test_it_follows_when_a_block_is_full():
    state = new_state(record.STATE)
    assert note(state, [3.0, 5.0, 1.0], block=4.0, calm_decay=0.0) == 0.0
    assert note(state, [2.0], block=4.0, calm_decay=0.0) == 5.0


def test_a_statistic_that_climbs_step_by_step_does_not_take_its_threshold_along():
    """Each value is half as large again as the last: with a record that follows at once none of them would alarm."""
    state = new_state(record.STATE)
    alarms = 0
    for value in (9.0 * 1.4**k for k in range(10)):
        threshold = max(THRESHOLD, 1.5 * record.largest(state))
        alarms += value >= threshold
        record.note(state, value, threshold, limits(block=60.0))
    assert alarms == 9


def test_the_calm_part_decays_slowly_and_the_alarmed_part_faster():
    calm, alarmed = new_state(record.STATE), new_state(record.STATE)
    decays = {"block": 1.0, "calm_decay": 1e-3, "alarmed_decay": 1e-2}
    assert note(calm, [8.0], **decays) == 8.0
    assert note(alarmed, [20.0], cap=1.5, **decays) == 15.0
    assert note(calm, [0.0] * 100, **decays) == pytest.approx(8.0 * 0.999**100)
    assert note(alarmed, [0.0] * 100, **decays) == pytest.approx(15.0 * 0.99**100)


def test_an_alarm_is_remembered_up_to_the_cap_and_by_its_share():
    assert note(new_state(record.STATE), [1e9], block=1.0, cap=2.0) == 2.0 * THRESHOLD
    assert note(new_state(record.STATE), [1e9], block=1.0, cap=2.0, share=0.25) == 0.5 * THRESHOLD


def test_a_habit_stops_alarming():
    state, alarms = new_state(record.STATE), []
    for _ in range(40):
        threshold = max(THRESHOLD, 1.5 * record.largest(state))
        alarms.append(threshold <= 12.0)
        record.note(state, 12.0, threshold, limits(block=1.0, alarmed_decay=0.01))
    assert alarms[0]
    assert sum(alarms) < 5
