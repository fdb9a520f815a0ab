"""Server-sent events: readings and anomalies as they come, in ours and in moving-average-detector's shape."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from schemas.readings import Reading
from schemas.web.app import ApiError
from schemas.web.errors import error_responses
from sinks.api.answers import compact
from sinks.api.context import Api
from sinks.api.live import AnomalyEvent, Mark, Subscription
from sinks.api.parameters import Devices, Kinds, Metrics, Places, Types
from sinks.api.views import anomaly_event, finite, reading_event

_TURN_SECONDS = 0.5  # how long a quiet stream waits before it looks whether the server ends
_HEARTBEAT_SECONDS = 15
_SEND_SECONDS = 30.0  # a client that takes nothing for so long is gone
_MOST_CLIENTS = 500
_TICK_SECONDS = 0.2  # events of so long are sent together, so that a sample is spread evenly
_RETRY_MS = 2000
_TOLD = 10_000  # episodes of which a stream knows that it has told them

_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: reading\ndata: {"device_id":"oven-0042","metric":"temperature","value":205.1}\n\n',
            }
        },
        "description": "Events without end: see /docs of this route.",
    }
}
_ANSWERS = _EVENTS | error_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_End = Annotated[int | None, Query(ge=0, le=1_000_000, description="End after so many events; for scripts.")]
_Fastest = Annotated[
    int, Query(ge=1, le=5000, description="Readings a second at most; of more an even sample is sent.")
]


@dataclass(slots=True)
class Sampler:
    """Lets so many events a second through, evenly picked; counts what it leaves out.

    Args:
        fastest: events a second.
        now: monotonic seconds.
    """

    fastest: int
    now: Callable[[], float] = time.monotonic
    left_out: int = 0
    _allowance: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._allowance, self._at = 1.0, self.now()

    def pick(self, events: Sequence[Reading]) -> list[Reading]:
        """Those to send."""
        now = self.now()
        self._allowance = min(float(max(self.fastest, 1)), self._allowance + (now - self._at) * self.fastest)
        self._at = now
        count = min(len(events), int(self._allowance))
        self._allowance -= count
        self.left_out += len(events) - count
        return [events[(n + 1) * len(events) // count - 1] for n in range(count)]


@dataclass(slots=True)
class Running:
    """Mean and standard deviation of a series' readings before, the newest hundred or so counting most."""

    count: int = 0
    mean: float = 0.0
    var: float = 0.0

    def before(self, value: float) -> tuple[float | None, float | None]:
        """(mean, std) before this value, which then counts in; None where there are too few."""
        known = (self.mean, math.sqrt(self.var)) if self.count > 1 else (None, None)
        self.count = min(self.count + 1, 100)
        step = (value - self.mean) / self.count
        self.var = (1 - 1 / self.count) * (self.var + (value - self.mean) * step)
        self.mean += step
        return known


def stream_routes(api: Api) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["live"])
    _add_readings(routes, api)
    _add_anomalies(routes, api)
    _add_old(routes, api)
    return routes


def _add_readings(routes: APIRouter, api: Api) -> None:
    @routes.get("/api/v1/stream/readings", response_class=Response, responses=_ANSWERS)
    async def readings(
        device: Devices = (),  # type: ignore[assignment]  # FastAPI makes lists
        metric: Metrics = (),  # type: ignore[assignment]
        max_per_second: _Fastest = 50,
        limit: _End = None,
    ) -> Response:
        """Readings as they come from Kafka, each an event `reading`.

        An event `sampled` says how many were left out to keep `max_per_second`, `missed` how many were lost because
        this client was too slow.
        """
        _require_room(api)
        wants = _readings_wanted(device, metric)
        sampler = Sampler(max_per_second)

        def events(found: Sequence[Reading]) -> Iterator[ServerSentEvent]:
            for reading in sampler.pick(found):
                yield ServerSentEvent(compact(reading_event(reading)), event="reading")

        return _stream(_readings(api, wants, events, sampler), limit)


