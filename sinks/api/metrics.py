"""Metrics of the API beside those of its requests."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sinks.api.context import Api


class ApiMetrics(Collector):
    """Asked at each scrape."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead of a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        rate = self._api.live.rate()
        yield GaugeMetricFamily(
            "sigmawatch_api_live_clients_count", "Clients of live events.", value=self._api.live.clients
        )
        yield GaugeMetricFamily(
            "sigmawatch_api_live_readings_per_second",
            "Readings that Kafka gave lately.",
            value=rate.readings,
        )
