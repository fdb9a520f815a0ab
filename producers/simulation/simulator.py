"""The simulator: runs a fleet's virtual time against the clock and sends what it reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol, runtime_checkable

from producers.batches import ReadingBatch
from producers.clock import Clock, Pace
from producers.publish import PartitionCounts
from producers.simulation.fleet import Fleet
from producers.simulation.schedule import Schedule
from schemas.readings import Device

# Readings are sent this often at most: fewer, larger pieces cost less, and a hundredth of a second delays nobody.
_TICK_S = 0.01
# A piece's size bounds memory and the time until a stop is noticed.
_PIECE_READINGS = 10_000
_PROGRESS_S = 0.5
# Longest wait without a look at the chores: a command is obeyed within it, and twenty looks a second cost nothing.
_LISTEN_S = 0.05


class Output(Protocol):
    """Where device records and readings go; each call may block while an outage lasts."""

    @property
    def acknowledged(self) -> int:
        """Readings that are safe there."""

    @property
    def by_partition(self) -> PartitionCounts:
        """The same by partition, where there are any."""

    def announce(self, devices: Sequence[Device], now_us: int) -> None:
        """Take device records, safe before the readings that follow."""

    def publish(self, batch: ReadingBatch, until_us: int, now_us: int) -> None:
        """Take a batch, in its order; it may be empty. Virtual time has come to `until_us`."""

    def finish(self, now_us: int) -> None:
        """Send what was held back: virtual time goes no further."""

    def flush(self) -> None:
        """Wait until everything is safe."""


@runtime_checkable
class TendedOutput(Output, Protocol):
    """An output with a connection of its own to look after."""

    @property
    def connected(self) -> bool:
        """Whether its other end is there."""

    def tend(self, time_us: int) -> None:
        """A `Chore`."""


Chore = Callable[[int], None]
"""Done between two pieces, if it is due: commands, a look at changed files, a checkpoint.

