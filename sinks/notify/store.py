"""Decisions into the database, each once: state, outbox and offsets move in one transaction.

The transaction locks the fences of the logs that it takes messages of (as `sinks.timescale.writer`), and the sink's row of
`notify_version`, so that one worker decides at a time. What a worker remembers counts as long as the version is the one that
it wrote; otherwise it reads the state anew. A commit whose outcome is not known needs no care: the next attempt finds the fence
moved, and the worker asks where it stands.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from schemas.errors import DatabaseError
from schemas.failpoints import fail_point
from schemas.readings import Anomaly
from sinks.logs import Counts, LogId
from sinks.notify.alarms import DeviceFacts, Event, event_of
from sinks.notify.decide import Decider, Notification
from sinks.notify.state import State
from sinks.patience import patiently
from sinks.timescale import offsets
from sinks.timescale.offsets import Move
from sinks.timescale.verdicts import Verdict, judge

_Result = TypeVar("_Result")

_DEVICES = "SELECT device_id, type, name, location, units FROM devices WHERE device_id = ANY(%s)"
_LOCK_VERSION = "SELECT version FROM notify_version WHERE sink = %s FOR UPDATE"
_NEW_VERSION = "INSERT INTO notify_version (sink, version) VALUES (%s, 0) ON CONFLICT DO NOTHING"
_RAISE_VERSION = "UPDATE notify_version SET version = version + 1 WHERE sink = %s"
_READ_STATE = "SELECT key, value FROM notify_state WHERE sink = %s"
_WRITE_STATE = """INSERT INTO notify_state (sink, key, value) VALUES (%s, %s, %s)
ON CONFLICT (sink, key) DO UPDATE SET value = EXCLUDED.value"""
_DROP_STATE = "DELETE FROM notify_state WHERE sink = %s AND key = ANY(%s)"
_ENQUEUE = """INSERT INTO notifications
    (sink, notification_id, route, target, severity, title, body, anomalies, anomaly_ids, at_most_once)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""


class OutageError(Exception):
    """The database does not answer or cannot write now."""


