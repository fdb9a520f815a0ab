"""Metrics of the HTTP ingest, beside those of its requests (`schemas.web.metrics`)."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class IngestMetrics:
    """In a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.readings = Counter(
            "sigmawatch_ingest_readings_total",
            "Readings handed to Kafka, by what it said: acknowledged, or refused (some of those may be there).",
            ("outcome",),
            registry=self.registry,
        )
        self.round_seconds = Histogram(
            "sigmawatch_ingest_round_seconds",
            "Time from sending the readings of one or more requests to Kafka's last acknowledgement.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=self.registry,
        )

    def round(self, readings: int, seconds: float, *, refused: bool) -> None:
        """Count one round."""
        self.readings.labels("refused" if refused else "acknowledged").inc(readings)
        self.round_seconds.observe(seconds)
