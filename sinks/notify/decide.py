"""Who is told what, and when: messages and the time in, notifications out. No I/O; the same in gives the same out.

Two clocks. *Event time* says how old an alarm is and how long it lasted; what is told of it is event time. The *wall clock* says
when people are told: groups, quiet hours, limits and repeats follow it, as people do. It comes as an argument and does not
go back when the machine's clock is corrected (`State.move_to`).

The way of an alarm on a route:

    OPENED -> WAITING (minimum_open; for its storm) -> PENDING (in a group) -> told -> TOLD -> CLEARED -> PENDING -> told -> DONE
                 over too soon, in a storm -> DONE        quiet or too many: held back, told in one later

What is held back is told by one notification that says so. An alarm is told at most once as open (and once for each repeat),
and at most once as cleared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from schemas.readings import AnomalyState
from sinks.notify.alarms import RANKS, Alarm, Event
from sinks.notify.holding import hold, may_pass, room_at, why_held
from sinks.notify.routes import Route, Routes
from sinks.notify.state import Entry, Group, Held, Phase, Progress, State
from sinks.notify.text import Told, write

NAMESPACE = UUID("5a0c4f5e-3f0b-5d2e-9b39-1c9f5f5b6a41")
"""Namespace of notification ids."""

STORM_WAIT_US = 30_000_000
"""How long an alarm of a storm that is not known yet waits for it: it comes by another partition."""

_STORM_BEGINS_US = 600_000_000
"""Alarms that opened within so long behind a storm's beginning may be of it; they came before it was known."""

_FORGET_US = 30 * 86_400_000_000
"""An alarm that nobody cleared for so long is no longer thought of."""

_SWEEP_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Notification:
    """What one route tells: `targets` are names, `anomaly_ids` whom it is about, `told` the particulars."""

    notification_id: UUID
    route: str
    targets: tuple[str, ...]
    title: str
    body: str
    severity: str
    told: tuple[Told, ...]
    at_most_once: bool = False

    @property
    def anomaly_ids(self) -> list[str]:
        """Of the alarms in it."""
        return [each.alarm.anomaly_id for each in self.told]


@dataclass(slots=True)
class Skipped:
    """Alarms that were told to nobody, by reason, since the decider was made."""

    too_old: int = 0
    no_route: int = 0
    too_short: int = 0
    in_storm: int = 0


