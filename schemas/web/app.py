"""The HTTP parts' common ground: `new_app` makes a FastAPI, `serve` runs it until it is told to stop.

    registry = CollectorRegistry()
    app = new_app("Sigmawatch control", settings.control, registry=registry, ready=lambda: None)

    @app.get("/runs", responses=GUARDED)
    async def runs() -> list[Run]: ...

    with stop_event() as stop:
        serve(app, settings.control, stop)

A part's section of the settings is a subclass of `WebSettings`, with a port of its own. What every app has:

- /livez, /readyz and /metrics for machines; /docs and /openapi.json for people, with nothing from outside.
- The guard (`schemas.web.guard`): a bearer token where one is set (and one must be set off loopback), a limit of
  requests by client address, a limit of the body's size, and without a token only this machine's names in Host.
- Bodies of the app's routes (of an APIRouter's with `route_class=StrictRoute`) are strict JSON (`schemas.web.strict_json`), whatever model they are for: 400 and 415 else.
- Every error is `{"detail", "place", "remedy"}`. Raise `ApiError`; a SigmawatchError that gets as far is a 422 with
  its message and remedy. `responses=GUARDED` says the common ones in the API's description.
- CORS for `cors_origins` only.

In tests: `TestClient(app, base_url="http://127.0.0.1")`, as the guard knows no host called "testserver".
"""

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import ConfigError
from schemas.settings import WebSettings
from schemas.web.address import in_url
from schemas.web.errors import GUARDED, ApiError, add_error_handlers, error_responses
from schemas.web.guard import Guard
from schemas.web.metrics import WebMetrics
from schemas.web.strict_json import StrictRoute

__all__ = ["GUARDED", "ApiError", "WebSettings", "error_responses", "new_app", "serve"]

_LOG = structlog.get_logger(__name__)
_DRAIN_SECONDS = 10  # for requests under way when the stop comes


def new_app(
    title: str,
    settings: WebSettings,
    *,
    description: str = "",
    registry: CollectorRegistry | None = None,
    ready: Callable[[], str | None] = lambda: None,
    lifespan: Any = None,
    open_paths: Collection[str] = (),
) -> FastAPI:
    """An app with everything that the parts have in common.

    Args:
        title: for /docs.
        settings: the part's section.
        description: Markdown for /docs.
        registry: what /metrics shows, together with the requests' own metrics.
        ready: asked at /readyz; None, or why the part does not do its work now.
        lifespan: FastAPI's: an async context manager function around the app's life. What can fail belongs before it.
        open_paths: paths, with what is below them ("/" alone is the page), that need no token.

    Raises:
        ConfigError: the address is off loopback, and no token is set.
    """
    _require_token_off_loopback(settings)
    metrics = WebMetrics(registry or CollectorRegistry())
    app = FastAPIOffline(
        redoc_url=None,
        title=title,
        description=description,
        version=_version(),
        lifespan=lifespan,
        swagger_ui_parameters={"persistAuthorization": False, "validatorUrl": None},
    )
    app.router.route_class = StrictRoute
    add_error_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics, open_paths=open_paths)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    _add_probes(app, metrics.registry, ready)
    if settings.token:
        _describe_token(app)
    return app


def serve(
    app: FastAPI,
    settings: WebSettings,
    stop: threading.Event,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set; then requests under way are answered, for 10 s at most. Blocks, in any thread.

    Args:
        app: from `new_app`.
        settings: the part's section.
        stop: ends it; looked at every tenth of a second.
        on_listening: called with the port, once requests are taken.

    Raises:
        ConfigError: the address is taken, or none of this machine's.
    """
    with _listening(settings.host, settings.port) as listener:
        port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level=logging.ERROR,  # a request that is no HTTP is its sender's trouble
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else a local client says who it is, and the limit is nobody's
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = _Server(config, stop, lambda: on_listening(port) if on_listening else None)
        _LOG.info("listening", address=f"http://{in_url(settings.host)}:{port}", docs="/docs")
        asyncio.run(server.serve([listener]))


class _Server(uvicorn.Server):
    """Leaves signals to the program, and looks at its event."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop
        self._on_started = on_started

    def capture_signals(self) -> Any:
        """None."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, then say so."""
        await super().startup(sockets)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end."""
        return await super().on_tick(counter) or self._stop.is_set()


def _require_token_off_loopback(settings: WebSettings) -> None:
    if settings.token is not None or is_loopback(settings.host):
        return
    raise ConfigError(
        f"{settings.host} can be reached from other machines, and no token is set",
        "Set a token (a long random text), or listen on 127.0.0.1.",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _add_probes(app: FastAPI, registry: CollectorRegistry, ready: Callable[[], str | None]) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return PlainTextResponse("alive\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        reason = ready()
        return PlainTextResponse(f"not ready: {reason}\n", 503) if reason else PlainTextResponse("ready\n")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _describe_token(app: FastAPI) -> None:
    """Let /docs know of the token, so that it has a place to put it."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        scheme = {"bearer": {"type": "http", "scheme": "bearer"}}
        schema.setdefault("components", {})["securitySchemes"] = scheme
        schema["security"] = [{"bearer": []}]
        return schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to change it


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; with "localhost" its first address."""
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named, unlike socket.create_server: only then asyncio sends answers without Nagle's delay.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            f"cannot listen on {in_url(host)}:{port}: {error.strerror}", "Choose another port, or 0 for any."
        ) from error
    return listener


def _version() -> str:
    try:
        return version("sigmawatch")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "unknown"