def _add_anomalies(routes: APIRouter, api: Api) -> None:
    @routes.get("/api/v1/stream/anomalies", response_class=Response, responses=_ANSWERS)
    async def anomalies(
        device: Devices = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        kind: Kinds = (),  # type: ignore[assignment]
        type: Types = (),  # type: ignore[assignment]  # noqa: A002 - the parameter's name
        place: Places = (),  # type: ignore[assignment]
        limit: _End = None,
        last_event_id: Annotated[str | None, Header(max_length=20_000)] = None,
    ) -> Response:
        """Anomalies as they are opened, go on and are cleared, each an event `anomaly`.

        With the header Last-Event-ID, as browsers send it when they come back, it begins behind that event: nothing is
        lost, also across a restart of this server. An event `missed` says how many were, where that cannot be.
        """
        _require_room(api)
        after = Mark.parse(last_event_id) if last_event_id else None
        wants = _anomalies_wanted(api, device, metric, kind, type, place)

        def events(found: Sequence[AnomalyEvent]) -> Iterator[ServerSentEvent]:
            for event in found:
                shown = anomaly_event(event.anomaly, api.fleet.device(event.anomaly.device_id))
                yield ServerSentEvent(compact(shown), event="anomaly", id=str(event.mark))

        return _stream(_anomalies(api, wants, events, after), limit)


def _add_old(routes: APIRouter, api: Api) -> None:
    @routes.get("/stream_data", response_class=Response, responses=_ANSWERS)
    async def stream_data(
        device: Devices = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        max_per_second: _Fastest = 50,
        limit: _End = None,
    ) -> Response:
        """Readings as moving-average-detector streams them; mean and std_dev are of those before in this stream."""
        _require_room(api)
        running: dict[tuple[str, str], Running] = {}
        sampler = Sampler(max_per_second)

        def events(found: Sequence[Reading]) -> Iterator[ServerSentEvent]:
            told = {
                id(one): running.setdefault((one.device_id, one.metric), Running()).before(one.value)
                for one in found
            }
            for reading in sampler.pick(found):
                mean, std = told[id(reading)]
                yield ServerSentEvent(
                    compact(
                        {
                            "value": finite(reading.value),
                            "timestamp": reading.time / 1e6,
                            "mean": finite(mean),
                            "std_dev": finite(std),
                            "device_id": reading.device_id,
                            "metric": reading.metric,
                        }
                    )
                )

        return _stream(_readings(api, _readings_wanted(device, metric), events, sampler), limit)

    @routes.get("/stream_anomalies", response_class=Response, responses=_ANSWERS)
    async def stream_anomalies(
        device: Devices = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        limit: _End = None,
        last_event_id: Annotated[str | None, Header(max_length=20_000)] = None,
    ) -> Response:
        """Anomalies as moving-average-detector streams them, once each, when they are opened."""
        _require_room(api)
        after = Mark.parse(last_event_id) if last_event_id else None
        narrow = _anomalies_wanted(api, device, metric, (), (), ())

        def events(found: Sequence[AnomalyEvent]) -> Iterator[ServerSentEvent]:
            for event in found:
                one = event.anomaly
                shown = {
                    "value": finite(one.value),
                    "timestamp": one.opened_at / 1e6,
                    "mean": finite(one.mean),
                    "std_dev": finite(one.std),
                }
                ours = anomaly_event(one, None)
                kept = {name: ours[name] for name in ours if name not in shown and name != "std"}
                yield ServerSentEvent(compact(shown | kept), id=str(event.mark))

        told: OrderedDict[object, None] = OrderedDict()

        def wants(event: AnomalyEvent) -> bool:
            one = event.anomaly
            # An episode that goes on is told as OPENED again.
            if one.state != "OPENED" or one.anomaly_id in told or not narrow(event):
                return False
            told[one.anomaly_id] = None
            if len(told) > _TOLD:
                told.popitem(last=False)
            return True

        return _stream(_anomalies(api, wants, events, after), limit)


async def _readings(
    api: Api,
    wants: Callable[[Reading], bool],
    events: Callable[[Sequence[Reading]], Iterator[ServerSentEvent]],
    sampler: Sampler,
) -> AsyncIterator[ServerSentEvent]:
    subscription = api.live.subscribe_readings(wants, asyncio.get_running_loop())
    told = time.monotonic()
    with _given_back(api, subscription):
        yield ServerSentEvent(comment="readings as they come", retry=_RETRY_MS)
        while not api.stop.is_set():
            found, missed = await subscription.take(_TURN_SECONDS)
            if missed:
                yield _missed(missed)
            for event in events(found):
                yield event
            if sampler.left_out and time.monotonic() - told >= 1.0:
                yield ServerSentEvent(compact({"left_out": sampler.left_out}), event="sampled")
                sampler.left_out, told = 0, time.monotonic()
            if found:
                await asyncio.sleep(_TICK_SECONDS)


