"""The queue of messages that go out later, in virtual time."""

import numpy as np

from producers.batches import ReadingBatch
from producers.troubles.sends import Sends

NOTHING = Sends.untroubled(ReadingBatch.of([], [], [], []))


class DelayQueue:
    """Messages by the time at which they go out.

    They lie in runs, each sorted, each at least twice as long as the next: so a message is copied a logarithmic number of
    times, and looking for what is due costs a search a run, however many messages wait.
    """

    def __init__(self) -> None:
        self._runs: list[Sends] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def push(self, sends: Sends) -> None:
        """Put messages in, in any order."""
        if not len(sends):
            return
        self._runs.append(_sorted(sends))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [_sorted(Sends.joined(self._runs[-2:]))]

    def take(self, until_us: int | None) -> Sends:
        """Take out what goes out before `until_us` (None: all), by time of going out, of reading, series and copy.

        That order is a total one, so it does not depend on how time was cut.
        """
        due, left = [], []
        for run in self._runs:
            end = len(run) if until_us is None else int(np.searchsorted(run.send_us, until_us))
            if end:
                due.append(run.rows(0, end))
            if end < len(run):
                left.append(run.rows(end, len(run)))
        if not due:
            return NOTHING
        self._runs = left
        taken = Sends.joined(due)
        return taken.take(np.lexsort((taken.copy, taken.batch.series, taken.true_us, taken.send_us)))

    def next_us(self) -> int | None:
        """When the next message goes out; None where none waits."""
        return min((int(run.send_us[0]) for run in self._runs), default=None)

    def all(self) -> Sends:
        """All that waits; it stays in."""
        return Sends.joined([NOTHING, *self._runs])


def _sorted(sends: Sends) -> Sends:
    return sends.take(np.argsort(sends.send_us, kind="stable"))
