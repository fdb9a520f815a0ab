"""Looking at a running stack: the processors' pages, the sink's offsets, the latest anomalies."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from deploy.stack import deliveries
from deploy.stack.database import AnomalyRow, Database
from deploy.stack.deliveries import Deliveries
from schemas.errors import SigmawatchError
from schemas.settings import Settings

_LOOK_SECONDS = 0.5
_PAGE_SECONDS = 3.0
_SHOWN_ANOMALIES = 8
_RATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What a processor says of one of its partitions; counts are cumulative.

    `processed` are all readings it has taken: judged, late or repeated.
    """

    next_offset: int
    committed_offset: int
    processed: int
    episodes: int
    dead_letters: int
    series: int
    warming: int
    watched: int
    open: int


def partition_states(page: Mapping[str, Mapping[str, int]]) -> dict[int, PartitionState]:
    """The page /partitions."""
    return {
        int(number): PartitionState(
            next_offset=counts["next_offset"],
            committed_offset=counts["committed_offset"],
            processed=counts["readings"] + counts["late"] + counts["repeated"],
            episodes=counts["episodes"],
            dead_letters=counts["dead_letters"],
            series=counts["series"],
            warming=counts["warming"],
            watched=counts["watched"],
            open=counts["open"],
        )
        for number, counts in page.items()
    }


def fetch_page(port: int, path: str) -> tuple[int, Any]:
    """(status, JSON) of a page on loopback; status 0 where nobody answers. Blocks up to 3 s."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PAGE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body[:1] in (b"{", b"[") else None
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Observation:
    """How the stack stands.

    Attributes:
        at: monotonic seconds.
        partitions: of the readings, as far as a processor has them now.
        workers_ready: processors that say they are ready.
        delivered: what the producer had acknowledged.
        positions: (topic, partition) -> up to where the sink has stored.
        anomalies: stored in this run, so far.
        latest: the newest of them.
        p50_ms, p99_ms: their latency.
        rate: readings acknowledged a second, lately.
        database_answers: False where the last look failed.
    """

    at: float = 0.0
    partitions: Mapping[int, PartitionState] = field(default_factory=dict)
    workers_ready: int = 0
    delivered: Deliveries = field(default_factory=Deliveries)
    positions: Mapping[tuple[str, int], int] = field(default_factory=dict)
    anomalies: int = 0
    latest: Sequence[AnomalyRow] = ()
    p50_ms: float | None = None
    p99_ms: float | None = None
    rate: float = 0.0
    database_answers: bool = True

    def total(self, what: str) -> int:
        """Sum of one of `PartitionState`'s counts."""
        return sum(getattr(state, what) for state in self.partitions.values())

    def lag(self, topic: str) -> tuple[int, int]:
        """Readings acknowledged and not yet (processed, stored)."""
        ends = self.delivered.ends(topic)
        unprocessed = sum(
            max(0, end - self.partitions[number].next_offset)
            for number, end in ends.items()
            if number in self.partitions
        )
        unstored = sum(max(0, end - self.positions.get((topic, number), end)) for number, end in ends.items())
        return unprocessed, unstored


class Watcher:
    """Looks at the stack every half second, in a thread of its own between `start` and `stop`.

    Args:
        settings: of the parts.
        worker_ports: gives the processors' web ports.
        report: the producer's file of deliveries.
        topic_ids: of the topics that the sink reads.
        since: start of the run, by the database's clock.
    """

    def __init__(
        self,
        settings: Settings,
        worker_ports: Callable[[], Sequence[int]],
        report: Path,
        topic_ids: dict[str, str],
        since: datetime,
    ) -> None:
        self._settings = settings
        self._ports = worker_ports
        self._report = report
        self._topic_ids = topic_ids
        self._since = since
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._earlier = Deliveries()
        self._recent: list[tuple[float, int]] = []
        self._report_lock = threading.Lock()
        self.now = Observation()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; blocks until the last look is over, a few seconds at most."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def producer_ended(self) -> None:
        """The producer's process ended, and another may take its place: keep what it delivered."""
        with self._report_lock:
            self._earlier = deliveries.read(self._report).after(self._earlier)
            self._report.unlink(missing_ok=True)

    def delivered(self) -> Deliveries:
        """What all producers of this run had acknowledged, read now."""
        with self._report_lock:
            return deliveries.read(self._report).after(self._earlier)

    def _run(self) -> None:
        database = Database(self._settings)
        try:
            while not self._ended.wait(_LOOK_SECONDS):
                self.now = self._look(database)
        finally:
            database.close()

    def _look(self, database: Database) -> Observation:
        seen = replace(self.now, at=time.monotonic())
        partitions, ready = look_at_workers(self._ports())
        delivered = self.delivered()
        seen = replace(
            seen,
            # While drained processors stop, the last look at them is shown on.
            partitions=partitions or self.now.partitions,
            workers_ready=ready,
            delivered=delivered,
            rate=self._rate(seen.at, delivered.total(self._settings.topics.readings)),
        )
        try:
            count, p50, p99 = database.latency(self._since)
            return replace(
                seen,
                positions=database.positions(self._settings.sink.group, self._topic_ids),
                latest=database.latest_anomalies(self._since, _SHOWN_ANOMALIES),
                anomalies=count,
                p50_ms=p50,
                p99_ms=p99,
                database_answers=True,
            )
        except (psycopg.Error, SigmawatchError):
            return replace(seen, database_answers=False)

    def _rate(self, at: float, total: int) -> float:
        self._recent = [(when, count) for when, count in self._recent if at - when < _RATE_SECONDS]
        self._recent.append((at, total))
        begin, first = self._recent[0]
        return (total - first) / (at - begin) if at - begin > 0.4 else 0.0


def look_at_workers(ports: Sequence[int]) -> tuple[dict[int, PartitionState], int]:
    """The partitions of all workers, and how many of them are ready. Blocks up to some seconds each."""
    partitions: dict[int, PartitionState] = {}
    ready = 0
    for port in ports:
        status, page = fetch_page(port, "/partitions")
        if status != 200 or not isinstance(page, dict):
            continue
        for number, state in partition_states(page).items():
            before = partitions.get(number)
            if before is None or state.next_offset >= before.next_offset:
                partitions[number] = state
        status, _ = fetch_page(port, "/readyz")
        ready += status == 200
    return partitions, ready
