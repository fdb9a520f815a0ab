"""The words of a notification: sound ones of our own, or a route's templates with {names} in them."""

import difflib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote
from zoneinfo import ZoneInfo

from schemas.durations import format_duration
from schemas.times import to_datetime
from sinks.notify.alarms import RANKS, Alarm

_LINES = 20
"""Alarms that are described one by one; of the others only their number is said."""

ALARM_FIELDS = (
    "anomaly_id",
    "device",
    "device_name",
    "expected",
    "kind",
    "lasted",
    "link",
    "lower",
    "metric",
    "place",
    "reason",
    "severity",
    "since",
    "state",
    "type",
    "unit",
    "until",
    "upper",
    "value",
    "where",
)
"""Names that templates may use; in `title` and `body` they are of the first alarm."""

WHOLE_FIELDS = ("cleared", "count", "held", "lines", "opened", "route", "summary")
"""Names of the whole notification, for `title` and `body`."""


@dataclass(frozen=True, slots=True)
class Told:
    """An alarm in a notification; `state` is OPENED, CLEARED (told as open before), BRIEF (both at once) or OPEN (still)."""

    alarm: Alarm
    state: str


@dataclass(frozen=True, slots=True)
class Words:
    """How a route speaks.

    Attributes:
        route: its name.
        zone: whose clock times are of.
        dashboard: address of the dashboard, empty for none.
        title, line, body: templates; None for our own words.
    """

    route: str
    zone: ZoneInfo
    dashboard: str = ""
    title: str | None = None
    line: str | None = None
    body: str | None = None


def require_template(text: str, known: Sequence[str] = (*ALARM_FIELDS, *WHOLE_FIELDS)) -> None:
    """Check a template.

    Raises:
        ValueError: braces that do not fit, or a name that there is not.
    """
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError("expected {names} in braces, and {{ or }} for a brace itself") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are {', '.join(known)}"
            raise ValueError(f"there is no {{{name}}}{hint}")


def write(told: Sequence[Told], words: Words, now: int, held: str = "") -> tuple[str, str]:
    """Title and body of a notification.

    Args:
        told: what it is about, at least one; described in the order of their severity, then time.
        words: how the route speaks.
        now: µs since 1970 UTC.
        held: why and since when it was held back, in words; empty if it was not.
    """
    ordered = sorted(told, key=lambda each: (-RANKS[each.alarm.severity], each.alarm.opened_at))
    rows = [_fields(each, words, now) for each in ordered]
    lines = [_fill(words.line, row) if words.line else _line(row) for row in rows[:_LINES]]
    if len(rows) > _LINES:
        lines.append(f"... and {len(rows) - _LINES} more")
    summary = _summary(ordered, rows)
    whole = rows[0] | {
        "route": words.route,
        "count": str(len(told)),
        "opened": str(sum(each.state in ("OPENED", "BRIEF") for each in told)),
        "cleared": str(sum(each.alarm.cleared_at is not None for each in told)),
        "held": held,
        "lines": "\n\n".join(lines),
        "summary": summary,
    }
    title = _fill(words.title, whole) if words.title else summary
    body = _fill(words.body, whole) if words.body else "\n\n".join(filter(None, (held, whole["lines"])))
    return " ".join(title.split())[:250] or summary, body or summary


def _fill(template: str, fields: dict[str, str]) -> str:
    return string.Formatter().vformat(template, (), fields)


def _summary(told: Sequence[Told], rows: Sequence[dict[str, str]]) -> str:
    if len(rows) == 1:
        row = rows[0]
        return f"[{row['state']}] {row['where']}: {row['kind']}"
    worst = max((each.alarm for each in told), key=lambda alarm: RANKS[alarm.severity])
    over = sum(each.alarm.cleared_at is not None for each in told)
    devices = list(dict.fromkeys(each.alarm.device_id for each in told))
    named = ", ".join(devices[:3]) + (f" and {len(devices) - 3} more" if len(devices) > 3 else "")
    state = "CLEARED" if over == len(told) else str(worst.severity)
    some = f", {over} of them over" if 0 < over < len(told) else ""
    return f"[{state}] {len(told)} anomalies of {named}{some}"


def _line(row: dict[str, str]) -> str:
    parts = [f"{row['state']}: {row['kind']}, {row['where']}"]
    about = ", ".join(filter(None, (row["device_name"], row["type"])))
    if about:
        parts[0] += f" ({about})"
    if row["value"] and not row["_storm"]:
        told = f"value {row['value']}{row['_unit']}"
        if row["expected"]:
            told += f", expected {row['expected']}{row['_unit']}"
        if row["lower"] and row["upper"] and row["lower"] != row["upper"]:
            told += f" ({row['lower']} to {row['upper']})"
        parts.append(f"  {told}")
    parts.append(
        f"  since {row['since']}" + (f", until {row['until']} ({row['lasted']})" if row["until"] else "")
    )
    if not row["until"] and row["lasted"]:
        parts[-1] += f", open for {row['lasted']}"
    parts += [f"  {row[key]}" for key in ("reason", "link") if row[key]]
    return "\n".join(parts)


def _fields(told: Told, words: Words, now: int) -> dict[str, str]:
    alarm = told.alarm
    place = f" at {alarm.place}" if alarm.place and not alarm.is_storm else ""
    what = alarm.device_id if alarm.is_storm else f"{alarm.metric} of {alarm.device_id}"
    ended = alarm.cleared_at if alarm.cleared_at is not None else now
    lasted = max(0, ended - alarm.opened_at) // 1_000_000
    states = {"OPENED": str(alarm.severity), "OPEN": f"STILL {alarm.severity}"}
    return {
        "anomaly_id": alarm.anomaly_id,
        "device": alarm.device_id,
        "device_name": alarm.name if alarm.name != alarm.device_id else "",
        "expected": _number(alarm.expected),
        "kind": alarm.kind,
        "lasted": format_duration(lasted) if lasted else "",
        "link": link_to(words.dashboard, alarm),
        "lower": _number(alarm.lower),
        "metric": alarm.metric,
        "place": alarm.place,
        "reason": alarm.reason,
        "severity": str(alarm.severity),
        "since": time_text(alarm.opened_at, words.zone),
        "state": states.get(told.state, "CLEARED"),
        "type": alarm.type,
        "unit": alarm.unit,
        "until": "" if alarm.cleared_at is None else time_text(alarm.cleared_at, words.zone),
        "upper": _number(alarm.upper),
        "value": _number(alarm.value),
        "where": f"{what}{place}",
        "_unit": f" {alarm.unit}" if alarm.unit else "",
        "_storm": "yes" if alarm.is_storm else "",
    }


def link_to(dashboard: str, alarm: Alarm) -> str:
    """Address of the page that shows an alarm; empty without a dashboard."""
    if not dashboard:
        return ""
    if alarm.is_storm:
        return f"{dashboard}/#/anomalies"
    return f"{dashboard}/#/device/{quote(alarm.device_id, safe='')}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def time_text(us: int, zone: ZoneInfo) -> str:
    """A time for people."""
    try:
        return to_datetime(us).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError):
        return f"{us} us"
