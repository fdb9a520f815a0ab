"""Where a simulation stands, for readers in other threads."""

from dataclasses import replace
from threading import Event

from producers.clock import Clock
from producers.control.shards import Shard
from producers.simulation.control import SimulationStatus
from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.simulator import SimulateProgress

_EVERY_S = 0.5


class StatusBoard:
    """Written by the simulator's thread between two pieces (it is a `Chore`), read by any.

    Args:
        fleet: what there is.
        shard: which part of the whole it is.
        running: whether virtual time is to go on.
        clock: the time.
    """

    def __init__(self, fleet: DeviceFleet, shard: Shard, running: Event, clock: Clock) -> None:
        self._fleet = fleet
        self._shard = shard
        self._running = running
        self._clock = clock
        self._next = 0.0
        self._progress = SimulateProgress(0, 0, 0, fleet.position_us or clock.now_us(), 0.0)
        self._status = self._look(clock.now_us())

    def status(self) -> SimulationStatus:
        """The latest that was written."""
        return replace(self._status, running=self._running.is_set())

    def report(self, progress: SimulateProgress) -> None:
        """Take what the simulator counts."""
        self._progress = progress

    def __call__(self, _time_us: int) -> None:
        """Write, if it is time."""
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + _EVERY_S
            self._status = self._look(self._status.started_us)

    def _look(self, started_us: int) -> SimulationStatus:
        counts = self._fleet.counts
        progress = self._progress
        return SimulationStatus(
            running=True,
            started_us=started_us,
            time_us=progress.time_us,
            interval_s=self._fleet.interval_us / 1e6,
            devices=counts.devices,
            online=counts.online,
            enabled=counts.enabled,
            faulty=counts.faulty,
            sent=progress.sent,
            acknowledged=progress.acknowledged,
            faults=progress.faults,
            faults_by_kind=self._fleet.episodes,
            behind_s=progress.behind_s,
            shard=self._shard.number,
            shards=self._shard.shards,
        )
