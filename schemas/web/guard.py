"""What every request passes before a route sees it: Host, rate, token, size; and what is counted of it."""

import hmac
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.settings import WebSettings
from schemas.web.errors import ApiError
from schemas.web.metrics import WebMetrics

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""For machines: no token, no limit."""

OPEN = (*PROBES, "/docs", "/openapi.json", "/static-offline-docs")
"""Paths, with what is below them, that need no token: they tell nothing but what this program is."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

# A body too large is read on for so much, and thrown away: who has not sent all of it would not read the answer.
_PATIENCE_BYTES = 64 * 1024 * 1024


def require_own_page(request: Request, origins: Collection[str], named_in: str) -> None:
    """Refuse changes by web pages of other origins than the server's own and those that are named.

    A browser sends a POST without a body across origins by itself, and says where from.

    Args:
        request: any request.
        origins: those that are named.
        named_in: the setting that names them, for the remedy.

    Raises:
        ApiError: another page's.
    """
    origin = request.headers.get("origin")
    if request.method in _READING or origin is None or origin in origins:
        return
    try:
        own = urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        own = False
    if not own:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"pages of {origin[:100]} may not change anything here",
            remedy=f"Name the origin in {named_in}.",
        )


class Guard:
    """ASGI middleware; answers by itself what may not pass. `open_paths` need no token, beside `OPEN`.

    Without a token only the names of this machine are served, so that no web page reaches a loopback port through a
    name of its own that it lets point there.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: WebSettings,
        metrics: WebMetrics,
        open_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._open = (*OPEN, *open_paths)
        self._metrics = metrics
        self._largest = settings.max_body_bytes
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._names = {"localhost", settings.host.lower(), "127.0.0.1", "::1"}
        self._limit = None if settings.rate_limit == "off" else parse(settings.rate_limit)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            headers = Headers(scope=scope)
            try:
                await self._admit(scope, headers, receive)
            except ApiError as error:
                await error.answer()(scope, receive, watched)
            else:
                await self._app(scope, _limited(receive, self._largest), watched)
        finally:
            self._metrics.observe(scope, status, time.perf_counter() - began)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> None:
        """Raise an ApiError for what may not pass."""
        self._require_name(headers.get("host", ""))
        path = scope["path"]
        if path in PROBES:
            return
        await self._require_rate(scope)
        if not any(path == known or (known != "/" and path.startswith(f"{known}/")) for known in self._open):
            self._require_token(headers.get("authorization", ""))
        await self._require_size(headers, receive)

    def _require_name(self, host: str) -> None:
        if self._token is None and name_of(host) not in self._names:
            raise ApiError(
                HTTPStatus.BAD_REQUEST,
                f"the header Host names {host[:100]!r}, which is not this machine",
                remedy="Call it as localhost, or set a token.",
            )

    async def _require_rate(self, scope: Scope) -> None:
        if self._limit is None:
            return
        client = client_of(scope)
        if await self._limiter.hit(self._limit, client):
            return
        reset = (await self._limiter.get_window_stats(self._limit, client)).reset_time
        wait = max(1, math.ceil(reset - time.time()))
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"more requests than {self._limit}",
            remedy="Send more readings in each request, or set rate_limit higher.",
            headers={"Retry-After": str(wait)},
        )

    def _require_token(self, authorization: str) -> None:
        if self._token is None:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token):
            return
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "the token is wrong" if authorization else "the token is missing",
            remedy='Send the header "Authorization: Bearer TOKEN".',
            headers={"WWW-Authenticate": "Bearer"},
        )

    async def _require_size(self, headers: Headers, receive: Receive) -> None:
        declared = headers.get("content-length", "")
        if not declared.isdecimal() or int(declared) <= self._largest:
            return
        if int(declared) <= _PATIENCE_BYTES and "expect" not in headers:
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
        raise too_large(self._largest)


def too_large(largest: int) -> ApiError:
    """The error for a body beyond `largest` bytes."""
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {largest} bytes",
        remedy="Send less at once, or set max_body_bytes higher.",
    )


def name_of(host: str) -> str:
    """The host of a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def client_of(scope: Scope) -> str:
    """Whom the rate is counted for: the address; of IPv6 the network, of which one machine has all addresses."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


def _limited(receive: Receive, largest: int) -> Callable[[], Awaitable[Message]]:
    """`receive` that raises when more than `largest` bytes have come (a chunked body declares no length)."""
    count = 0

    async def counted() -> Message:
        nonlocal count
        message = await receive()
        if message["type"] == "http.request":
            count += len(message.get("body", b""))
            if count > largest:
                raise too_large(largest)
        return message

    return counted
