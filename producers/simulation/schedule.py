"""Which stretch of virtual time a simulation covers, and how fast."""

import math
from dataclasses import dataclass

from producers.options import SimulateOptions
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError
from schemas.settings import Settings


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


def time_bounds(settings: Settings) -> TimeBounds:
    """The event times that the processor will believe."""
    return TimeBounds(max_ahead_us=round(settings.processor.max_ahead * 1e6))
