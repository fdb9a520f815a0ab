import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import DeadLetterReason
from schemas.readings import Reading
from sinks.timescale.plan import first_new, first_of_each_key, plan_readings
from tests.support.sink_columns import columns_of

# Few texts whose concatenations collide, so that keys repeat and nearly repeat.
FEW = st.builds(
    Reading,
    st.sampled_from(["a", "ab", "abc", "é"]),
    st.sampled_from(["a", "b", "bc", "c"]),
    st.integers(-2, 2),
    st.floats(0, 1),
)


@given(st.lists(FEW, max_size=60), st.data())
def test_each_message_has_one_fate_and_the_first_of_a_key_wins(
    readings: list[Reading], data: st.DataObject
) -> None:
    status = data.draw(
        st.lists(st.sampled_from([0, 0, 0, 5, 7]), min_size=len(readings), max_size=len(readings))
    )
    plan = plan_readings(columns_of(readings, status))

    seen: set[tuple[str, str, int]] = set()
    rows, repeated = [], []
    for index, (reading, code) in enumerate(zip(readings, status, strict=True)):
        key = reading.device_id, reading.metric, reading.time
        if code == 0:
            (repeated if key in seen else rows).append(index)
            seen.add(key)
    assert plan.rows.tolist() == rows
    assert plan.repeated.tolist() == repeated
    assert plan.refused == [(i, DeadLetterReason(code)) for i, code in enumerate(status) if code]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=400))
def test_large_batches(pairs: list[tuple[int, int]]) -> None:
    readings = [Reading(f"device-{device}", "m", time, 0.0) for device, time in pairs]
    fresh = first_of_each_key(columns_of(readings), np.arange(len(readings)))
    assert [pair for pair, new in zip(pairs, fresh, strict=True) if new] == list(dict.fromkeys(pairs))


@given(st.sets(st.integers(0, 50)), st.integers(0, 60))
def test_new_messages_are_those_from_the_position_on(offsets: set[int], position: int) -> None:
    ascending = np.array(sorted(offsets), np.int64)
    first = first_new(position, ascending)
    assert ascending[first:].tolist() == [offset for offset in sorted(offsets) if offset >= position]


def test_offsets_that_do_not_ascend_are_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="ascend"):
        first_new(0, np.array([3, 3]))
