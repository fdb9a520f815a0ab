"""The simulator: runs a fleet's virtual time against the clock and publishes what it reads."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from producers.clock import MAX_SPEED, Clock, Pace, SystemClock
from producers.fleet import Fleet, SignalFleet
from producers.options import SimulateOptions
from producers.publish import Outlet, PartitionCounts, ReadingPublisher
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError
from schemas.settings import Settings

# Readings are sent this often at most: fewer, larger pieces cost less, and a hundredth of a second delays nobody.
_TICK_S = 0.01
# A piece's size bounds memory and the time until a stop is noticed.
_PIECE_READINGS = 10_000
_PROGRESS_S = 0.5


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
        produced: readings that the broker acknowledged.
        by_partition: the same, by partition of the readings' topic.
        faults: those with an injected fault.
        devices: device records, acknowledged as well.
        first_us, last_us: event times of the first and the last reading; None if there is none.
        seconds: real time it took.
    """

    produced: int
    by_partition: PartitionCounts
    faults: int
    devices: int
    first_us: int | None
    last_us: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """The stretch of virtual time to simulate: start <= time < end (None: no end), at `speed`."""

    start_us: int
    end_us: int | None
    speed: float


def plan_schedule(options: SimulateOptions, now_us: int, bounds: TimeBounds) -> Schedule:
    """When the simulation's virtual time begins and ends.

    Raises:
        ConfigError: it would run into the future, where its readings would be refused, or an option makes no sense.
    """
    if not options.speed > 0.0:
        raise ConfigError(f"speed {options.speed}", "Give max, or a positive number.")
    length = None
    if options.duration is not None:
        if not (options.duration > 0.0 and math.isfinite(options.duration)):
            raise ConfigError(f"duration of {options.duration} seconds", "Give a positive number of seconds.")
        length = int(options.duration * 1e6)
    start = options.start
    if start is None:
        ends_now = options.speed > 1.0 and length is not None
        start = now_us - length if ends_now and length is not None else now_us
    end = None if length is None else start + length
    if end is None and options.speed > 1.0:
        raise ConfigError(
            "a simulation faster than real time would run into the future",
            "Give --duration: it then ends now.",
        )
    real_s = 0.0 if length is None else length / 1e6 / options.speed
    if start < bounds.earliest_us or (end or start) > now_us + int(real_s * 1e6) + bounds.max_ahead_us:
        raise ConfigError(
            "the simulated time is before 1970 or too far in the future", "Give another --start."
        )
    return Schedule(start, end, options.speed)


def make_fleet(options: SimulateOptions) -> SignalFleet:
    """The fleet that the options describe.

    Raises:
        ConfigError: an option makes no sense.
    """
    interval = options.interval
    if options.rate is not None:
        if not (options.rate > 0.0 and math.isfinite(options.rate)):
            raise ConfigError(f"rate of {options.rate} readings a second", "Give a positive number.")
        series = options.devices * SignalFleet.METRICS
        interval = series / options.rate
    if not (interval > 0.0 and math.isfinite(interval)):
        raise ConfigError(f"interval of {interval} seconds", "Give a positive number.")
    return SignalFleet(
        options.devices,
        round(interval * 1e6),
        options.seed,
        options.anomaly_probability,
        options.normal_range,
    )


class Simulator:
    """Publishes a fleet: its device records, then its readings as they fall due.

    Args:
        settings: Topics, time bounds, and the simulation's own settings.
        publisher: Where to; only flushed, not closed.
        codec: Encodes.
        clock: Replaced in tests.
        options: What to simulate; without them `settings.simulate`.
        fleet: Replaces the fleet that the options describe.

    Raises:
        ConfigError: the options make no sense.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Outlet,
        codec: Codec,
        clock: Clock | None = None,
        options: SimulateOptions | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._codec = codec
        self._clock = clock or SystemClock()
        self._options = options or options_of(settings)
        self._fleet: Fleet = fleet or make_fleet(self._options)
        self._bounds = time_bounds(settings)
        plan_schedule(self._options, self._clock.now_us(), self._bounds)

    def run(
        self, stop: Event, on_progress: Callable[[SimulateProgress], None] | None = None
    ) -> SimulateSummary:
        """Simulate until the duration has passed or `stop` is set.

        Blocks; returns only when everything sent is acknowledged, however long an outage of the broker lasts.

        Raises:
            PublishError: the broker refused a message for good.
            RegistryUnavailableError: a schema id could not be looked up.
        """
        clock, fleet = self._clock, self._fleet
        began = clock.monotonic()
        devices = self._announce()
        readings = ReadingPublisher(self._publisher, self._codec, self._settings.topics.readings, fleet.table)
        schedule = plan_schedule(self._options, clock.now_us(), self._bounds)
        pace = Pace(schedule.start_us, schedule.speed, clock)
        piece_us = max(1, int(_PIECE_READINGS / fleet.rate * 1e6))
        position, end = schedule.start_us, schedule.end_us
        sent = faults = 0
        first_us = last_us = None
        next_progress = clock.monotonic()
        while not stop.is_set() and (end is None or position < end):
            due = pace.due_us()
            limit = position + piece_us if due is None else min(due + 1, position + piece_us)
            limit = limit if end is None else min(limit, end)
            if limit > position:
                batch = fleet.between(position, limit)
                position = limit
                if len(batch):
                    readings.publish(batch, clock.now_us())
                    sent += len(batch)
                    faults += int((batch.fault >= 0).sum())
                    first_us = int(batch.time[0]) if first_us is None else first_us
                    last_us = int(batch.time[-1])
            if on_progress is not None and clock.monotonic() >= next_progress:
                next_progress = clock.monotonic() + _PROGRESS_S
                behind = max(0.0, -pace.seconds_until(position)) if schedule.speed != MAX_SPEED else 0.0
                on_progress(SimulateProgress(sent, readings.delivery.total(), faults, position, behind))
            if due is not None and position > due:
                next_us = fleet.next_time(position)
                delay = pace.seconds_until(next_us if end is None else min(next_us, end))
                clock.wait(min(max(delay, _TICK_S), _PROGRESS_S), stop)
        readings.flush()
        return SimulateSummary(
            produced=readings.delivery.total(),
            by_partition=readings.delivery.by_partition(),
            faults=faults,
            devices=devices,
            first_us=first_us,
            last_us=last_us,
            seconds=clock.monotonic() - began,
        )

    def _announce(self) -> int:
        """Publish the device records, acknowledged before the first reading; returns how many."""
        topic, timestamp = self._settings.topics.devices, self._clock.now_us() // 1000
        for device in self._fleet.devices:
            self._publisher.send(
                topic, device.device_id.encode(), self._codec.encode_device(device), timestamp_ms=timestamp
            )
        self._publisher.flush()
        return len(self._fleet.devices)


def time_bounds(settings: Settings) -> TimeBounds:
    """The event times that the processor will believe."""
    return TimeBounds(max_ahead_us=round(settings.processor.max_ahead * 1e6))


def options_of(settings: Settings) -> SimulateOptions:
    """The simulation that the settings describe."""
    given = settings.simulate
    return SimulateOptions(
        devices=given.devices,
        interval=given.interval,
        rate=given.rate,
        duration=given.duration,
        seed=given.seed,
        anomaly_probability=given.anomaly_probability,
        speed=given.speed,
    )
