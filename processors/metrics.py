"""Every metric of the processor. Names end in their unit, counters in `_total`; no device id is ever a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The processor's metrics on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.readings = Counter(
            "sigmawatch_processor_readings",
            "Records taken from the readings topic, repeated ones after a takeover included.",
            registry=self.registry,
        )
        self.anomalies = Counter(
            "sigmawatch_processor_anomalies",
            "Anomaly messages sent, by state; those sent again after a takeover count again.",
            ["state"],
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "sigmawatch_processor_dead_letters",
            "Records sent to the dead-letter topic, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "sigmawatch_processor_batch_seconds",
            "Time to decode and apply one batch.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            registry=self.registry,
        )
        self.checkpoint_seconds = Histogram(
            "sigmawatch_processor_checkpoint_seconds",
            "Time of one checkpoint, from the first flush to the commit.",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
            registry=self.registry,
        )
        self.checkpoints = Counter(
            "sigmawatch_processor_checkpoints",
            "Checkpoints, by outcome: committed or refused by the broker.",
            ["outcome"],
            registry=self.registry,
        )
        self.changelog_bytes = Counter(
            "sigmawatch_processor_changelog_bytes",
            "Bytes of series states written to the changelog.",
            registry=self.registry,
        )
        self.series = Gauge(
            "sigmawatch_processor_series_count",
            "Series on this worker's partitions, by state: warming, watched, open.",
            ["state"],
            registry=self.registry,
        )
        self.devices = Gauge(
            "sigmawatch_processor_devices_count",
            "Devices that this worker knows from the devices topic.",
            registry=self.registry,
        )
        self.rules_changes = Counter(
            "sigmawatch_processor_rules_changes",
            "Changes of the rules file while it was watched, by outcome: in_force or refused.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("in_force", "refused"):
            self.rules_changes.labels(outcome)
        self.partitions = Gauge(
            "sigmawatch_processor_partitions_count",
            "Partitions of the readings topic that this worker owns.",
            registry=self.registry,
        )
        self.lag = Gauge(
            "sigmawatch_processor_lag_readings",
            "Records behind the end of the log, by partition, as the last fetch told.",
            ["partition"],
            registry=self.registry,
        )
