"""The dashboard's paths: the page, its files, its data."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, FastAPI, Query, Request, Response

from schemas.errors import InputError
from schemas.web.errors import ApiError
from schemas.web.strict_json import StrictRoute
from sinks.dashboard import faults
from sinks.dashboard.data import ChartQuestion, DashboardData
from sinks.dashboard.files import PageFile, page_files
from sinks.dashboard.sharing import Answer, SharedAnswers
from sinks.dashboard.sources import DashboardSources
from sinks.dashboard.watching import Injected
from sinks.queries.connection import DatabaseAwayError
from sinks.queries.selection import Selection

STATIC = "/dashboard/static"
DATA = "/dashboard/data"
OPEN_PATHS = ("/", STATIC)
"""What needs no token: files that are the same for everybody. The page asks for the token itself."""

_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    # BokehJS puts its styles into the page as it draws.
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

# How old an answer may be, seconds: the shorter, the livelier; the page asks as often.
_LIVE = 1.0
_LISTS = 2.0
_SELDOM = 10.0
_QUALITY = 30.0

_PIXELS_STEP = 100  # tabs of nearly the same width ask the same
_MOST_PIXELS = 2_000
_LONGEST_SECONDS = 10 * 366 * 86_400
_MOST_LATEST = 100
_MOST_ROWS = 200

DeviceId = Annotated[str, Query(min_length=1, max_length=1000)]
TimeMs = Annotated[int, Query(ge=0, le=253_402_300_799_000)]


def mount_dashboard(app: FastAPI, sources: DashboardSources) -> None:
    """Put the dashboard on an app: / and what is below /dashboard. Reads and connects nothing yet.

    Args:
        app: from `schemas.web.app.new_app`; with a token, made to let `OPEN_PATHS` pass.
        sources: where the dashboard gets what it shows.
    """
    shared, data = SharedAnswers(monotonic), DashboardData(sources)
    app.include_router(_page_routes())
    app.include_router(_overview_routes(shared, data))
    app.include_router(_device_routes(shared, data))
    app.include_router(_fault_routes(shared, sources))


def _page_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def page(request: Request) -> Response:
        return _file_answer(request, page_files()["index.html"], _PAGE_HEADERS)

    @routes.get(f"{STATIC}/{{path:path}}")
    def static(request: Request, path: str) -> Response:
        file = page_files().get(path)
        if file is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "the dashboard has no such file")
        return _file_answer(request, file, {})

    return routes


def _overview_routes(shared: SharedAnswers, data: DashboardData) -> APIRouter:
    routes = APIRouter(prefix=DATA, include_in_schema=False)

    @routes.get("/fleet")
    async def fleet(request: Request) -> Response:
        return await _shared_answer(request, shared, ("fleet",), _SELDOM, data.fleet)

    @routes.get("/state")
    async def state(request: Request) -> Response:
        return await _shared_answer(request, shared, ("state",), _LISTS, data.state)

    @routes.get("/anomalies")
    async def anomalies(
        request: Request,
        state: Annotated[list[str] | None, Query()] = None,
        severity: Annotated[list[str] | None, Query()] = None,
        device: Annotated[list[str] | None, Query()] = None,
        search: str = "",
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 50,
        cursor: str | None = None,
    ) -> Response:
        selection = Selection(
            states=tuple(state or ()),
            severities=tuple(severity or ()),
            devices=tuple(device or ()),
            search=search,
        )
        return await _shared_answer(
            request,
            shared,
            ("anomalies", selection, limit, cursor),
            _LIVE,
            lambda: data.anomalies(selection, limit, cursor),
        )

    @routes.get("/quality")
    async def quality(request: Request) -> Response:
        return await _shared_answer(request, shared, ("quality",), _QUALITY, data.quality)

    @routes.get("/pipeline")
    async def pipeline(request: Request) -> Response:
        return await _shared_answer(request, shared, ("pipeline",), _LIVE, data.pipeline)

    return routes


def _device_routes(shared: SharedAnswers, data: DashboardData) -> APIRouter:
    routes = APIRouter(prefix=DATA, include_in_schema=False)

    @routes.get("/latest")
    async def latest(request: Request, device: Annotated[list[str], Query()]) -> Response:
        if len(device) > _MOST_LATEST:
            raise InputError(f"more than {_MOST_LATEST} devices", "Ask for fewer at once.")
        return await _shared_answer(request, shared, ("latest", *device), _LISTS, lambda: data.latest(device))

    @routes.get("/device")
    async def device(request: Request, id: DeviceId) -> Response:  # noqa: A002 - the parameter's name
        return await _shared_answer(request, shared, ("device", id), _LISTS, lambda: data.device(id))

    @routes.get("/charts")
    async def charts(
        request: Request,
        device: DeviceId,
        seconds: Annotated[float | None, Query(gt=0, le=_LONGEST_SECONDS)] = None,
        end: TimeMs | None = None,
        pixels: Annotated[int, Query(ge=1, le=10_000)] = 800,
    ) -> Response:
        width = min(_MOST_PIXELS, -(-pixels // _PIXELS_STEP) * _PIXELS_STEP)
        asked = ChartQuestion(
            device,
            None if seconds is None else timedelta(seconds=seconds),
            None if end is None else _time(end),
            width,
        )
        return await _shared_answer(request, shared, ("charts", asked), _LIVE, lambda: data.charts(asked))

    @routes.get("/watch")
    async def watch(
        request: Request,
        device: DeviceId,
        fault: Annotated[str, Query(min_length=1, max_length=200)],
        began: TimeMs,
    ) -> Response:
        injected = Injected(device, fault, _time(began))
        return await _shared_answer(
            request, shared, ("watch", injected), _LIVE / 2, lambda: data.watch(injected)
        )

    return routes


def _fault_routes(shared: SharedAnswers, sources: DashboardSources) -> APIRouter:
    """Changes come as JSON only, which no page of another origin may send without asking."""
    routes = APIRouter(prefix=DATA, include_in_schema=False, route_class=StrictRoute)
    control, remedy = sources.control, sources.control_remedy

    @routes.get("/control")
    async def catalogue(request: Request) -> Response:
        return await _shared_answer(
            request, shared, ("control",), _SELDOM, lambda: faults.catalogue(control, remedy)
        )

    @routes.get("/faults")
    async def faulty(request: Request) -> Response:
        return await _shared_answer(
            request,
            shared,
            ("faults",),
            _LIVE,
            lambda: {"rows": faults.with_control(control, remedy, faults.faulty)},
        )

    @routes.post("/faults")
    def inject(asked: faults.NewFault) -> dict[str, Any]:
        return faults.with_control(control, remedy, lambda call: faults.inject(call, asked))

    @routes.post("/faults/clear")
    def clear(asked: faults.WhoseFault) -> dict[str, Any]:
        return faults.with_control(control, remedy, lambda call: faults.clear(call, asked))

    return routes


async def _shared_answer(
    request: Request,
    shared: SharedAnswers,
    question: tuple[object, ...],
    seconds: float,
    compute: Callable[[], Any],
) -> Response:
    """An answer that many tabs share; 304 for who has it already.

    Raises:
        ApiError: the database is away, or not ours.
    """
    try:
        answer = await shared.get(question, seconds, compute)
    except DatabaseAwayError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, error.message, remedy=error.remedy) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database does not have this version's tables",
            remedy="Run `sigmawatch db migrate`.",
        ) from error
    return _negotiated(request, answer, "application/json", {"Cache-Control": "private, no-cache"})


def _file_answer(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    keep = "public, max-age=31536000, immutable" if file.lasting else "no-cache"
    return _negotiated(request, file, file.media_type, {"Cache-Control": keep, **headers})


def _negotiated(
    request: Request, content: Answer | PageFile, media_type: str, headers: dict[str, str]
) -> Response:
    """As the client takes it: nothing where it has it, packed where it can unpack."""
    headers = {"ETag": content.etag, "Vary": "Accept-Encoding", **headers}
    if request.headers.get("if-none-match") == content.etag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if content.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            content.packed, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"}
        )
    return Response(content.plain, media_type=media_type, headers=headers)


def _time(time_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