@dataclass(slots=True)
class Taken:
    """The messages of one log from `first` (its fence) to `next_offset`: anomalies, and how many were dead letters."""

    log: LogId
    first: int
    next_offset: int
    anomalies: list[Anomaly] = field(default_factory=list)
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a decision: notifications, when there is something to decide next (µs, None: never), lost logs."""

    notifications: int
    next_due: int | None
    lost: frozenset[LogId] = frozenset()


class Store:
    """Decides over one connection, which it makes anew after an outage. Not for several threads.

    Args:
        connect: makes a connection in autocommit mode.
        sink: whose state and fences.
        decider: what decides.
        stop: set when waiting for the database must end.
        longest_wait: longest pause between two attempts, seconds.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        sink: str,
        decider: Decider,
        stop: threading.Event,
        longest_wait: float = 10.0,
    ) -> None:
        self._connect = connect
        self._sink = sink
        self._decider = decider
        self._stop = stop
        self._longest_wait = longest_wait
        self._connection: psycopg.Connection | None = None
        self._state: State | None = None
        self._version = -1
        self.outages = 0
        self.waiting = False

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._state = None

    def decide(self, taken: Sequence[Taken], now: int) -> Decided:
        """Decide about messages and about what is due; blocks through outages.

        Raises:
            StoppedError: told to stop while waiting.
            DatabaseError: the database refuses for good.
        """
        return self.run(lambda connection: self._decide(connection, sorted(taken, key=lambda t: t.log), now))

    def positions(self, starts: Mapping[LogId, int]) -> dict[LogId, int]:
        """Where logs stand; those met for the first time are entered at `starts`. Blocks and raises as `decide`."""

        def once(connection: psycopg.Connection) -> dict[LogId, int]:
            offsets.create(connection, self._sink, starts)
            return offsets.read(connection, self._sink, list(starts))

        return self.run(once)

    def reset(self, log: LogId, position: int, to: int) -> int:
        """Put a log that stands at `position` to `to`; where it stands now."""

        def once(connection: psycopg.Connection) -> int:
            offsets.reset(connection, self._sink, log, position, to)
            return offsets.read(connection, self._sink, [log])[log]

        return self.run(once)

    def run(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """Do something over the connection, again and again through outages. Raises as `decide`."""
        return patiently(
            lambda: self._guard(work), OutageError, self._stop, "the database", self._longest_wait
        )

    def try_once(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """As `run`, without patience.

        Raises:
            OutageError: the database is out of reach.
        """
        return self._guard(work)

    def _guard(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        try:
            if self._connection is None:
                self._connection = self._connect()
            result = work(self._connection)
        except BaseException as error:
            self._state = None  # half changed, perhaps
            if not isinstance(error, psycopg.Error):
                raise
            line = next(iter(str(error).splitlines()), type(error).__name__)
            if judge(error) in (Verdict.OUTAGE, Verdict.TOO_MUCH):
                self.outages += 1
                self.waiting = True
                self.close()
                raise OutageError(line) from error
            raise DatabaseError(
                f"the database refuses notifications: {line}",
                "See `sigmawatch db status`, and the user's rights.",
            ) from error
        self.waiting = False
        return result

    def _decide(self, connection: psycopg.Connection, taken: Sequence[Taken], now: int) -> Decided:
        devices = _devices(connection, {each.device_id for one in taken for each in one.anomalies})
        fail_point("notify.before_decide")
        with connection.transaction():
            standing = offsets.lock(connection, self._sink, [one.log for one in taken]) if taken else {}
            state = self._lock_state(connection)
            held = [one for one in taken if standing.get(one.log) == one.first]
            events = [event for one in held for event in _events(one, devices)]
            notifications = self._decider.decide(state, events, now)
            changed = self._save(connection, state, notifications)
            moves = [
                Move(one.log, one.first, one.next_offset, Counts(len(one.anomalies), 0, 0, one.dead_letters))
                for one in held
            ]
            if moves and offsets.advance(connection, self._sink, moves) != len(moves):
                raise DatabaseError("a locked fence moved", "Does a trigger or rule change sink_offset?")
            fail_point("notify.before_commit")
        if connection.closed:
            # psycopg leaves a transaction's block without a word when its connection is closed already.
            raise psycopg.OperationalError("the connection was closed before COMMIT")
        self._version += changed
        self._state = state
        fail_point("notify.after_commit")
        lost = frozenset(one.log for one in taken) - {one.log for one in held}
        return Decided(len(notifications), self._decider.next_due(state), lost)

    def _lock_state(self, connection: psycopg.Connection) -> State:
        """The state, and nobody else's until the end of the transaction."""
        row = connection.execute(_LOCK_VERSION, (self._sink,)).fetchone()
        if row is None:
            connection.execute(_NEW_VERSION, (self._sink,))
            row = connection.execute(_LOCK_VERSION, (self._sink,)).fetchone()
        assert row is not None
        state, self._state = self._state, None
        if state is not None and self._version == row[0]:
            return state
        self._version = row[0]
        return State(dict(connection.execute(_READ_STATE, (self._sink,)).fetchall()))

    def _save(
        self, connection: psycopg.Connection, state: State, notifications: Sequence[Notification]
    ) -> bool:
        """Store what changed; whether anything did."""
        changes = state.changes()
        if not changes and not notifications:
            return False
        gone = [key for key, value in changes.items() if value is None]
        with connection.cursor() as cursor:
            cursor.executemany(
                _WRITE_STATE,
                [(self._sink, key, Jsonb(value)) for key, value in changes.items() if value is not None],
            )
            if gone:
                cursor.execute(_DROP_STATE, (self._sink, gone))
            cursor.executemany(_ENQUEUE, [row for each in notifications for row in self._rows(each)])
            cursor.execute(_RAISE_VERSION, (self._sink,))
        return True

    def _rows(self, told: Notification) -> list[tuple[Any, ...]]:
        anomalies = [
            {**each.alarm.to_json(), "state": "CLEARED" if each.alarm.cleared_at is not None else "OPENED"}
            for each in told.told
        ]
        return [
            (
                self._sink,
                told.notification_id,
                told.route,
                target,
                told.severity,
                told.title,
                told.body,
                Jsonb(anomalies),
                told.anomaly_ids,
                told.at_most_once,
            )
            for target in told.targets
        ]


def _devices(connection: psycopg.Connection, device_ids: set[str]) -> dict[str, DeviceFacts]:
    """What the database knows of devices, which `sink timescale` has put there."""
    if not device_ids:
        return {}
    askable = [device_id for device_id in device_ids if "\0" not in device_id]
    return {
        device_id: DeviceFacts(type_ or "", name or "", place or "", units or {})
        for device_id, type_, name, place, units in connection.execute(_DEVICES, (askable,))
    }


def _events(taken: Taken, devices: Mapping[str, DeviceFacts]) -> list[Event]:
    unknown = DeviceFacts()
    return [event_of(anomaly, devices.get(anomaly.device_id, unknown)) for anomaly in taken.anomalies]