It is given the virtual time at which the fleet stands; all before was handed to the output.
"""


@dataclass(frozen=True, slots=True)
class SimulateProgress:
    """Where a simulation stands."""

    sent: int
    acknowledged: int
    faults: int
    time_us: int
    behind_s: float


@dataclass(frozen=True, slots=True)
class SimulateSummary:
    """What a simulation produced.

    Attributes:
        produced: readings that are acknowledged.
        by_partition: the same, by partition of the readings' topic.
        faults: readings with a fault; episodes: how many of each kind began.
        devices: device records, acknowledged as well.
        first_us, last_us: event times of the first and the last reading; None if there is none.
        seconds: real time it took.
        troubles: what the troubles of the stream did, where they were asked for.
    """

    produced: int
    by_partition: PartitionCounts
    faults: int
    devices: int
    first_us: int | None
    last_us: int | None
    seconds: float
    episodes: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, int] | None = None


@dataclass(slots=True)
class _Tally:
    """What was sent so far."""

    sent: int = 0
    faults: int = 0
    devices: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, batch: ReadingBatch) -> None:
        if not len(batch):
            return
        self.sent += len(batch)
        self.faults += int((batch.fault >= 0).sum())
        self.first_us = int(batch.time[0]) if self.first_us is None else self.first_us
        self.last_us = int(batch.time[-1])


class Simulator:
    """Sends a fleet: its device records, then its readings as they fall due.

    Args:
        fleet: what there is.
        output: where to; flushed, not closed.
        schedule: which stretch of virtual time, how fast; a fleet that was already stepped goes on where it stands.
        clock: the time.
        chores: done between two pieces, also while the simulation is paused.
        running: cleared to pause; virtual time as fast as real time goes on unsent then, any other waits.
        longest_us: a piece is no longer than so much virtual time, however few readings it has.
    """

    def __init__(
        self,
        fleet: Fleet,
        output: Output,
        schedule: Callable[[int], Schedule],
        clock: Clock,
        *,
        chores: Sequence[Chore] = (),
        running: Event | None = None,
        longest_us: int | None = None,
    ) -> None:
        self._fleet = fleet
        self._output = output
        self._schedule = schedule
        self._clock = clock
        self._chores = chores
        self._running = running
        self._longest_us = longest_us
        self._tally = _Tally()
        self._reported = clock.monotonic()

    def run(
        self, stop: Event, on_progress: Callable[[SimulateProgress], None] | None = None
    ) -> SimulateSummary:
        """Simulate until the schedule's end or until `stop` is set.

        Blocks; returns only when everything sent is acknowledged, however long an outage lasts.

        Raises:
            PublishError: the broker refused a message for good.
            RegistryUnavailableError: a schema id could not be looked up.
        """
        began = self._clock.monotonic()
        self._announce(self._fleet.devices)
        schedule = self._schedule(self._clock.now_us())
        self._advance(schedule, stop, on_progress)
        self._output.finish(self._clock.now_us())
        self._output.flush()
        tally = self._tally
        return SimulateSummary(
            produced=self._output.acknowledged,
            by_partition=self._output.by_partition,
            faults=tally.faults,
            devices=tally.devices,
            first_us=tally.first_us,
            last_us=tally.last_us,
            seconds=self._clock.monotonic() - began,
            episodes=self._fleet.episodes,
        )

    def _advance(
        self, schedule: Schedule, stop: Event, on_progress: Callable[[SimulateProgress], None] | None
    ) -> None:
        clock, fleet = self._clock, self._fleet
        fleet.skip_to(schedule.start_us)
        pace = Pace(schedule.start_us, schedule.speed, clock)
        position, end = schedule.start_us, schedule.end_us
        while not stop.is_set() and (end is None or position < end):
            self._do_chores(position)
            if self._running is not None and not self._running.is_set():
                position, pace = self._pause(schedule, position, pace, stop)
                continue
            due = pace.due_us()
            furthest = position + self._piece_us()
            limit = furthest if due is None else min(due + 1, furthest)
            limit = limit if end is None else min(limit, end)
            if limit > position:
                batch = fleet.between(position, limit)
                position = limit
                self._announce(fleet.take_changed())
                self._output.publish(batch, position, clock.now_us())
                self._tally.add(batch)
            self._report(position, pace, on_progress)
            if due is not None and position > due:
                next_us = fleet.next_time(position)
                delay = pace.seconds_until(next_us if end is None else min(next_us, end))
                clock.wait(min(max(delay, _TICK_S), _LISTEN_S), stop)
        self._do_chores(position)

    def _piece_us(self) -> int:
        """How much virtual time a piece has at most."""
        piece = max(1, int(_PIECE_READINGS / self._fleet.rate * 1e6))
        return piece if self._longest_us is None else min(piece, self._longest_us)

    def _pause(self, schedule: Schedule, position: int, pace: Pace, stop: Event) -> tuple[int, Pace]:
        """Wait a moment; where virtual time goes on from then, and its pace."""
        self._clock.wait(_LISTEN_S, stop)
        due = pace.due_us()
        if schedule.speed == 1.0 and due is not None and due >= position:
            self._fleet.skip_to(due + 1)
            return due + 1, pace
        return position, Pace(position, schedule.speed, self._clock)

    def _do_chores(self, position: int) -> None:
        for chore in self._chores:
            chore(position)
        self._announce(self._fleet.take_changed())

    def _announce(self, devices: Sequence[Device]) -> None:
        if devices:
            self._output.announce(devices, self._clock.now_us())
            self._tally.devices += len(devices)

    def _report(
        self, position: int, pace: Pace, on_progress: Callable[[SimulateProgress], None] | None
    ) -> None:
        if on_progress is None or self._clock.monotonic() < self._reported:
            return
        self._reported = self._clock.monotonic() + _PROGRESS_S
        behind = max(0.0, -pace.seconds_until(position))
        tally = self._tally
        on_progress(SimulateProgress(tally.sent, self._output.acknowledged, tally.faults, position, behind))
