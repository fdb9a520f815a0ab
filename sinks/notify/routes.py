"""Routes: which anomalies are told to whom, when and in which words. Plain data, made of the routes file."""

import fnmatch
import re
from datetime import time
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from schemas.durations import parse_duration
from schemas.readings import AnomalySeverity
from schemas.settings_kinds import Duration, Section
from sinks.notify.alarms import RANKS, Alarm
from sinks.notify.quiet import quiet_until
from sinks.notify.text import ALARM_FIELDS, Words, require_template

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PERIODS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_MOST_IN_LIMIT = 1000
"""The times of so many notifications are remembered for each route."""


class Limit(NamedTuple):
    """At most `most` notifications within any `period_us`."""

    most: int
    period_us: int


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _limit(value: Any) -> Any:
    if value is None or isinstance(value, Limit) or value == "off":
        return None if value == "off" else value
    count, slash, period = str(value).partition("/")
    try:
        number = int(count)
        seconds = _PERIODS.get(period.strip()) or parse_duration(period.strip())
    except ValueError:
        number = seconds = 0
    if not (slash and 1 <= number <= _MOST_IN_LIMIT and seconds > 0):
        raise ValueError("expected a limit as 10/hour, 3/10m, or off")
    return Limit(number, round(seconds * 1e6))


def _clock_time(value: Any) -> Any:
    if isinstance(value, time):
        return value
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", str(value))
    if match is None:
        raise ValueError("expected a time of the day as 22:00")
    return time(int(match[1]), int(match[2]))


def _zone(value: Any) -> Any:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("expected a time zone as Europe/Berlin") from None


def _template(value: str) -> str:
    require_template(value)
    return value


def _line(value: str) -> str:
    require_template(value, ALARM_FIELDS)
    return value


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_texts)]
Names = Annotated[
    tuple[Literal["device", "type", "place", "metric", "kind", "severity"], ...], BeforeValidator(_texts)
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
ClockTime = Annotated[time, BeforeValidator(_clock_time)]
Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
LineTemplate = Annotated[str, Field(min_length=1), AfterValidator(_line)]


class Match(Section):
    """Which anomalies a route takes: those that fit every key that is given; texts may have * and ?."""

    kind: Texts = ()
    severity: AnomalySeverity = AnomalySeverity.INFO
    place: Texts = ()
    type: Texts = ()
    device: Texts = ()
    metric: Texts = ()

    def why_not(self, alarm: Alarm) -> str:
        """Which key does not fit, and what it wants; empty where all fit."""
        if RANKS[alarm.severity] < RANKS[self.severity]:
            return f"severity: {self.severity} or worse"
        has = {
            "kind": alarm.kind,
            "place": alarm.place,
            "type": alarm.type,
            "device": alarm.device_id,
            "metric": alarm.metric,
        }
        for key, value in has.items():
            patterns: tuple[str, ...] = getattr(self, key)
            if patterns and not any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns):
                return f"{key}: {' or '.join(patterns)}"
        return ""


class Quiet(Section):
    """Hours in which nobody is told of what can wait."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, frozen=True, extra="forbid", populate_by_name=True
    )

    start: ClockTime = Field(alias="from")
    end: ClockTime = Field(alias="to")
    zone: Zone | None = None
    days: Annotated[
        tuple[Day, ...],
        BeforeValidator(_texts),
        Field(min_length=1),
    ] = DAYS
    critical: Literal["pass", "wait"] = "pass"

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.start == self.end:
            raise ValueError("from and to are the same time")
        return self

    def until(self, now: int) -> int | None:
        """When they are over, µs since 1970 UTC; None where it is not quiet at `now`."""
        days = [DAYS.index(day) for day in self.days]
        return quiet_until(now, self.start, self.end, days, self.zone or ZoneInfo("UTC"))


class Route(Section):
    """Who is told of which anomalies, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Name
    targets: Annotated[Texts, Field(min_length=1)]
    match: Match = Match()
    also: bool = Field(default=False, alias="continue")
    tell: Annotated[
        tuple[Literal["OPENED", "CLEARED"], ...], BeforeValidator(_texts), Field(min_length=1)
    ] = ("OPENED", "CLEARED")
    group_by: Names = ("device",)
    wait: Annotated[Duration, Field(le=86_400)] = 30.0
    minimum_open: Annotated[Duration, Field(le=86_400)] = 0.0
    limit: Annotated[Limit | None, BeforeValidator(_limit)] = Limit(30, 3_600_000_000)
    quiet: Quiet | None = None
    repeat: Annotated[Duration, Field(ge=60)] | None = None
    delivery: Literal["at-least-once", "at-most-once"] = "at-least-once"
    title: Template | None = None
    line: LineTemplate | None = None
    body: Template | None = None

    @property
    def wait_us(self) -> int:
        """How long a group is gathered, µs."""
        return round(self.wait * 1e6)

    @property
    def minimum_open_us(self) -> int:
        """How long an alarm must be open, µs."""
        return round(self.minimum_open * 1e6)

    @property
    def repeat_us(self) -> int | None:
        """After what time an open critical alarm is told again, µs."""
        return None if self.repeat is None else round(self.repeat * 1e6)

    def quiet_until(self, now: int) -> int | None:
        """When the quiet hours are over; None where it is not quiet."""
        return self.quiet.until(now) if self.quiet else None

    def group_of(self, alarm: Alarm) -> str:
        """Name of the group that an alarm is gathered in; a storm is one by itself."""
        if alarm.is_storm:
            return f"storm {alarm.anomaly_id}"
        has = {
            "device": alarm.device_id,
            "type": alarm.type,
            "place": alarm.place,
            "metric": alarm.metric,
            "kind": alarm.kind,
            "severity": str(alarm.severity),
        }
        return "\x1f".join(has[key] for key in self.group_by)


class Routes(NamedTuple):
    """What a routes file says; `targets` has the URLs by name, with those that routes have in them."""

    routes: tuple[Route, ...]
    targets: dict[str, SecretStr]
    zone: ZoneInfo = ZoneInfo("UTC")

    def route(self, name: str) -> Route | None:
        """The route of a name."""
        return next((route for route in self.routes if route.name == name), None)

    def words_of(self, route: Route, dashboard: str) -> Words:
        """How a route speaks; `dashboard` is its address, empty for none."""
        return Words(route.name, self.zone, dashboard, route.title, route.line, route.body)

    def taken(self, alarm: Alarm) -> list[Route]:
        """The routes that an alarm takes: the first that fits, and on as long as they say `continue`."""
        found = []
        for route in self.routes:
            if not route.match.why_not(alarm):
                found.append(route)
                if not route.also:
                    break
        return found