async def _anomalies(
    api: Api,
    wants: Callable[[AnomalyEvent], bool],
    events: Callable[[Sequence[AnomalyEvent]], Iterator[ServerSentEvent]],
    after: Mark | None,
) -> AsyncIterator[ServerSentEvent]:
    subscription, again, lost = api.live.subscribe_anomalies(wants, asyncio.get_running_loop(), after)
    with _given_back(api, subscription):
        mark, told_at = _text(subscription.beginning), time.monotonic()
        # An id without data is kept by a browser as well: who is cut off before a first event comes back with it.
        yield ServerSentEvent(comment="anomalies as they come", retry=_RETRY_MS, id=mark)
        if lost:
            yield _missed(lost)
        for event in events(again):
            yield event
        while not api.stop.is_set():
            found, missed = await subscription.take(_TURN_SECONDS)
            if missed:
                yield _missed(missed)
            for event in events(found):
                yield event
            passed = _text(subscription.mark())
            if found or passed in (None, mark):
                continue
            # What is not for this client moves its mark too, or much would seem missed when it comes back.
            if mark is None or time.monotonic() - told_at >= _HEARTBEAT_SECONDS:
                mark, told_at = passed, time.monotonic()
                yield ServerSentEvent(id=mark)


def _text(mark: Mark | None) -> str | None:
    """As an event's id; None where no partition is known yet."""
    return str(mark) or None if mark is not None else None


@contextmanager
def _given_back(api: Api, subscription: Subscription) -> Iterator[None]:
    try:
        yield
    finally:
        api.live.unsubscribe(subscription)


def _missed(count: int) -> ServerSentEvent:
    return ServerSentEvent(compact({"missed": count}), event="missed")


def _stream(events: AsyncIterator[ServerSentEvent], limit: int | None) -> Response:
    return EventSourceResponse(
        events if limit is None else _first(events, limit),
        ping=_HEARTBEAT_SECONDS,
        send_timeout=_SEND_SECONDS,
        headers={"Cache-Control": "no-store"},
    )


async def _first(events: AsyncIterator[ServerSentEvent], limit: int) -> AsyncIterator[ServerSentEvent]:
    """The first events, comments not counted."""
    left = limit
    try:
        async for event in events:
            if left <= 0 and event.data is not None:
                return
            yield event
            left -= event.data is not None
            if left <= 0:
                return
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # a generator


def _require_room(api: Api) -> None:
    if api.live.clients >= _MOST_CLIENTS:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"more than {_MOST_CLIENTS} clients are served live",
            remedy="Try later.",
        )


def _readings_wanted(devices: Sequence[str], metrics: Sequence[str]) -> Callable[[Reading], bool]:
    of_devices, of_metrics = frozenset(devices), frozenset(metrics)

    def wants(reading: Reading) -> bool:
        return (not of_devices or reading.device_id in of_devices) and (
            not of_metrics or reading.metric in of_metrics
        )

    return wants


def _anomalies_wanted(
    api: Api,
    devices: Sequence[str],
    metrics: Sequence[str],
    kinds: Sequence[str],
    types: Sequence[str],
    places: Sequence[str],
) -> Callable[[AnomalyEvent], bool]:
    of_devices, of_metrics, of_kinds = frozenset(devices), frozenset(metrics), frozenset(kinds)
    of_types, of_places = frozenset(types), frozenset(places)

    def wants(event: AnomalyEvent) -> bool:
        one = event.anomaly
        if (
            (of_devices and one.device_id not in of_devices)
            or (of_metrics and one.metric not in of_metrics)
            or (of_kinds and one.kind not in of_kinds)
        ):
            return False
        if not of_types and not of_places:
            return True
        found = api.fleet.device(one.device_id)
        row = found.description if found else None
        return (
            row is not None
            and (not of_types or row.type in of_types)
            and (not of_places or row.place in of_places)
        )

    return wants
