"""Metrics of `sink notify`, beside those of every sink. Labels are routes and targets, which the user has named."""

from sinks.metrics import Kind, Metric, SinkMetrics

NOTIFICATIONS = Metric(
    "sigmawatch_notify_notifications_total",
    Kind.COUNTER,
    "Notifications that were decided.",
)
DELIVERIES = Metric(
    "sigmawatch_notify_deliveries_total",
    Kind.COUNTER,
    "Attempts to hand a notification to a target, by outcome: sent, retried, failed (given up), unknown.",
    ("target", "outcome"),
)
SKIPPED = Metric(
    "sigmawatch_notify_skipped_total",
    Kind.COUNTER,
    "Anomalies that nobody is told of singly, by reason: too_old, no_route, too_short, in_storm.",
    ("reason",),
)
UNSETTLED = Metric(
    "sigmawatch_notify_unsettled_notifications",
    Kind.GAUGE,
    "Notifications in the outbox that are not settled.",
)
NEXT_DUE = Metric(
    "sigmawatch_notify_next_due_seconds",
    Kind.GAUGE,
    "Seconds until something is to be decided without a new anomaly; below nought: it is late.",
)

CATALOGUE = (NOTIFICATIONS, DELIVERIES, SKIPPED, UNSETTLED, NEXT_DUE)


class NotifyMetrics(SinkMetrics):
    """Living metrics in a registry of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.notifications = self._counter(NOTIFICATIONS)
        self.deliveries = self._counter(DELIVERIES)
        self.skipped = self._counter(SKIPPED)
        self.unsettled = self._gauge(UNSETTLED)
        self.next_due = self._gauge(NEXT_DUE)
