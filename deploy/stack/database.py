"""What `up` asks its database: how far the sink is, what was stored, the latest anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from deploy.clients import connect_database
from deploy.reconcile import Ints, Series, StoredAnomaly
from schemas.settings import Settings
from schemas.times import to_datetime

if TYPE_CHECKING:
    import psycopg

_SERIES_AT_ONCE = 2_000

_DIGESTS = """
SELECT count(r.time), coalesce(sum((extract(epoch FROM r.time) * 1000000)::bigint), 0)
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    WITH ORDINALITY AS s(device_id, metric, first, last, number)
LEFT JOIN readings r
    ON r.device_id = s.device_id AND r.metric = s.metric AND r.time BETWEEN s.first AND s.last
GROUP BY s.number ORDER BY s.number"""

_TIMES = """
SELECT (extract(epoch FROM time) * 1000000)::bigint FROM readings
WHERE device_id = %s AND metric = %s AND time BETWEEN %s AND %s ORDER BY time"""

_POSITIONS = """
SELECT topic, partition, next_offset FROM sink_offset
WHERE sink = %s AND (topic, topic_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"""

_ANOMALIES = """
SELECT anomaly_id, extract(epoch FROM stored_at - detected_at) * 1000, stored_at >= %s FROM anomalies
WHERE anomaly_id = ANY(%s)"""

_LATEST = """
SELECT opened_at, cleared_at, device_id, metric, kind, severity, reason, value, score, mean FROM anomalies
WHERE stored_at >= %s ORDER BY stored_at DESC LIMIT %s"""

_LATENCY = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)
FROM (SELECT extract(epoch FROM stored_at - detected_at) * 1000 AS ms FROM anomalies WHERE stored_at >= %s) AS latency"""


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """An episode as the live view shows it."""

    opened_at: datetime
    cleared_at: datetime | None
    device_id: str
    metric: str
    kind: str
    severity: str
    reason: str
    value: float
    score: float
    mean: float


class Database:
    """A connection for looking, opened again after a loss. Implements `StoredReadings`. For one thread.

    Methods block as long as the server takes, and raise psycopg.Error or `UnreachableError` where it does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: psycopg.Connection | None = None

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = connect_database(self._settings)
        return self._connection.execute(query.encode(), parameters).fetchall()

    def digests(self, series: Sequence[Series]) -> list[tuple[int, int]]:
        """As `StoredReadings.digests`."""
        found: list[tuple[int, int]] = []
        for begin in range(0, len(series), _SERIES_AT_ONCE):
            some = series[begin : begin + _SERIES_AT_ONCE]
            columns = (
                [one.device_id for one in some],
                [one.metric for one in some],
                [to_datetime(int(one.times[0])) for one in some],
                [to_datetime(int(one.times[-1])) for one in some],
            )
            found += [(int(count), int(total)) for count, total in self._rows(_DIGESTS, columns)]
        return found

    def times(self, series: Series) -> Ints:
        """As `StoredReadings.times`."""
        bounds = to_datetime(int(series.times[0])), to_datetime(int(series.times[-1]))
        rows = self._rows(_TIMES, (series.device_id, series.metric, *bounds))
        return np.array([us for (us,) in rows], np.int64)

    def positions(self, sink: str, topic_ids: dict[str, str]) -> dict[tuple[str, int], int]:
        """(topic, partition) -> offset up to which the sink has stored."""
        rows = self._rows(_POSITIONS, (sink, list(topic_ids), list(topic_ids.values())))
        return {(topic, partition): offset for topic, partition, offset in rows}

    def anomalies(self, ids: Sequence[UUID], since: datetime) -> list[StoredAnomaly]:
        """The rows of these episodes; latency only of those stored since a time."""
        rows = self._rows(_ANOMALIES, (since, list(ids)))
        return [StoredAnomaly(number, float(ms) if fresh else None) for number, ms, fresh in rows]

    def latest_anomalies(self, since: datetime, limit: int) -> list[AnomalyRow]:
        """The newest rows that were stored since a time."""
        return [AnomalyRow(*row) for row in self._rows(_LATEST, (since, limit))]

    def latency(self, since: datetime) -> tuple[int, float | None, float | None]:
        """(anomalies stored since a time, p50, p99 of their latency in ms)."""
        ((count, p50, p99),) = self._rows(_LATENCY, (since,))
        return int(count), None if p50 is None else float(p50), None if p99 is None else float(p99)

    def readings_of_before(self) -> str:
        """How many readings are stored, for people: exact up to a million, which is counted in a moment."""
        ((count,),) = self._rows("SELECT count(*) FROM (SELECT FROM readings LIMIT 1000001) AS counted", ())
        return f"{count:,}" if count <= 1_000_000 else "more than 1,000,000"

    def now(self) -> datetime:
        """The database's clock."""
        ((now,),) = self._rows("SELECT clock_timestamp()", ())
        return now if isinstance(now, datetime) else datetime.now(UTC)
