"""The stage between the fleet and where its readings go: `Troubles`. Pure: no clock, no I/O."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from producers.batches import ReadingBatch, SeriesTable
from producers.troubles.delays import DelayQueue
from producers.troubles.devices import Clocks, Keys, Links
from producers.troubles.draws import TroubleStream, Words, between, draw, hits, microseconds
from producers.troubles.sends import DELAYED, Sends, Trouble
from producers.troubles.settings import MalformedKind, TroubleSettings
from producers.troubles.state import State, load_sends, save_sends

Ints = NDArray[np.int64]

_KIND_NUMBERS = {kind: number for number, kind in enumerate(MalformedKind, 1)}
_NON_FINITE = np.array([np.nan, np.inf, -np.inf])


@dataclass(slots=True)
class TroubleCounts:
    """What happened so far; ground truth for what comes out at the other end.

    Attributes:
        readings: that the fleet made.
        dropped: of them, never sent.
        messages: sent, with copies and what is malformed.
        distinct: well-formed readings sent, each counted once: those that a sink must have, once.
        duplicates: copies among the messages.
        malformed: messages that are no readings, copies as well: those that must become dead letters.
        late, out_of_order, held, skewed: messages that this befell; more than one can.
    """

    readings: int = 0
    dropped: int = 0
    messages: int = 0
    distinct: int = 0
    duplicates: int = 0
    malformed: int = 0
    late: int = 0
    out_of_order: int = 0
    held: int = 0
    skewed: int = 0

    def add(self, sends: Sends) -> None:
        """Count messages that are sent."""
        self.messages += len(sends)
        troubles = sends.troubles
        if not troubles.any():
            self.distinct += len(sends)
            return

        def of(trouble: Trouble) -> int:
            return int(np.count_nonzero(troubles & trouble))

        self.distinct += len(sends) - of(Trouble.DUPLICATE | Trouble.MALFORMED)
        self.duplicates += of(Trouble.DUPLICATE)
        self.malformed += of(Trouble.MALFORMED)
        self.late += of(Trouble.LATE)
        self.out_of_order += of(Trouble.OUT_OF_ORDER)
        self.held += of(Trouble.HELD)
        self.skewed += of(Trouble.SKEWED)


class Troubles:
    """Troubles a stream of readings.

    What happens to a reading depends on the seed, its series and its time only: not on other devices, not on how
    time is cut into batches, not on which other troubles there are. The state is what waits to be sent.

    Args:
        settings: Which troubles.
        seed: Same seed, same messages, to the bit.
        table: Names of the series that the batches number; it may grow.
    """

    def __init__(self, settings: TroubleSettings, seed: int, table: SeriesTable) -> None:
        self.counts = TroubleCounts()
        self._settings = settings
        self._active = settings.active
        self._seed = seed
        self._table = table
        self._queue = DelayQueue()
        self._keys = Keys.of(SeriesTable(), seed)
        self._clocks: Clocks | None = None
        self._links: Links | None = None

    @property
    def waiting(self) -> int:
        """Messages that go out later."""
        return len(self._queue)

    def apply(self, batch: ReadingBatch, until_us: int) -> Sends:
        """The messages that go out before `until_us`: those of `batch` that do, and earlier ones that had to wait.

        Args:
            batch: Readings as `Fleet.between` gives them, none at or after `until_us`, none before that of the call
                before; one reading per series and time. It may be empty.
            until_us: Virtual time up to which the fleet was read.

        Returns:
            Messages by the time at which they go out. Without any trouble, `batch` itself is in it.
        """
        self.counts.readings += len(batch)
        sends = self._befall(batch) if self._active else Sends.untroubled(batch)
        due = self._queue.take(until_us)
        if len(due):
            sends = _merged(sends, due)
        self.counts.add(sends)
        return sends

    def drain(self) -> Sends:
        """All that still waits, at the end of a simulation: by the time at which it would have gone out."""
        sends = self._queue.take(None)
        self.counts.add(sends)
        return sends

    def next_us(self) -> int | None:
        """When the next of what waits goes out; None where nothing waits."""
        return self._queue.next_us()

    def snapshot(self) -> State:
        """The state between two calls, as arrays by name: what waits, and the counts."""
        counts = np.array([getattr(self.counts, field.name) for field in fields(TroubleCounts)], np.int64)
        return {**save_sends(self._queue.all(), self._table), "counts": counts}

    def restore(self, state: State) -> None:
        """Go on from a `snapshot` of the same settings and seed; what waited before is forgotten.

        Raises:
            KeyError, ValueError, IndexError, TypeError: it is no snapshot.
        """
        waiting = load_sends(state, self._table)
        self.counts = TroubleCounts(*map(int, state["counts"].tolist()))
        self._queue = DelayQueue()
        self._queue.push(waiting)

    def _befall(self, batch: ReadingBatch) -> Sends:
        """Trouble a batch: what goes out at once is returned, the rest goes into the queue."""
        self._know_devices()
        batch = self._dropped(batch)
        series, true = batch.series, batch.time
        key = self._keys.series[series]
        troubles = np.zeros(len(batch), np.uint8)
        send = self._delayed(key, series, true, troubles)
        malformed, value = self._malformed(key, true, batch.value, troubles)
        time = self._shown(series, true, troubles)
        said = ReadingBatch(series, time, value, batch.fault)
        sends = Sends(send, true, said, malformed, troubles, np.zeros(len(batch), np.uint8))
        self._duplicate(key, sends)
        late = (troubles & DELAYED) != 0
        if not late.any():
            return sends
        self._queue.push(sends.take(np.flatnonzero(late)))
        return sends.take(np.flatnonzero(~late))

    def _know_devices(self) -> None:
        """Make keys, clocks and links of the series that are new."""
        if len(self._keys.series) == len(self._table):
            return
        settings = self._settings
        self._keys = Keys.of(self._table, self._seed, self._keys)
        self._clocks = (
            Clocks.of(settings.clock_skew, self._keys.device) if settings.clock_skew.active else None
        )
        self._links = Links.of(settings.burst, self._keys.device) if settings.burst.active else None

    def _dropped(self, batch: ReadingBatch) -> ReadingBatch:
        """What is left of a batch."""
        dropped = self._settings.dropped
        if not dropped.active:
            return batch
        kept = draw(self._keys.series[batch.series], batch.time, TroubleStream.DROPPED) >= dropped.probability
        self.counts.dropped += len(batch) - int(np.count_nonzero(kept))
        return ReadingBatch(batch.series[kept], batch.time[kept], batch.value[kept], batch.fault[kept])

    def _delayed(self, key: Words, series: Ints, true: Ints, troubles: NDArray[np.uint8]) -> Ints:
        """When each reading goes out: a delay comes on top of a lost link."""
        send = true.copy()
        if self._links is not None:
            rows = np.flatnonzero(self._links.unstable[series])
            back = self._links.back(series[rows], true[rows])
            held = rows[back > true[rows]]
            send[rows] = back
            troubles[held] |= np.uint8(Trouble.HELD)
        late = self._settings.late
        if late.active:
            rows = hits(key, true, TroubleStream.LATE, late.probability)
            delay = draw(key[rows], true[rows], TroubleStream.LATE_DELAY)
            send[rows] += between(delay, *microseconds(late.delay))
            troubles[rows] |= np.uint8(Trouble.LATE)
        shuffled = self._settings.out_of_order
        if shuffled.active:
            rows = hits(key, true, TroubleStream.OUT_OF_ORDER, shuffled.probability)
            delay = draw(key[rows], true[rows], TroubleStream.OUT_OF_ORDER_DELAY)
            send[rows] += between(delay, 1, round(shuffled.window * 1e6))
            troubles[rows] |= np.uint8(Trouble.OUT_OF_ORDER)
        return send

    def _malformed(
        self, key: Words, true: Ints, value: NDArray[np.float64], troubles: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Which messages are malformed and how, and the values with those that are not finite."""
        kind = np.zeros(len(true), np.uint8)
        malformed = self._settings.malformed
        if not malformed.active:
            return kind, value
        rows = hits(key, true, TroubleStream.MALFORMED, malformed.probability)
        numbers = np.array([_KIND_NUMBERS[one] for one in malformed.kinds], np.uint8)
        choice = draw(key[rows], true[rows], TroubleStream.MALFORMED_KIND)
        kind[rows] = numbers[between(choice, 0, len(numbers) - 1)]
        troubles[rows] |= np.uint8(Trouble.MALFORMED)
        rows = rows[kind[rows] == _KIND_NUMBERS[MalformedKind.NON_FINITE]]
        if len(rows):
            value = value.copy()
            choice = draw(key[rows], true[rows], TroubleStream.MALFORMED_VALUE)
            value[rows] = _NON_FINITE[between(choice, 0, len(_NON_FINITE) - 1)]
        return kind, value

    def _shown(self, series: Ints, true: Ints, troubles: NDArray[np.uint8]) -> Ints:
        """What the devices' clocks show."""
        if self._clocks is None:
            return true
        rows = np.flatnonzero(self._clocks.wrong[series])
        if not len(rows):
            return true
        shown = true.copy()
        shown[rows] = self._clocks.shown(series[rows], true[rows])
        troubles[rows] |= np.uint8(Trouble.SKEWED)
        return shown

    def _duplicate(self, key: Words, sends: Sends) -> None:
        """Put copies into the queue."""
        duplicated = self._settings.duplicated
        if not duplicated.active:
            return
        rows = hits(key, sends.true_us, TroubleStream.DUPLICATED, duplicated.probability)
        for number in range(duplicated.copies):
            again = sends.take(rows)
            delay = draw(key[rows], again.true_us, TroubleStream.DUPLICATE_DELAY, number)
            send = again.send_us + between(delay, *microseconds(duplicated.delay))
            copy = np.full(len(rows), number + 1, np.uint8)
            troubles = again.troubles | np.uint8(Trouble.DUPLICATE)
            self._queue.push(Sends(send, again.true_us, again.batch, again.malformed, troubles, copy))


def _merged(on_time: Sends, due: Sends) -> Sends:
    """Both, by the time of going out; at the same time what is on time comes first."""
    both = Sends.joined([on_time, due])
    return both.take(np.argsort(both.send_us, kind="stable"))
