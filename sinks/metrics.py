"""The sinks' metrics: names end in the unit, counters in `_total`, and no label has a device's id.

`CATALOGUE` is what the documentation lists; `SinkMetrics` holds the living metrics of one sink.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sinks.logs import Counts


class Kind(StrEnum):
    """Kind of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the catalogue."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


MESSAGES = Metric(
    "sigmawatch_sink_messages_total",
    Kind.COUNTER,
    "Messages that are dealt with, by what became of them: stored, updated, duplicates, dead_letters.",
    ("topic", "fate"),
)
TRANSACTION = Metric(
    "sigmawatch_sink_transaction_seconds",
    Kind.HISTOGRAM,
    "Time of a transaction from its batches being decoded to its commit, waiting for the database included.",
)
BATCH = Metric("sigmawatch_sink_batch_messages", Kind.HISTOGRAM, "Messages of a transaction.")
FENCES_LOST = Metric(
    "sigmawatch_sink_fences_lost_total",
    Kind.COUNTER,
    "Batches dropped because somebody else had moved the log on; normal for a moment at a rebalance.",
    ("topic",),
)
OUTAGES = Metric(
    "sigmawatch_sink_database_outages_total",
    Kind.COUNTER,
    "Attempts that ended because the database was out of reach or could not write.",
)
LOG_RESETS = Metric(
    "sigmawatch_sink_log_resets_total",
    Kind.COUNTER,
    "Times a log no longer held what came next and was read anew from its start: readings may be lost.",
    ("topic",),
)
LAG = Metric(
    "sigmawatch_sink_lag_messages",
    Kind.GAUGE,
    "Messages behind the newest one that the broker told of with the last fetch.",
    ("topic", "partition"),
)
PARTITIONS = Metric("sigmawatch_sink_assigned_partitions", Kind.GAUGE, "Partitions that this sink reads.")
BYTES_WRITTEN = Metric(
    "sigmawatch_sink_file_bytes_total", Kind.COUNTER, "Bytes written to the anomaly log's files."
)

CATALOGUE = (
    MESSAGES,
    TRANSACTION,
    BATCH,
    FENCES_LOST,
    OUTAGES,
    LOG_RESETS,
    LAG,
    PARTITIONS,
    BYTES_WRITTEN,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_MESSAGES = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 500_000)


class SinkMetrics:
    """Living metrics in a registry of their own, so that several sinks fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = self._counter(MESSAGES)
        self.transaction = self._histogram(TRANSACTION, _SECONDS)
        self.batch = self._histogram(BATCH, _MESSAGES)
        self.fences_lost = self._counter(FENCES_LOST)
        self.outages = self._counter(OUTAGES)
        self.log_resets = self._counter(LOG_RESETS)
        self.lag = self._gauge(LAG)
        self.partitions = self._gauge(PARTITIONS)
        self.bytes_written = self._counter(BYTES_WRITTEN)

    def count(self, topic: str, counts: Counts) -> None:
        """Add what came of messages of a topic."""
        for fate in ("stored", "updated", "duplicates", "dead_letters"):
            self.messages.labels(topic, fate).inc(getattr(counts, fate))

    def show_lags(self, lags: Mapping[tuple[str, int], int]) -> None:
        """Set the lag of (topic, partition)."""
        for (topic, partition), lag in lags.items():
            self.lag.labels(topic, str(partition)).set(lag)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=buckets)
