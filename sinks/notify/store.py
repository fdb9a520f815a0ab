"""Decisions into the database, each once: state, outbox and offsets move in one transaction.

The transaction locks the fences of the logs that it takes messages of (as `sinks.timescale.writer`), and the sink's row of
`notify_version`, so that one worker decides at a time. What a worker remembers counts as long as the version is the one that
it wrote, over this connection; otherwise it reads the state anew. A commit whose outcome is not known needs no care: the next
attempt finds the fence moved, and the worker asks where it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from schemas.failpoints import fail_point
from schemas.readings import Anomaly
from sinks.logs import Counts, LogId
from sinks.notify.alarms import DeviceFacts, Event, event_of
from sinks.notify.decide import Decider, Notification
from sinks.notify.state import State
from sinks.timescale import offsets
from sinks.timescale.database import Database, transaction
from sinks.timescale.offsets import Move

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


class _Known(NamedTuple):
    """The state as this worker wrote it: good as long as the connection lives and the version is this one."""

    connection: psycopg.Connection
    version: int
    state: State


class Store:
    """Decides over a database. Not for several threads.

    Args:
        database: where to.
        sink: whose state and fences.
        decider: what decides.
    """

    def __init__(self, database: Database, sink: str, decider: Decider) -> None:
        self._database = database
        self._sink = sink
        self._decider = decider
        self._known: _Known | None = None

    def decide(self, taken: Sequence[Taken], now: int) -> Decided:
        """Decide about messages and about what is due; blocks through outages.

        Raises:
            StoppedError: told to stop while waiting.
            DatabaseError: the database refuses for good.
        """
        ordered = sorted(taken, key=lambda one: one.log)
        return self._database.patiently(lambda connection: self._decide(connection, ordered, now))

    def _decide(self, connection: psycopg.Connection, taken: Sequence[Taken], now: int) -> Decided:
        devices = _devices(connection, {each.device_id for one in taken for each in one.anomalies})
        fail_point("notify.before_decide")
        with transaction(connection):
            standing = offsets.lock(connection, self._sink, [one.log for one in taken]) if taken else {}
            version, state = self._lock_state(connection)
            held = [one for one in taken if standing.get(one.log) == one.first]
            events = [event for one in held for event in _events(one, devices)]
            notifications = self._decider.decide(state, events, now)
            changed = self._save(connection, state, notifications)
            moves = [
                Move(one.log, one.first, one.next_offset, Counts(len(one.anomalies), 0, 0, one.dead_letters))
                for one in held
            ]
            if moves:
                offsets.advance(connection, self._sink, moves)
            fail_point("notify.before_commit")
        self._known = _Known(connection, version + changed, state)
        fail_point("notify.after_commit")
        lost = frozenset(one.log for one in taken) - {one.log for one in held}
        return Decided(len(notifications), self._decider.next_due(state), lost)

    def _lock_state(self, connection: psycopg.Connection) -> tuple[int, State]:
        """(version, state), which are nobody else's until the end of the transaction."""
        row = connection.execute(_LOCK_VERSION, (self._sink,)).fetchone()
        if row is None:
            connection.execute(_NEW_VERSION, (self._sink,))
            row = connection.execute(_LOCK_VERSION, (self._sink,)).fetchone()
        assert row is not None
        version: int = row[0]
        known, self._known = self._known, None  # half changed, where this attempt fails
        if known is not None and known.connection is connection and known.version == version:
            return version, known.state
        return version, State(dict(connection.execute(_READ_STATE, (self._sink,)).fetchall()))

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
