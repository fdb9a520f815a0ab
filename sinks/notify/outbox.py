"""The outbox in the database: notifications are taken from it under a lease, and marked with what became of them.

A lease is taken before a notification is handed over, and is renewed meanwhile. Of a worker that dies it lapses: then the
notification is handed over again with the same key, or, where the route says at-most-once, marked unknown.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from schemas.errors import DatabaseError
from sinks.notify.targets import Letter

# One notification for each target at a time, in their order; of one that an earlier, unsettled one tells about as well, not
# before that: nobody is to read CLEARED before OPENED.
_CLAIM = """
WITH free AS (
    SELECT first.number
    FROM (SELECT DISTINCT target FROM notifications
          WHERE sink = %(sink)s AND state IN ('pending', 'sending') AND target <> ALL(%(busy)s)) AS each
    CROSS JOIN LATERAL (
        SELECT n.number FROM notifications n
        WHERE n.sink = %(sink)s AND n.target = each.target AND n.state IN ('pending', 'sending')
          AND ((n.state = 'pending' AND n.next_attempt_at <= clock_timestamp())
               OR (n.state = 'sending' AND n.lease_until <= clock_timestamp()))
          AND NOT EXISTS (
              SELECT FROM notifications e
              WHERE e.sink = n.sink AND e.target = n.target AND e.number < n.number
                AND e.state IN ('pending', 'sending') AND e.anomaly_ids && n.anomaly_ids)
        ORDER BY n.number LIMIT 1) AS first)
UPDATE notifications n
SET state = 'sending', lease = %(lease)s, lease_until = clock_timestamp() + %(length)s, attempts = n.attempts + 1
FROM free
WHERE n.number = free.number
  AND (n.state = 'pending' OR (n.state = 'sending' AND n.lease_until <= clock_timestamp()))
RETURNING n.number, n.notification_id, n.target, n.route, n.title, n.body, n.severity, n.anomalies, n.attempts,
          clock_timestamp() - n.decided_at"""
_LAPSE = """
UPDATE notifications SET state = 'unknown', settled_at = clock_timestamp(), lease = NULL,
    error = 'a worker died while it handed it over'
WHERE sink = %s AND state = 'sending' AND at_most_once AND lease_until <= clock_timestamp()
RETURNING route, target, title"""
_RENEW = "UPDATE notifications SET lease_until = clock_timestamp() + %s WHERE sink = %s AND lease = ANY(%s)"
_SENT = """UPDATE notifications SET state = 'sent', settled_at = clock_timestamp(), lease = NULL, error = ''
WHERE number = %s AND lease = %s"""
_FAILED = """UPDATE notifications SET state = 'failed', settled_at = clock_timestamp(), lease = NULL, error = %s
WHERE number = %s AND lease = %s"""
_AGAIN = """UPDATE notifications SET state = 'pending', next_attempt_at = clock_timestamp() + %s, lease = NULL, error = %s
WHERE number = %s AND lease = %s"""
_CLEAN = "DELETE FROM notifications WHERE sink = %s AND settled_at < clock_timestamp() - %s"
_COUNT = (
    "SELECT state, count(*) FROM notifications WHERE sink = %s AND state IN ('pending', 'sending') GROUP BY 1"
)
_BY_TARGET = """
SELECT target, state, count(*), max(settled_at), (array_agg(error ORDER BY number DESC) FILTER (WHERE error <> ''))[1]
FROM notifications WHERE sink = %s GROUP BY 1, 2 ORDER BY 1, 2"""
_TROUBLED = """
SELECT route, target, state, title, attempts, decided_at, error FROM notifications
WHERE sink = %s AND (state IN ('failed', 'unknown') OR (state <> 'sent' AND attempts > 0 AND error <> ''))
ORDER BY number DESC LIMIT %s"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A notification that this worker has the lease of."""

    number: int
    lease: UUID
    target: str
    route: str
    letter: Letter
    attempts: int
    age: float


