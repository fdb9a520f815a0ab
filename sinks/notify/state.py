"""What the decision remembers: rows of a key and a JSON object each, so that what changed can be stored row by row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sinks.notify.alarms import Alarm

_CLOCK_WAS_WRONG_US = 3_600_000_000

EntryKey = tuple[str, str]
"""Route and anomaly_id."""


class Phase(StrEnum):
    """Where an alarm stands on a route."""

    WAITING = "waiting"
    """For its minimum time, or for the storm that it belongs to; until `due`."""
    PENDING = "pending"
    """In a group, or held back; what is to be told follows from the alarm and from `told`."""
    TOLD = "told"
    """Told as open, and open; to be repeated at `due`, if there is one."""
    DONE = "done"
    """Nothing more will be told; kept as long as a message that comes again could open it once more."""


@dataclass(slots=True)
class Entry:
    """An alarm on a route.

    Attributes:
        alarm: as its last message said.
        phase: where it stands.
        told: whether it was told as open.
        due: when something is to be done about it, µs; None for never.
        group: name of its group, as it was when it was opened.
        touched: when it last changed, µs.
    """

    alarm: Alarm
    phase: Phase
    told: bool = False
    due: int | None = None
    group: str = ""
    touched: int = 0


@dataclass(slots=True)
class Group:
    """Alarms that are told together at `due`."""

    due: int
    members: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Held:
    """What a route holds back, to be told in one notification: since when, and for which reasons."""

    since: int
    members: list[str] = field(default_factory=list)
    quiet: bool = False
    limited: bool = False


@dataclass(slots=True)
class Progress:
    """A route's own: when it told something lately, its number of notifications, its groups, and what it holds back."""

    sent: list[int] = field(default_factory=list)
    number: int = 0
    groups: dict[str, Group] = field(default_factory=dict)
    held: Held | None = None


class State:
    """All of it; not thread-safe. `changes` gives what is to be stored since it was last asked.

    Attributes:
        now: latest time that was decided at, µs: it does not go back when the machine's clock is corrected.
        entries: alarms on routes.
        progress: route -> its own.
        storms: storms that are known, by anomaly_id.
    """

    def __init__(self, rows: Mapping[str, Any] | None = None) -> None:
        self.now = 0
        self.entries: dict[EntryKey, Entry] = {}
        self.progress: dict[str, Progress] = {}
        self.storms: dict[str, Alarm] = {}
        self._changed: set[str] = set()
        for key, value in (rows or {}).items():
            self._load(key, value)

    def route(self, name: str) -> Progress:
        """A route's own, to be changed."""
        self._changed.add(f"route {name}")
        return self.progress.setdefault(name, Progress())

    def entry(self, route: str, anomaly_id: str) -> Entry | None:
        """An alarm on a route; `put` it back after changing it."""
        return self.entries.get((route, anomaly_id))

    def put(self, route: str, entry: Entry) -> None:
        """Add an alarm to a route, or note that it changed."""
        entry.touched = self.now
        self.entries[route, entry.alarm.anomaly_id] = entry
        self._changed.add(f"alarm {route} {entry.alarm.anomaly_id}")

    def put_storm(self, storm: Alarm) -> None:
        """Add a storm, or change it."""
        self.storms[storm.anomaly_id] = storm
        self._changed.add(f"storm {storm.anomaly_id}")

    def forget(self, keys: Iterable[EntryKey], storms: Iterable[str]) -> None:
        """Let alarms and storms go."""
        for route, anomaly_id in keys:
            del self.entries[route, anomaly_id]
            self._changed.add(f"alarm {route} {anomaly_id}")
        for storm in storms:
            del self.storms[storm]
            self._changed.add(f"storm {storm}")

    def move_to(self, now: int) -> int:
        """Let time pass; the time that counts.

        A clock that is put back a little stands still. One that is put back by far was wrong before, and what it made wait
        for the future is due now.
        """
        if now + _CLOCK_WAS_WRONG_US < self.now:
            self._set_back(now)
        else:
            self.now = max(self.now, now)
        return self.now

    def _set_back(self, now: int) -> None:
        self.now = now
        for (route, _), entry in self.entries.items():
            if entry.due is not None or entry.touched > now:
                entry.due = None if entry.due is None else min(entry.due, now)
                self.put(route, entry)
        for name in self.progress:
            progress = self.route(name)
            progress.sent = [min(at, now) for at in progress.sent]
            for group in progress.groups.values():
                group.due = min(group.due, now)
            if progress.held:
                progress.held.since = min(progress.held.since, now)

    def changes(self) -> dict[str, Any]:
        """Key -> JSON object, None for a row that is gone."""
        if not self._changed:
            return {}
        found = {key: self._row(key) for key in sorted(self._changed)}
        self._changed.clear()
        return found | {"now": {"us": self.now}}

    def _row(self, key: str) -> Any:
        kind, _, rest = key.partition(" ")
        if kind == "storm":
            storm = self.storms.get(rest)
            return None if storm is None else storm.to_json()
        if kind == "alarm":
            route, _, anomaly_id = rest.partition(" ")
            entry = self.entries.get((route, anomaly_id))
            return None if entry is None else _entry_row(entry)
        progress = self.progress[rest]
        held = progress.held
        return {
            "sent": progress.sent,
            "number": progress.number,
            "groups": {name: [group.due, group.members] for name, group in progress.groups.items()},
            "held": None if held is None else [held.since, held.members, held.quiet, held.limited],
        }

    def _load(self, key: str, value: Any) -> None:
        kind, _, rest = key.partition(" ")
        if kind == "now":
            self.now = value["us"]
        elif kind == "storm":
            self.storms[rest] = Alarm.from_json(value)
        elif kind == "alarm":
            route, _, anomaly_id = rest.partition(" ")
            fields = {**value, "alarm": Alarm.from_json(value["alarm"]), "phase": Phase(value["phase"])}
            self.entries[route, anomaly_id] = Entry(**fields)
        elif kind == "route":
            self.progress[rest] = Progress(
                value["sent"],
                value["number"],
                {name: Group(due, members) for name, (due, members) in value["groups"].items()},
                Held(*value["held"]) if value["held"] else None,
            )


def _entry_row(entry: Entry) -> dict[str, Any]:
    return {
        "alarm": entry.alarm.to_json(),
        "phase": str(entry.phase),
        "told": entry.told,
        "due": entry.due,
        "group": entry.group,
        "touched": entry.touched,
    }
