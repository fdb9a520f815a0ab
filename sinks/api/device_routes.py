"""/api/v1/devices and /api/v1/series: the fleet, a device, a series for a diagram."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.routing import Match
from starlette.types import Scope

from schemas.web.strict_json import StrictRoute
from sinks.api.answers import FOUND, READ, answer, not_found, unavailable
from sinks.api.context import Api
from sinks.api.fleet import STATES, FleetDevice
from sinks.api.parameters import Begin, Cursor, DeviceId, Devices, End, Metric, Places, Search, Types
from sinks.api.views import (
    EXAMPLE_ANOMALY,
    EXAMPLE_DEVICE,
    EXAMPLE_SERIES,
    DeviceDetailOut,
    DevicesOut,
    SeriesOut,
    State,
    detail_out,
    device_out,
    with_example,
)
from sinks.queries.anomalies import anomalies_touching, anomaly_page
from sinks.queries.band import expected_band
from sinks.queries.cursors import make_cursor, plain_text, read_cursor
from sinks.queries.selection import Selection, check_text
from sinks.queries.series import MOST_PIXELS, Buckets, newest, series_buckets

_HOUR = timedelta(hours=1)
_SHOWN_ANOMALIES = 200

_DEVICES_EXAMPLE = {
    "devices": [EXAMPLE_DEVICE],
    "next": None,
    "total": 1,
    "states": {"critical": 0, "warning": 1, "info": 0, "silent": 0, "unseen": 0, "quiet": 0},
    "types": {"oven": 1},
    "places": {"Denver": 1},
}
_DETAIL_EXAMPLE = {
    **EXAMPLE_DEVICE,
    "latitude": 39.7,
    "longitude": -105.0,
    "timezone": "America/Denver",
    "manufacturer": "HeatWorks",
    "model": "H-200",
    "firmware": "2.1.0",
    "serial_number": "HW-0042",
    "attributes": {},
    "changed_at": "2026-03-01T00:00:00Z",
    "anomalies": [EXAMPLE_ANOMALY],
}


class IdRoute(StrictRoute):
    """A route whose id may have slashes in it, written as %2F: a path with more of them is another route's.

    Paths are matched as they are decoded, so that `:path` alone would take `/devices/a/readings` for a device.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a route's own."""
        match, found = super().matches(scope)
        raw: bytes = scope["raw_path"]
        return (match, found) if raw.count(b"/") == self.path_format.count("/") else (Match.NONE, {})


def device_routes(api: Api) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=IdRoute, tags=["devices"])
    _add_devices(routes, api)
    _add_device(routes, api)
    _add_series(routes, api)
    return routes


