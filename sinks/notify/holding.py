"""What is not told at once: quiet hours, limits, and what was held back by them. No I/O."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.durations import format_duration
from sinks.notify.routes import Route
from sinks.notify.state import Entry, Held, Progress
from sinks.notify.text import Words, time_text


def may_pass(route: Route, entry: Entry, now: int) -> bool:
    """Whether an alarm may be told at this time of the day."""
    quiet = route.quiet
    if quiet is None or quiet.until(now) is None:
        return True
    return quiet.critical == "pass" and entry.alarm.is_critical and entry.alarm.cleared_at is None


def room_at(route: Route, progress: Progress, now: int) -> int:
    """When the limit lets a notification pass."""
    if route.limit is None:
        return now
    most, period = route.limit
    recent = [at for at in progress.sent if at > now - period]
    return now if len(recent) < most else recent[-most] + period


def hold(
    progress: Progress, entries: Sequence[Entry], now: int, *, quiet: bool = False, limited: bool = False
) -> None:
    """Put alarms to those that a route holds back, and note for which reason."""
    if not entries:
        return
    held = progress.held or Held(now)
    known = set(held.members)
    held.members += [e.alarm.anomaly_id for e in entries if e.alarm.anomaly_id not in known]
    progress.held = replace(held, quiet=held.quiet or quiet, limited=held.limited or limited)


def why_held(held: Held, route: Route, words: Words, count: int) -> str:
    """A line that says since when and by what they were held back."""
    reasons = []
    if held.quiet:
        reasons.append("quiet hours")
    if held.limited and route.limit is not None:
        period = format_duration(route.limit.period_us / 1e6)
        reasons.append(f"the limit of {route.limit.most} notifications in {period}")
    return (
        f"Held back since {time_text(held.since, words.zone)} by {' and '.join(reasons)}: {count} anomalies."
    )
