"""How far the clocks of time zones are ahead of UTC, in columns."""

from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from schemas.readings import Location
from schemas.times import to_datetime

_MICROSECOND = timedelta(microseconds=1)


class Zones:
    """Numbers for time zones, and their offsets."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}

    def number(self, location: Location | None) -> int:
        """The number of a location's zone.

        Raises:
            ConfigError: there is no such zone.
        """
        name = location.timezone if location else "UTC"
        if name not in self._names:
            _zone(name)
            self._names[name] = len(self._names)
        return self._names[name]

    def offsets(self, begin_us: int, end_us: int, step_us: int) -> NDArray[np.int64]:
        """(zones, steps) µs ahead of UTC at begin, begin + step, ... up to `end_us`, `step_us` apart."""
        steps = (end_us - begin_us) // step_us + 1
        times = [begin_us + number * step_us for number in range(steps)]
        rows = [[_offset_us(name, time) for time in times] for name in self._names]
        return np.array(rows or [[0] * steps], np.int64)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"there is no time zone {name!r}", "Give an IANA name, as Europe/Berlin."
        ) from error


@lru_cache(maxsize=1 << 14)
def _offset_us(name: str, time_us: int) -> int:
    if name == "UTC":
        return 0
    offset = to_datetime(time_us).astimezone(_zone(name)).utcoffset()
    return (offset or timedelta()) // _MICROSECOND