def _add_devices(routes: APIRouter, api: Api) -> None:
    @routes.get(
        "/api/v1/devices",
        response_class=Response,
        responses=READ | with_example(DevicesOut, _DEVICES_EXAMPLE),
    )
    def devices(
        request: Request,
        device: Devices = (),  # type: ignore[assignment]  # FastAPI makes lists
        type: Types = (),  # type: ignore[assignment]  # noqa: A002 - the parameter's name
        place: Places = (),  # type: ignore[assignment]
        state: Annotated[list[State], Query(description="States, as in the answer.")] = (),  # type: ignore[assignment]
        search: Search = "",
        sort: Annotated[Literal["id", "state"], Query(description="By id, or the worst first.")] = "id",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The devices as they are now: where, when last seen, what is open; some seconds old at most."""
        question = Selection(devices=tuple(device), types=tuple(type), places=tuple(place), search=search)
        _require_fleet(api)
        everything = api.fleet.devices(question)
        wanted = frozenset(state)
        found = [one for one in everything if not wanted or one.state in wanted]
        page, following = _page(found, sort, limit, cursor, question)
        states = Counter(one.state for one in everything)
        return answer(
            request,
            {
                "devices": [device_out(one) for one in page],
                "next": following,
                "total": len(found),
                "states": {name: states[name] for name in STATES},
                **_counts(everything),
            },
        )


def _add_device(routes: APIRouter, api: Api) -> None:
    @routes.get(
        "/api/v1/devices/{device_id:path}",
        response_class=Response,
        responses=FOUND | with_example(DeviceDetailOut, _DETAIL_EXAMPLE),
    )
    def device(request: Request, device_id: DeviceId) -> Response:
        """A device, with its newest readings and anomalies."""
        check_text("the device's id", device_id)
        _require_fleet(api)
        found = api.fleet.device(device_id)
        if found is None:
            raise not_found(f"device {device_id!r}", "/api/v1/devices lists them.")
        with api.readers.connection() as connection:
            rows = anomaly_page(connection, Selection(devices=(device_id,)), 20).rows
        return answer(request, detail_out(found, list(rows)))


def _add_series(routes: APIRouter, api: Api) -> None:
    @routes.get(
        "/api/v1/series/{device_id:path}/{metric}/readings",
        response_class=Response,
        responses=FOUND | with_example(SeriesOut, EXAMPLE_SERIES),
    )
    def readings(
        request: Request,
        device_id: DeviceId,
        metric: Metric,
        begin: Begin = None,
        end: End = None,
        pixels: Annotated[int, Query(ge=1, le=MOST_PIXELS, description="Width of the diagram.")] = 800,
    ) -> Response:
        """A series for a diagram: no more buckets than pixels, the expected band, and the anomalies.

        Without `to` it ends with the newest reading, without `from` it is an hour long.
        """
        check_text("the device's id", device_id)
        check_text("the metric", metric)
        abilities = api.abilities()
        with api.readers.connection() as connection:
            last = newest(connection, device_id, metric, abilities)
            if last is None:
                raise not_found(f"series of {metric!r} of device {device_id!r}")
            until = end or _behind(last, begin)
            since = begin or until - _HOUR
            buckets = series_buckets(connection, device_id, metric, since, until, pixels, abilities)
            anomalies = anomalies_touching(connection, device_id, metric, since, until, _SHOWN_ANOMALIES)
        device = api.fleet.device(device_id)
        unit = device.description.units.get(metric) if device and device.description else None
        return answer(
            request,
            {
                "device_id": device_id,
                "metric": metric,
                "unit": unit,
                "from": since,
                "to": until,
                **series_columns(buckets, api.k),
                "anomalies": anomalies,
            },
        )


def series_columns(buckets: Buckets, k: float) -> dict[str, Any]:
    """Buckets and their band as columns of JSON."""
    band = expected_band(buckets.mean, buckets.low, buckets.high, k)
    return {
        "bucket_seconds": buckets.width.total_seconds(),
        "source": buckets.source,
        "time": buckets.time,
        "low": buckets.low.tolist(),
        "high": buckets.high.tolist(),
        "mean": buckets.mean.tolist(),
        "count": buckets.count.tolist(),
        "labelled": buckets.labelled.tolist(),
        "expected": band.expected.tolist(),
        "lower": band.lower.tolist(),
        "upper": band.upper.tolist(),
    }


def _behind(last: datetime, begin: datetime | None) -> datetime:
    """An end that the newest reading is before; after `begin`, also where nothing is."""
    end = last + timedelta(microseconds=1)
    return end if begin is None or begin < end else max(datetime.now(UTC), begin + _HOUR)


def _require_fleet(api: Api) -> None:
    if not api.fleet.ready.is_set():
        raise unavailable(f"the devices are not known yet: {api.fleet.trouble}", "Try again in a moment.")


def _page(
    found: Sequence[FleetDevice], sort: str, limit: int, cursor: str | None, question: Selection
) -> tuple[list[FleetDevice], str | None]:
    """(the page behind a cursor, the cursor of the next one)."""

    def key(one: FleetDevice) -> tuple[str, str]:
        # As text, so that a cursor has it in one form: "0" is the worst state.
        return (str(STATES.index(one.state)) if sort == "state" else "", one.device_id)

    pages = f"fleet by {sort}"
    ordered = sorted(found, key=key) if sort == "state" else found
    if cursor is not None:
        after = read_cursor(cursor, pages, question, (plain_text, plain_text))
        ordered = [one for one in ordered if key(one) > after]
    page = list(ordered[:limit])
    return page, make_cursor(pages, question, key(page[-1])) if len(ordered) > limit else None


def _counts(found: Sequence[FleetDevice]) -> dict[str, dict[str, int]]:
    described = [one.description for one in found if one.description is not None]
    return {
        "types": dict(sorted(Counter(row.type for row in described).items())),
        "places": dict(sorted(Counter(row.place for row in described if row.place).items())),
    }
