"""The processor's pages: a device's series, what is owned here, metrics, health. Bound to loopback unless told otherwise."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import faust
from aiohttp import ClientError
from faust.exceptions import SameNode
from faust.web.exceptions import ServiceUnavailable
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from processors.engine.partition import SeriesView
from processors.handler import ProcessorHandler
from processors.metrics import Metrics


def add_pages(app: faust.App, handler: ProcessorHandler, metrics: Metrics, table: str) -> None:
    """Register the pages on the app's web server."""
    _add_probes(app, handler, metrics)
    _add_views(app, handler, table)


def _is_ready(app: faust.App) -> bool:
    # `actives_ready` is false before the first assignment too, when Faust does not call itself rebalancing.
    return bool(app.tables.actives_ready) and not app.rebalancing and not app.in_recovery


def _moving(view: Any, **more: Any) -> Any:
    return view.json({"status": "rebalancing", **more}, status=503)


def _add_probes(app: faust.App, handler: ProcessorHandler, metrics: Metrics) -> None:
    @app.page("/livez")
    async def livez(view: Any, request: Any) -> Any:
        """The process answers."""
        return view.json({"status": "ok"})

    @app.page("/readyz")
    async def readyz(view: Any, request: Any) -> Any:
        """Partitions are restored and readings flow; 503 while they do not."""
        if not _is_ready(app):
            return _moving(view, partitions=sorted(handler.owned))
        return view.json({"status": "ok", "partitions": sorted(handler.owned)})

    @app.page("/metrics")
    async def prometheus(view: Any, request: Any) -> Any:
        """Prometheus metrics."""
        _refresh(handler, metrics)
        return view.bytes(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST.split(";")[0])


def _add_views(app: faust.App, handler: ProcessorHandler, table: str) -> None:
    @app.page("/partitions")
    async def partitions(view: Any, request: Any) -> Any:
        """Cumulative counts of each partition owned here, exact across crashes."""
        return view.json(
            {
                str(number): {
                    "next_offset": partition.next_offset,
                    "committed_offset": partition.committed_offset,
                    "dead_letters": partition.dead_letters,
                    **partition.engine.counts(),
                }
                for number in sorted(handler.owned)
                if (partition := handler.partitions.get(number)) is not None
            }
        )

    @app.page("/devices/{device_id:[^/]+}")  # without the pattern a brace in an id would not be matched
    async def device(view: Any, request: Any, device_id: str) -> Any:
        """A device's series: state, mean, std, last value, open anomaly; asks the worker that owns them.

        503 while partitions move: who has the device is known again in some seconds.
        """
        if not _is_ready(app):
            return _moving(view)
        try:
            return await app.router.route_req(table, device_id.encode(), view.web, request)
        except SameNode:
            pass
        except (ClientError, TimeoutError, ServiceUnavailable):  # it died a moment ago
            return _moving(view)
        owned = [handler.partitions[number] for number in handler.owned]
        found = [series for partition in owned for series in partition.views(device_id)]
        if not found:
            return view.json({"error": f"no series of device {device_id!r} has been seen"}, status=404)
        return view.json({"device_id": device_id, "series": [_as_json(series) for series in found]})


def _refresh(handler: ProcessorHandler, metrics: Metrics) -> None:
    totals = {"warming": 0, "watched": 0, "open": 0}
    for number in handler.owned:
        counts = handler.partitions[number].engine.counts()
        for state in totals:
            totals[state] += counts[state]
    for state, count in totals.items():
        metrics.series.labels(state).set(count)
    metrics.lag.clear()
    for number, lag in handler.lags().items():
        metrics.lag.labels(str(number)).set(lag)


def _as_json(series: SeriesView) -> dict[str, Any]:
    fields = asdict(series)
    fields["last_time"] = _iso(series.last_time)
    fields["open_anomalies"] = [
        {
            "anomaly_id": str(anomaly.anomaly_id),
            "kind": anomaly.kind,
            "channel": anomaly.channel,
            "severity": anomaly.severity,
            "reason": anomaly.reason,
            "opened_at": _iso(anomaly.opened_at),
            "value": anomaly.value,
            "score": anomaly.score,
            "expected": anomaly.expected,
            "mean": anomaly.mean,
            "std": anomaly.std,
            "lower": anomaly.lower,
            "upper": anomaly.upper,
            "readings": anomaly.readings,
        }
        for anomaly in series.open_anomalies
    ]
    return fields


def _iso(time_us: int | None) -> str | None:
    return None if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC).isoformat()
