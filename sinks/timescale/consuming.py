"""What the sinks that keep their offsets in the database do alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import psycopg
import structlog

from sinks.consuming import ConsumingSink
from sinks.logs import LogId
from sinks.metrics import SinkMetrics
from sinks.reader import Standing, TopicAndPartition
from sinks.timescale import offsets
from sinks.timescale.database import Database

_LOG = structlog.get_logger(__name__)


class DatabaseSink(ConsumingSink):
    """A sink whose positions are its fences in the database; Kafka's offsets are for the tools that show lag.

    Args:
        group: name of the sink in the database.
        connect: makes database connections (`connection.connector`).
        build_tables: apply the migrations that are missing at the start; otherwise the tables must be there.
        purpose: what the database refuses when it refuses, for the message.
        metrics, consumer, topics, longest_wait, clock: as of `ConsumingSink`.
    """

    _ASKS_KAFKA: ClassVar[bool] = False

    def __init__(
        self,
        group: str,
        connect: Callable[[], psycopg.Connection],
        *,
        build_tables: bool,
        purpose: str,
        metrics: SinkMetrics,
        consumer: Mapping[str, Any],
        topics: Sequence[str],
        longest_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(metrics, consumer, topics, longest_wait, clock)
        self._group = group
        self._build_tables = build_tables
        self._database = Database(
            connect, self._stop, longest_wait, purpose=purpose, on_outage=metrics.outages.inc
        )

    @property
    def _waiting(self) -> bool:
        return self._database.waiting or self._database.preparing

    def _prepare(self) -> None:
        self._database.prepare(build=self._build_tables)

    def _close(self) -> None:
        self._database.close()

    def _standing(self, found: Standing) -> dict[TopicAndPartition, int]:
        if not found.bounds:
            return {}
        starts = {log: found.bounds[key][0] for key, log in found.logs.items()}
        standing = self._database.patiently(lambda connection: offsets.enter(connection, self._group, starts))
        return {key: standing[log] for key, log in found.logs.items()}

    def _reset(self, log: LogId, position: int, low: int) -> int:
        return self._database.patiently(
            lambda connection: offsets.reset(connection, self._group, log, position, low)
        )

    def _moved_on(self, log: LogId, next_offset: int) -> None:
        """The fence of a log is at `next_offset`."""
        key = log.topic, log.partition
        self._positions[key] = self._uncommitted[key] = next_offset

    def _fence_lost(self, log: LogId) -> None:
        """Somebody else has moved a log's fence: its batch is dropped, and it is asked anew who owns what."""
        _LOG.warning("somebody else moved the log on, batch dropped", log=log._asdict())
        self.metrics.fences_lost.labels(log.topic).inc()
        if self._reader is not None:
            self._reader.unplaced = True