class Outbox:
    """The notifications of a sink.

    Args:
        sink: whose.
        lease_seconds: how long a worker may be silent before others take over what it has in hand.
    """

    def __init__(self, sink: str, lease_seconds: float = 60.0) -> None:
        self._sink = sink
        self._length = timedelta(seconds=lease_seconds)

    def claim(self, connection: psycopg.Connection, busy: Collection[str]) -> list[Claim]:
        """The next notification of each target that is not busy."""
        lease = uuid4()
        rows = connection.execute(
            _CLAIM,
            {"sink": self._sink, "busy": list(busy), "lease": lease, "length": self._length},
        ).fetchall()
        return [
            Claim(
                number,
                lease,
                target,
                route,
                Letter(str(key), title, body, severity, anomalies),
                attempts,
                age.total_seconds(),
            )
            for number, key, target, route, title, body, severity, anomalies, attempts, age in rows
        ]

    def lapse(self, connection: psycopg.Connection) -> list[tuple[str, str, str]]:
        """Mark what may be handed over only once and was in a dead worker's hand: (route, target, title) each."""
        return [tuple(row) for row in connection.execute(_LAPSE, (self._sink,))]

    def renew(self, connection: psycopg.Connection, leases: Collection[UUID]) -> None:
        """Keep leases for another while."""
        connection.execute(_RENEW, (self._length, self._sink, list(leases)))

    def sent(self, connection: psycopg.Connection, claim: Claim) -> bool:
        """The target has it; False: the lease was lost meanwhile."""
        return connection.execute(_SENT, (claim.number, claim.lease)).rowcount == 1

    def failed(self, connection: psycopg.Connection, claim: Claim, error: str) -> None:
        """It is given up, unless the lease was lost meanwhile: then whoever has it decides."""
        connection.execute(_FAILED, (error, claim.number, claim.lease))

    def again(self, connection: psycopg.Connection, claim: Claim, error: str, pause: float) -> None:
        """It is tried again after `pause` seconds, unless the lease was lost meanwhile."""
        connection.execute(_AGAIN, (timedelta(seconds=pause), error, claim.number, claim.lease))

    def clean(self, connection: psycopg.Connection, days: float) -> None:
        """Let go what was settled so many days ago."""
        connection.execute(_CLEAN, (self._sink, timedelta(days=days)))

    def unsettled(self, connection: psycopg.Connection) -> dict[str, int]:
        """How many are pending and sending."""
        return dict(connection.execute(_COUNT, (self._sink,)).fetchall())


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """What became of a target's notifications, kept for some days: state -> number."""

    target: str
    counts: dict[str, int]
    last_sent: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A notification that failed, is unknown, or is being tried again."""

    route: str
    target: str
    state: str
    title: str
    attempts: int
    decided_at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Status:
    """What a person asks about notifications."""

    targets: list[TargetStatus]
    troubles: list[Trouble]

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_iso))
        return found


def read_status(connection: psycopg.Connection, sink: str, limit: int = 20) -> Status:
    """What became of a sink's notifications, and the newest that have trouble.

    Raises:
        DatabaseError: the database has no notifications yet.
    """
    try:
        return Status(_target_statuses(connection, sink), _troubles(connection, sink, limit))
    except psycopg.errors.UndefinedTable:
        raise DatabaseError(
            "this database knows of no notifications",
            "Run `sigmawatch db migrate`, or `sigmawatch sink notify`.",
        ) from None


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _target_statuses(connection: psycopg.Connection, sink: str) -> list[TargetStatus]:
    """What became of each target's notifications."""
    found: dict[str, dict[str, Any]] = {}
    for target, state, count, last, error in connection.execute(_BY_TARGET, (sink,)):
        entry = found.setdefault(target, {"counts": {}, "last_sent": None, "last_error": ""})
        entry["counts"][state] = count
        entry["last_sent"] = last if state == "sent" else entry["last_sent"]
        entry["last_error"] = error or entry["last_error"]
    return [TargetStatus(target, **entry) for target, entry in found.items()]


def _troubles(connection: psycopg.Connection, sink: str, limit: int) -> list[Trouble]:
    """The newest that have trouble."""
    return [Trouble(*row) for row in connection.execute(_TROUBLED, (sink, limit))]
