"""Times as files write them: ISO-8601, epochs, strptime patterns; local times with daylight saving."""

import math
import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import ConfigError

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - subtracted from naive UTC
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
_SLASHES = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(.*)", re.ASCII | re.DOTALL)

_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Up to the year 5138 in each unit, and not before 1973 in the next finer one.
_LARGEST_SECONDS = 1e11


class TimeParser:
    """Turns cells into µs since 1970 UTC.

    Args:
        time_format: `iso`, `epoch_s|ms|us|ns`, a strptime pattern, or None to guess. A guessed epoch's unit
            is that of the first row; a later row that looks like another unit is refused, not misread.
        timezone: Zone of times without an offset. A local time that the clock showed twice (autumn) is the
            earlier one, unless the same key's preceding time was at or after it: then it is the later one.
            A local time that was skipped (spring) is refused.

    Raises:
        ConfigError: the zone is not known, or the pattern is none.
    """

    def __init__(self, time_format: str | None = None, timezone: str = "UTC") -> None:
        self._zone: ZoneInfo | None = None
        if timezone.upper() not in ("UTC", "Z"):
            try:
                self._zone = ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ConfigError(
                    f"time zone {timezone!r} is not known",
                    "Give a name as Europe/Berlin or America/New_York.",
                ) from error
        self._zone_name = timezone
        self._previous: dict[Hashable, int] = {}
        self._unit: str | None = None
        self._guessed_unit = True
        self._pattern: str | None = None
        self._iso_only = time_format == "iso"
        if time_format is None or self._iso_only:
            return
        if time_format.startswith("epoch"):
            unit = time_format.removeprefix("epoch").removeprefix("_") or "s"
            if unit not in _UNITS_PER_SECOND:
                raise ConfigError(
                    f"time format {time_format!r}", "Epochs are epoch_s, epoch_ms, epoch_us and epoch_ns."
                )
            self._unit, self._guessed_unit = unit, False
        elif "%" not in time_format:
            raise ConfigError(
                f"time format {time_format!r}",
                "Give iso, epoch_s, epoch_ms, epoch_us, epoch_ns or a strptime pattern as %d.%m.%Y %H:%M.",
            )
        else:
            self._pattern = time_format

    @property
    def needs_keys(self) -> bool:
        """Whether `parse` makes use of the key."""
        return self._zone is not None

    @property
    def found(self) -> str | None:
        """What was guessed of the epoch's unit, for people; None if nothing was."""
        return f"epoch in {self._unit}" if self._unit and self._guessed_unit else None

    def parse(self, cell: object, key: Hashable = None) -> int:
        """Time of a cell: text, a number, a date or a datetime.

        Args:
            cell: What the file has.
            key: Whose time it is, to tell the two passes of a repeated hour apart.

        Raises:
            ValueError: it is no time; the message is the reason, for people.
        """
        try:
            if isinstance(cell, str):
                return self._text(cell.strip(), key)
            if isinstance(cell, datetime):
                return self._moment(cell, key)
            if isinstance(cell, date):
                return self._moment(datetime(cell.year, cell.month, cell.day), key)  # noqa: DTZ001
            if isinstance(cell, int | float) and not isinstance(cell, bool):
                return self._number(cell)
        except OverflowError as error:
            raise ValueError("the time is out of the range of times") from error
        raise ValueError(f"a time cannot be {kind_of(cell)}")

    def _text(self, text: str, key: Hashable) -> int:
        if not text:
            raise ValueError("the time is missing")
        if self._pattern is not None:
            try:
                return self._moment(datetime.strptime(text, self._pattern), key)  # noqa: DTZ007
            except ValueError as error:
                raise ValueError(f"{_short(text)} is not a time of the form {self._pattern}") from error
        if self._unit is not None and not self._guessed_unit:
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{_short(text)} is not a number, as an epoch in {self._unit} is")
            return self._number(_to_number(text))
        if not self._iso_only and _NUMBER.fullmatch(text):
            compact = self._compact(text)
            return self._number(_to_number(text)) if compact is None else self._moment(compact, key)
        return self._moment(_iso(text), key)

    def _compact(self, text: str) -> datetime | None:
        """20240131 and 20240131235900 are dates: as epochs they would be in 1970 and in 2611."""
        if len(text) in (8, 14) and text.isdigit() and text[:2] in ("19", "20"):
            try:
                return datetime.strptime(text, "%Y%m%d" if len(text) == 8 else "%Y%m%d%H%M%S")  # noqa: DTZ007
            except ValueError:
                return None
        return None

    def _number(self, number: float) -> int:
        if not math.isfinite(number):
            raise ValueError(f"a time cannot be {number}")
        if self._guessed_unit:
            unit = _unit_of(abs(number))
            if self._unit is None:
                self._unit = unit
            elif unit != self._unit:
                raise ValueError(
                    f"{number} looks like an epoch in {unit}, the rows before like one in {self._unit} "
                    "(--time-format says which)"
                )
        assert self._unit is not None
        per_second = _UNITS_PER_SECOND[self._unit]
        if isinstance(number, int):
            return number * 1_000_000 // per_second
        return round(number * (1_000_000 / per_second)) if per_second <= 1_000_000 else int(number // 1000)

    def _moment(self, moment: datetime, key: Hashable) -> int:
        if moment.tzinfo is not None:
            return _microseconds(moment.astimezone(UTC).replace(tzinfo=None))
        if self._zone is None:
            return _microseconds(moment)
        time = self._from_local(moment, key)
        self._previous[key] = time
        return time

    def _from_local(self, local: datetime, key: Hashable) -> int:
        assert self._zone is not None
        earlier = local.replace(tzinfo=self._zone, fold=0).utcoffset() or timedelta()
        later = local.replace(tzinfo=self._zone, fold=1).utcoffset() or timedelta()
        if earlier < later:
            raise ValueError(
                f"{local} did not exist in {self._zone_name}: the clocks were put forward (--timezone is wrong?)"
            )
        first = _microseconds(local - earlier)
        if earlier == later:
            return first
        second = _microseconds(local - later)
        return second if first <= self._previous.get(key, first - 1) <= second else first


def _microseconds(utc: datetime) -> int:
    passed = utc - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _unit_of(magnitude: float) -> str:
    for unit, per_second in _UNITS_PER_SECOND.items():
        if magnitude < _LARGEST_SECONDS * per_second:
            return unit
    raise ValueError(f"{magnitude} is too large for an epoch, even in nanoseconds")


def _to_number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _iso(text: str) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    for variant in _variants(text):
        with suppress(ValueError):
            return datetime.fromisoformat(variant)
    raise ValueError(f"{_short(text)} is not a time (ISO-8601 or an epoch; other forms with --time-format)")


def _variants(text: str) -> list[str]:
    """What a text means where people write nearly ISO-8601."""
    variants = []
    if text.upper().endswith((" UTC", " GMT")):
        variants.append(text[:-4] + "Z")
    head, _, offset = text.rpartition(" ")
    if head and offset[:1] in ("+", "-", "Z"):
        variants.append(head + offset)
    if match := _SLASHES.fullmatch(text):
        year, month, day, rest = match.groups()
        variants.append(f"{year}-{month:0>2}-{day:0>2}{rest}")
    return variants


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


_KINDS: tuple[tuple[Callable[[object], bool], str], ...] = (
    (lambda cell: cell is None, "null"),
    (lambda cell: isinstance(cell, bool), "a boolean"),
    (lambda cell: isinstance(cell, str), "a string"),
    (lambda cell: isinstance(cell, int | float), "a number"),
    (lambda cell: isinstance(cell, dict), "an object"),
    (lambda cell: isinstance(cell, list | tuple), "a list"),
    (lambda cell: isinstance(cell, bytes | bytearray), "bytes"),
    (lambda cell: isinstance(cell, date), "a time"),
)


def kind_of(cell: object) -> str:
    """The kind of a cell, for people."""
    for matches, name in _KINDS:
        if matches(cell):
            return name
    return type(cell).__name__