class Decider:
    """Decides by routes; keeps nothing but counters, all else is in the state.

    Args:
        routes: who wants to know what.
        max_age_us: alarms that were known longer ago are told to nobody.
        dashboard: its address, empty for none.
    """

    def __init__(self, routes: Routes, max_age_us: int = 3_600_000_000, dashboard: str = "") -> None:
        self.routes = routes
        self.skipped = Skipped()
        self._max_age_us = max_age_us
        self._swept_at = 0
        self._words = {route.name: routes.words_of(route, dashboard) for route in routes.routes}

    def decide(self, state: State, events: Iterable[Event], now: int) -> list[Notification]:
        """Take messages, in their order, and tell what is due.

        Args:
            state: changed.
            events: what came since the last call.
            now: wall clock, µs since 1970 UTC.
        """
        now = state.move_to(now)
        for event in events:
            if event.state is AnomalyState.OPENED:
                self._open(state, event.alarm, now)
            else:
                self._clear(state, event.alarm, now)
        self._wake(state, now)
        told = [each for route in self.routes.routes for each in self._tell(state, route, now)]
        self._sweep(state, now)
        return told

    def next_due(self, state: State) -> int | None:
        """When there is something to tell or to look at without a message, µs; None for never."""
        times = [
            entry.due
            for (route, _), entry in state.entries.items()
            if entry.due is not None and route in self._words
        ]
        for route in self.routes.routes:
            progress = state.progress.get(route.name)
            if progress is None:
                continue
            times += [group.due for group in progress.groups.values()]
            if progress.held:
                times.append(self._held_until(state, route, progress, state.now))
        return min(times, default=None)

    # Messages

    def _open(self, state: State, alarm: Alarm, now: int) -> None:
        if alarm.is_storm:
            self._open_storm(state, alarm, now)
            return
        if self._is_old(alarm, now):
            self.skipped.too_old += 1
            return
        storm = state.storms.get(alarm.storm_id or "")
        routes = self.routes.taken(alarm)
        self.skipped.no_route += not routes
        for route in routes:
            if storm is not None:
                self.skipped.in_storm += 1
                self._join_storm(state, route, storm, now)
            else:
                self._enter(state, route, alarm, now)

    def _open_storm(self, state: State, storm: Alarm, now: int) -> None:
        """A storm is told to those whose routes it takes, and to those who wait for one of its members."""
        known = state.storms.get(storm.anomaly_id)
        if known is None or (known.cleared_at is None and storm.readings > known.readings):
            state.put_storm(storm)
        storm = state.storms[storm.anomaly_id]
        old = self._is_old(storm, now)
        self.skipped.too_old += old
        routes = [] if old else self.routes.taken(storm)
        for route in self.routes.routes:
            taken = self._take_members(state, route, storm)
            self.skipped.in_storm += taken
            if taken or route in routes:
                self._join_storm(state, route, storm, now)

    def _take_members(self, state: State, route: Route, storm: Alarm) -> int:
        """Alarms of a storm that were not told yet will not be told by themselves; how many."""
        taken = 0
        for (name, _), entry in list(state.entries.items()):
            untold = entry.phase in (Phase.WAITING, Phase.PENDING) and not entry.told
            if name == route.name and untold and _belongs(entry.alarm, storm):
                self._finish(state, route, entry)
                taken += 1
        return taken

    def _join_storm(self, state: State, route: Route, storm: Alarm, now: int) -> None:
        """Let a route tell of a storm, once."""
        if (route.name, storm.anomaly_id) not in state.entries:
            self._enter(state, route, storm, now)
        else:
            self._renew(state, route, storm)

    def _enter(self, state: State, route: Route, alarm: Alarm, now: int) -> None:
        entry = state.entry(route.name, alarm.anomaly_id)
        if entry is not None:
            self._renew(state, route, alarm)
            return
        entry = Entry(alarm, Phase.WAITING, group=route.group_of(alarm))
        if alarm.cleared_at is not None:  # a storm that was over before it was told here
            self._gather(state, route, entry, now)
        elif "OPENED" not in route.tell:
            entry.phase = Phase.TOLD
        elif (due := _waits_until(route, alarm, now)) > now:
            entry.due = due
        else:
            self._gather(state, route, entry, now)
        state.put(route.name, entry)

    def _renew(self, state: State, route: Route, alarm: Alarm) -> None:
        """A message came again, or says more of an alarm that is not told yet."""
        entry = state.entry(route.name, alarm.anomaly_id)
        if entry is None or entry.told or entry.phase is Phase.DONE or entry.alarm.cleared_at is not None:
            return
        if alarm.readings > entry.alarm.readings:
            entry.alarm = alarm
            state.put(route.name, entry)

    def _clear(self, state: State, alarm: Alarm, now: int) -> None:
        storm = state.storms.get(alarm.anomaly_id)
        if storm is not None and storm.cleared_at is None:
            state.put_storm(storm.cleared(alarm))
        for route in self.routes.routes:
            entry = state.entry(route.name, alarm.anomaly_id)
            if entry is None or entry.phase is Phase.DONE or entry.alarm.cleared_at is not None:
                continue
            entry.alarm = entry.alarm.cleared(alarm)
            self._end(state, route, entry, now)
            state.put(route.name, entry)

    def _end(self, state: State, route: Route, entry: Entry, now: int) -> None:
        """What becomes of an alarm that was just cleared."""
        alarm = entry.alarm
        short = (alarm.cleared_at or 0) - alarm.opened_at < route.minimum_open_us
        in_storm = alarm.storm_id in state.storms and not entry.told
        if in_storm or (short and not entry.told and entry.phase is not Phase.PENDING):
            self.skipped.in_storm += in_storm
            self.skipped.too_short += not in_storm
            self._finish(state, route, entry)
        elif entry.phase is Phase.WAITING:
            if alarm.storm_id is None:
                self._gather(state, route, entry, now)
        elif "CLEARED" not in route.tell:
            if entry.told:
                self._finish(state, route, entry)
        elif entry.phase is Phase.TOLD:
            self._gather(state, route, entry, now)

    # Time

    def _wake(self, state: State, now: int) -> None:
        """Alarms that have waited long enough, or are to be repeated."""
        for (name, _), entry in list(state.entries.items()):
            if entry.due is None or entry.due > now:
                continue
            route = self.routes.route(name)
            if route is None:
                continue
            repeated = entry.phase is Phase.TOLD
            if repeated and route.repeat_us is None:
                entry.due = None
            else:
                self._gather(state, route, entry, now, wait=not repeated)
            state.put(name, entry)

    def _gather(self, state: State, route: Route, entry: Entry, now: int, *, wait: bool = True) -> None:
        """Put an alarm into its group; the first one begins the wait."""
        entry.phase, entry.due = Phase.PENDING, None
        progress = state.route(route.name)
        if progress.held and entry.alarm.anomaly_id in progress.held.members:
            return
        due = now + (route.wait_us if wait else 0)
        group = progress.groups.setdefault(entry.group, Group(due))
        group.due = min(group.due, due)
        if entry.alarm.anomaly_id not in group.members:
            group.members.append(entry.alarm.anomaly_id)

    def _tell(self, state: State, route: Route, now: int) -> list[Notification]:
        """What a route tells now: its groups that are due, and what it held back."""
        progress = state.progress.get(route.name)
        if progress is None:
            return []
        told: list[Notification] = []
        if progress.held and self._held_until(state, route, progress, now) <= now:
            told += self._release(state, route, now)
        due = sorted((group.due, name) for name, group in progress.groups.items() if group.due <= now)
        for _, name in due:
            members = state.route(route.name).groups.pop(name).members
            told += self._pass_on(state, route, self._pending(state, route, members), now)
        return told

    def _pass_on(self, state: State, route: Route, members: list[Entry], now: int) -> list[Notification]:
        """Tell a group, or hold it back: what may not be told now, and all of it while others wait for the limit."""
        progress = state.route(route.name)
        passing = [entry for entry in members if may_pass(route, entry, now)]
        hold(progress, [entry for entry in members if not may_pass(route, entry, now)], now, quiet=True)
        if not passing:
            return []
        waiting = progress.held is not None and progress.held.limited
        if waiting or room_at(route, progress, now) > now:
            hold(progress, passing, now, limited=True)
            return []
        return [self._notification(state, route, passing, now)]

    def _release(self, state: State, route: Route, now: int) -> list[Notification]:
        """One notification of what was held back and may be told."""
        progress = state.route(route.name)
        held = progress.held
        assert held is not None
        progress.held = None
        members = self._pending(state, route, held.members)
        passing = [entry for entry in members if may_pass(route, entry, now)]
        waiting = [entry for entry in members if not may_pass(route, entry, now)]
        if waiting:
            progress.held = Held(held.since, [entry.alarm.anomaly_id for entry in waiting], quiet=True)
        return [self._notification(state, route, passing, now, held)] if passing else []

    def _held_until(self, state: State, route: Route, progress: Progress, now: int) -> int:
        """When something of what is held back may be told."""
        assert progress.held is not None
        quiet = route.quiet_until(now)
        room = room_at(route, progress, now)
        if quiet is None:
            return room
        members = self._pending(state, route, progress.held.members)
        if any(may_pass(route, entry, now) for entry in members):
            return room
        return max(room, quiet)

    def _notification(
        self, state: State, route: Route, members: Sequence[Entry], now: int, held: Held | None = None
    ) -> Notification:
        told = tuple(Told(entry.alarm, _state_of(entry)) for entry in members)
        progress = state.route(route.name)
        progress.number += 1
        if route.limit is not None:
            progress.sent = [at for at in progress.sent if at > now - route.limit.period_us] + [now]
        for entry in members:
            self._was_told(state, route, entry, now)
        words = self._words[route.name]
        title, body = write(told, words, now, "" if held is None else why_held(held, route, words, len(told)))
        name = "\x1f".join(
            [route.name, str(progress.number), str(now), *(each.alarm.anomaly_id for each in told)]
        )
        worst = max((entry.alarm for entry in members), key=lambda alarm: RANKS[alarm.severity])
        over = all(entry.alarm.cleared_at is not None for entry in members)
        return Notification(
            uuid5(NAMESPACE, name),
            route.name,
            route.targets,
            title,
            body,
            "CLEARED" if over else str(worst.severity),
            told,
            route.delivery == "at-most-once",
        )

    def _was_told(self, state: State, route: Route, entry: Entry, now: int) -> None:
        entry.told = True
        if entry.alarm.cleared_at is not None:
            entry.phase, entry.due = Phase.DONE, None
        else:
            repeat = route.repeat_us if entry.alarm.is_critical else None
            entry.phase, entry.due = Phase.TOLD, None if repeat is None else now + repeat
        state.put(route.name, entry)

    def _finish(self, state: State, route: Route, entry: Entry) -> None:
        """Nothing is to be told of it any more."""
        entry.phase, entry.due = Phase.DONE, None
        anomaly_id = entry.alarm.anomaly_id
        state.put(route.name, entry)
        progress = state.route(route.name)
        for name, group in list(progress.groups.items()):
            if anomaly_id in group.members:
                group.members.remove(anomaly_id)
                if not group.members:
                    del progress.groups[name]
        if progress.held and anomaly_id in progress.held.members:
            progress.held.members.remove(anomaly_id)
            if not progress.held.members:
                progress.held = None

    def _pending(self, state: State, route: Route, members: Iterable[str]) -> list[Entry]:
        found = [state.entry(route.name, anomaly_id) for anomaly_id in members]
        return [entry for entry in found if entry is not None and entry.phase is Phase.PENDING]

    def _is_old(self, alarm: Alarm, now: int) -> bool:
        return alarm.known_at + self._max_age_us < now

    def _may_return(self, alarm: Alarm, now: int) -> bool:
        """Whether a message could open it again; a storm also by a late member, which opened before it was over."""
        late = max(alarm.cleared_at or 0, alarm.known_at) if alarm.is_storm else alarm.known_at
        return late + self._max_age_us >= now

    def _sweep(self, state: State, now: int) -> None:
        """Forget what can have no consequence: a message of it that comes again would be too old."""
        if now - self._swept_at < _SWEEP_US:
            return
        self._swept_at = now
        gone = [
            key
            for key, entry in state.entries.items()
            if (entry.phase is Phase.DONE and not self._may_return(entry.alarm, now))
            or entry.touched + _FORGET_US < now
        ]
        storms = [
            storm.anomaly_id
            for storm in state.storms.values()
            if (storm.cleared_at is not None and not self._may_return(storm, now))
            or storm.opened_at + _FORGET_US < now
        ]
        state.forget(gone, storms)


def _belongs(alarm: Alarm, storm: Alarm) -> bool:
    """Whether an alarm is of a storm: it says so, or it opened with it and is of its group and kind."""
    if alarm.is_storm:
        return False
    if alarm.storm_id is not None:
        return alarm.storm_id == storm.anomaly_id
    group, _, which = storm.device_id.partition(":")
    fits = which == (alarm.type if group == "type" else alarm.place)
    begins = storm.opened_at <= alarm.opened_at <= storm.opened_at + _STORM_BEGINS_US
    return fits and begins and (not storm.reason or alarm.kind in storm.reason)


def _waits_until(route: Route, alarm: Alarm, now: int) -> int:
    """When an alarm goes into its group, if it is not over by then."""
    # Event time says how long it is open already; a clock that is ahead must not hold it for longer.
    due = min(alarm.opened_at, now) + route.minimum_open_us
    return due if alarm.storm_id is None else max(due, now + STORM_WAIT_US)


def _state_of(entry: Entry) -> str:
    if entry.alarm.cleared_at is None:
        return "OPEN" if entry.told else "OPENED"
    return "CLEARED" if entry.told else "BRIEF"
