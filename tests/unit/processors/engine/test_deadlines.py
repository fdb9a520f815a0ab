"""The heap of deadlines against a scan of all of them, and the clock against a list of devices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.deadlines import CLOCK, NEVER, NO_CLOCK, UNSET, ClockTime, Heap, set_key, tell_time

KEYS = st.one_of(st.integers(0, 20), st.just(UNSET))
STEPS = st.lists(st.one_of(st.tuples(st.integers(0, 200), KEYS), st.integers(1, 5)), max_size=120)


def assert_heap(heap):
    size = len(heap.order)
    assert sorted(heap.order.tolist()) == list(range(size))
    assert (heap.place[heap.order] == np.arange(size)).all()
    entries = [(heap.key[s], heap.tie[s]) for s in heap.order]
    assert all(entries[(at - 1) // 2] <= entries[at] for at in range(1, size))


@given(STEPS, st.randoms(use_true_random=False))
def test_the_first_is_the_one_that_a_scan_finds(steps, rng):
    heap, ties, keys = Heap(), np.zeros(0, np.uint64), []
    for step in steps:
        if isinstance(step, int):
            have = len(ties)
            # of hashes: all different
            new = np.array([rng.getrandbits(44) << 20 | have + i for i in range(step)], np.uint64)
            ties = np.concatenate([ties, new])
            heap.add(new)
            keys += [UNSET] * step
        elif keys:
            series, key = step[0] % len(keys), step[1]
            set_key(heap.order, heap.place, heap.key, heap.tie, series, key)
            keys[series] = key
        assert_heap(heap)
        assert heap.key.tolist() == keys
        if keys:
            assert heap.order[0] == min(range(len(keys)), key=lambda s: (keys[s], int(ties[s])))


@given(st.lists(KEYS, min_size=1, max_size=60))
def test_taking_the_first_again_and_again_sorts(keys):
    heap = Heap()
    heap.add(np.arange(len(keys), dtype=np.uint64)[::-1].copy())
    for series, key in enumerate(keys):
        set_key(heap.order, heap.place, heap.key, heap.tie, series, key)
    taken = []
    while heap.key[heap.order[0]] != UNSET:
        first = heap.order[0]
        taken.append(int(heap.key[first]))
        set_key(heap.order, heap.place, heap.key, heap.tie, first, UNSET)
    assert taken == sorted(key for key in keys if key != UNSET)


READINGS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50)), max_size=60)


def shown(clock):
    return ClockTime(*clock[0].item())


def told(readings, clock=NO_CLOCK):
    record = np.array([clock], CLOCK)
    for device, time in readings:
        tell_time(record[0], device, time)
    return shown(record)


@given(READINGS)
def test_the_clock_shows_the_second_newest_device(readings):
    """It never goes back, and shows at most what all but one device have reached."""
    record, newest, before = np.array([NO_CLOCK], CLOCK), {}, NEVER
    for device, time in readings:
        tell_time(record[0], device, time)
        newest[device] = max(newest.get(device, time), time)
        clock = shown(record)
        assert clock.leader_time == max(newest.values())
        assert clock.time >= before
        if len(newest) == 1:
            assert clock.time == NEVER
        else:
            assert sorted(newest.values())[-2] <= clock.time <= clock.leader_time
        before = clock.time


@given(READINGS, st.integers(0, 60))
def test_readings_that_come_again_do_not_move_the_clock(readings, again):
    clock = told(readings)
    assert told(readings[again:], clock) == clock


def test_one_device_alone_moves_no_clock():
    assert told([(1, time) for time in range(100)]).time == NEVER
    assert told([(1, 10), (2, 20), (1, 10**9), (1, 2 * 10**9)]).time == 20
