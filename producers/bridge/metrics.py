"""Metrics of the bridge; no label has a device or a topic in it."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FATES = ("readings", "dead_letters", "ignored", "unmatched", "dropped", "known")


class BridgeMetrics:
    """In a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = Counter(
            "sigmawatch_bridge_messages_total",
            "MQTT messages, by what became of them: readings and dead_letters (both acknowledged by Kafka), ignored"
            " (retained), unmatched (of no rule), dropped (QoS 0 during an outage), known (delivered again while on"
            " their way).",
            ("fate",),
            registry=self.registry,
        )
        self.redelivered = Counter(
            "sigmawatch_bridge_redelivered_total",
            "Messages that the MQTT broker delivered again, as it had seen no acknowledgement.",
            registry=self.registry,
        )
        self.readings = Counter(
            "sigmawatch_bridge_readings_total",
            "Readings that Kafka has acknowledged.",
            registry=self.registry,
        )
        self.connections = Counter(
            "sigmawatch_bridge_connections_total",
            "Connections to the MQTT broker, by how the session was: resumed or new.",
            ("session",),
            registry=self.registry,
        )
        self.connected = Gauge(
            "sigmawatch_bridge_connected",
            "1 while there is a connection to the MQTT broker.",
            registry=self.registry,
        )
        self.pending = Gauge(
            "sigmawatch_bridge_pending_messages",
            "Messages received and not yet acknowledged by Kafka.",
            registry=self.registry,
        )
        self.round_seconds = Histogram(
            "sigmawatch_bridge_round_seconds",
            "Time from sending the readings of some messages to Kafka's last acknowledgement.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=self.registry,
        )
        for fate in FATES:
            self.messages.labels(fate)

    def count(self, fates: Iterable[str]) -> None:
        """Count messages."""
        for fate in fates:
            self.messages.labels(fate).inc()
