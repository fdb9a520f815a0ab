"""The simulator's metrics for Prometheus, read from the simulation when they are asked for.

Those of this process alone: Prometheus asks every worker. No device's id is a label.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.simulation.control import SimulationStatus


class SimulationMetrics(Collector):
    """A collector over the status of a simulation."""

    def __init__(self, status: Callable[[], SimulationStatus]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask the simulation."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        now = self._status()
        counters = (
            ("readings_sent", "Readings sent.", now.sent),
            ("readings_acknowledged", "Readings that are safe where they go.", now.acknowledged),
            ("readings_with_fault", "Readings sent while a fault was active on their device.", now.faults),
        )
        for name, text, count in counters:
            yield CounterMetricFamily(f"sigmawatch_simulator_{name}", text, value=count)
        faults = CounterMetricFamily(
            "sigmawatch_simulator_faults", "Episodes that began, by fault.", labels=["fault"]
        )
        for fault, episodes in sorted(now.faults_by_kind.items()):
            faults.add_metric([fault], episodes)
        yield faults
        devices = GaugeMetricFamily(
            "sigmawatch_simulator_devices_count",
            "Devices of this worker: all, online, enabled, faulty.",
            labels=["state"],
        )
        states = {"all": now.devices, "online": now.online, "enabled": now.enabled, "faulty": now.faulty}
        for state, number in states.items():
            devices.add_metric([state], number)
        yield devices
        gauges = (
            ("running", "1 while virtual time moves, 0 while it is paused.", float(now.running)),
            ("virtual_time_seconds", "Virtual time, since 1970.", now.time_us / 1e6),
            ("behind_seconds", "How far virtual time is behind what it should be.", now.behind_s),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"sigmawatch_simulator_{name}", text, value=value)
