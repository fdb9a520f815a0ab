"""The sliding window's arithmetic, against numpy in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.channels import window
from processors.engine.channels.window import PANES, merge
from processors.engine.engine_kernel import LATE, NORMAL, REPEATED, remember
from processors.engine.states import RECENT_TIMES, new_states

FINITE = st.floats(-1e6, 1e6)


def moments(values):
    count, mean, m2 = 0, 0.0, 0.0
    for value in values:
        count, mean, m2 = merge(count, mean, m2, 1, value, 0.0)
    return count, mean, m2


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_moments_are_numpys(values):
    count, mean, m2 = moments(values)
    assert count == len(values)
    assert mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert m2 / count == pytest.approx(np.var(values), rel=1e-7, abs=1e-4)


@given(st.lists(st.lists(FINITE, max_size=10), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_parts_merge_in_any_order(parts, rng):
    everything = [value for part in parts for value in part]
    shuffled = list(parts)
    rng.shuffle(shuffled)
    count, mean, m2 = 0, 0.0, 0.0
    for part in shuffled:
        count, mean, m2 = merge(count, mean, m2, *moments(part))
    assert count == len(everything)
    if everything:
        assert mean == pytest.approx(np.mean(everything), rel=1e-9, abs=1e-6)
        assert m2 == pytest.approx(np.var(everything) * count, rel=1e-7, abs=1e-3)


@given(
    st.sampled_from([1, 5, PANES]), st.lists(st.tuples(st.integers(0, 400), FINITE), min_size=1, max_size=80)
)
def test_window_holds_the_newest_panes(panes, readings):
    """Whatever the times, the window is the values of the last P panes behind the newest one, in order of arrival."""
    pane_length = 10
    state = new_states(1)[0]["window"]
    kept = []
    head = None
    for time, value in readings:
        pane = time // pane_length
        gone = head is not None and pane <= head - panes
        assert window.is_behind(state, pane, panes) == gone
        if gone:
            continue
        window.advance(state, pane, panes)
        head = pane if head is None else max(head, pane)
        window.add(state, pane, value)
        kept.append((pane, value))
    inside = [value for pane, value in kept if pane > head - panes]
    count, mean, m2 = window.moments(state, panes)
    assert count == len(inside)
    assert mean == pytest.approx(np.mean(inside), rel=1e-9, abs=1e-6)
    assert math.sqrt(m2 / count) == pytest.approx(np.std(inside), rel=1e-6, abs=1e-2)


@given(st.lists(st.integers(0, 300), max_size=200))
def test_remembered_times_tell_new_from_repeated(times):
    state = new_states(1)[0]
    seen: set[int] = set()
    for time in times:
        newest = sorted(seen)[-RECENT_TIMES:]
        verdict = remember(state, time)
        if len(newest) == RECENT_TIMES and time < newest[0]:
            assert verdict == LATE
        elif time in newest:
            assert verdict == REPEATED
        else:
            assert verdict == NORMAL
            seen.add(time)
    filled = state["recent_count"]
    oldest_first = np.roll(state["recent"], -int(state["recent_next"]))[RECENT_TIMES - filled :]
    assert list(oldest_first) == sorted(seen)[-RECENT_TIMES:]
