"""Which series is overdue, by the partition's own event time.

The partition's clock is the second newest of its devices' newest event times: one device whose clock is ahead cannot
move it. A heap holds for each series a time at which its deadline is looked at again; such a time may be too early,
never too late, so most readings leave the heap alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.compiled import compiled_borrowing

UNSET = int(np.iinfo(np.int64).max)
"""Key of a series without a deadline."""

NEVER = int(np.iinfo(np.int64).min)

CLOCK = np.dtype(
    [
        ("leader", "u8"),  # hash of the device with the newest event time
        ("leader_time", "i8"),
        ("time", "i8"),  # of the newest of all others: what the clock shows, NEVER before there are two
    ]
)


class ClockTime(NamedTuple):
    """A clock at rest, as a checkpoint keeps it; see `CLOCK`."""

    leader: int = 0
    leader_time: int = NEVER
    time: int = NEVER


NO_CLOCK = ClockTime()


class Heap:
    """Arrays of an indexed binary heap over series numbers.

    Attributes:
        order: (n,) series numbers, heap-ordered by (key, tie).
        place: (n,) where in `order` a series is.
        key: (n,) when to look at it.
        tie: (n,) hash of its name, so that equal times come in the same order everywhere.
    """

    def __init__(self) -> None:
        self.order: NDArray[np.int64] = np.zeros(0, np.int64)
        self.place: NDArray[np.int64] = np.zeros(0, np.int64)
        self.key: NDArray[np.int64] = np.zeros(0, np.int64)
        self.tie: NDArray[np.uint64] = np.zeros(0, np.uint64)

    def add(self, ties: NDArray[np.uint64]) -> None:
        """Take in as many more series; they have no deadline and stand at the end, where the heap stays one."""
        have, more = len(self.order), len(ties)
        numbers = np.arange(have, have + more)
        self.order = np.concatenate([self.order, numbers])
        self.place = np.concatenate([self.place, numbers])
        self.key = np.concatenate([self.key, np.full(more, UNSET)])
        self.tie = np.concatenate([self.tie, ties])
        for number in numbers:
            sift_up(self.order, self.place, self.key, self.tie, number)


@compiled_borrowing
def tell_time(clock, device, time):
    """A device's reading was seen."""
    if clock.leader_time == NEVER or device == clock.leader:
        clock.leader = device
        clock.leader_time = max(clock.leader_time, time)
    elif time > clock.leader_time:
        clock.time = clock.leader_time
        clock.leader = device
        clock.leader_time = time
    elif time > clock.time:
        clock.time = time


@compiled_borrowing
def _before(key, tie, a, b):
    return key[a] < key[b] or (key[a] == key[b] and tie[a] < tie[b])


@compiled_borrowing
def sift_up(order, place, key, tie, series):
    """Restore the order after a series' key became smaller."""
    at = place[series]
    while at > 0:
        above = (at - 1) >> 1
        other = order[above]
        if not _before(key, tie, series, other):
            break
        order[at] = other
        place[other] = at
        at = above
    order[at] = series
    place[series] = at


@compiled_borrowing
def sift_down(order, place, key, tie, series):
    """Restore the order after a series' key became larger."""
    at = place[series]
    size = len(order)
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _before(key, tie, order[below + 1], order[below]):
            below += 1
        other = order[below]
        if not _before(key, tie, other, series):
            break
        order[at] = other
        place[other] = at
        at = below
    order[at] = series
    place[series] = at


@compiled_borrowing
def set_key(order, place, key, tie, series, new):
    """Give a series another key."""
    old = key[series]
    key[series] = new
    if new < old:
        sift_up(order, place, key, tie, series)
    elif new > old:
        sift_down(order, place, key, tie, series)
