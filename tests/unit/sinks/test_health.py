import urllib.error
import urllib.request

import pytest

from schemas.health import HealthServer
from sinks.logs import Counts
from sinks.metrics import CATALOGUE, Kind, SinkMetrics


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_probes_and_metrics() -> None:
    metrics, state = SinkMetrics(), {"alive": True, "ready": False}
    metrics.count("readings", Counts(stored=3, duplicates=1))
    with HealthServer(
        "127.0.0.1", 0, metrics.registry, lambda: state["alive"], lambda: state["ready"]
    ) as server:
        assert _get(server.port, "/livez") == (200, "alive\n")
        assert _get(server.port, "/readyz") == (503, "not ready\n")
        state["ready"] = True
        assert _get(server.port, "/readyz?verbose") == (200, "ready\n")
        status, text = _get(server.port, "/metrics")
        assert status == 200
        assert 'sigmawatch_sink_messages_total{fate="stored",topic="readings"} 3.0' in text
        assert _get(server.port, "/other")[0] == 404


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_metric_names_say_kind_and_unit(metric) -> None:
    assert metric.name.startswith("sigmawatch_sink_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.rpartition("_")[2] in {"total", "seconds", "messages", "partitions"}
    assert metric.help.endswith(".")
    assert not {"device_id", "device", "metric"} & set(metric.labels)
