"""A simulation's control API, passed on by another server: one address for people, one token.

Each of its paths stands at its own place, unless the server answers there itself; all of them stand below /control.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI, Request, Response

from deploy.control_paths import control_description, described_with, is_answered, operations_of
from schemas.web.app import ApiError
from schemas.web.guard import require_own_page

PREFIX = "/control"

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Longer than the longest that the control API lets a command wait (control.timeout).
_TIMES = httpx.Timeout(610.0, connect=5.0)
# Commands that wait must not hold up others; of connections that are idle few are kept.
_CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
_PASSED_ON = (b"content-type", b"accept")
_PASSED_BACK = ("content-type", "etag", "retry-after", "allow", "x-total-count", "link")

_DESCRIPTION = f"""
The paths tagged *simulation* are those of the control API of a running simulation, passed on. Where a path of it is one
of this API (`GET /api/v1/devices`), it is found below `{PREFIX}`, as is all of it: `{PREFIX}/api/v1/devices`.
"""


def add_control(app: FastAPI, url: str, token: str | None, origins: Collection[str]) -> None:
    """Serve `url` beside what an app answers itself, and all of it below /control.

    Args:
        app: from `schemas.web.app.new_app`, whose guard and token hold here too; with all the routes of its own.
        url: http://HOST:PORT of the control API.
        token: what it asks for.
        origins: of web pages that may change things, beside our own.
    """
    proxy = _Proxy(url, token, origins)
    described = control_description()
    passed = [operation for operation in operations_of(described) if not is_answered(app, operation)]
    routes = APIRouter(lifespan=proxy.lifespan)
    routes.add_api_route(
        f"{PREFIX}/{{path:path}}", proxy.below_prefix, methods=_METHODS, include_in_schema=False
    )
    for method, path in passed:
        routes.add_api_route(path, proxy.at_its_place, methods=[method], include_in_schema=False)
    app.include_router(routes)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        own = plain()
        info = {**own["info"], "description": own["info"].get("description", "") + _DESCRIPTION}
        return described_with({**own, "info": info}, described, passed)

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change it


class _Proxy:
    """Passes requests on, over connections that live as long as the app."""

    def __init__(self, url: str, token: str | None, origins: Collection[str]) -> None:
        self._url = httpx.URL(url)
        self._headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        self._origins = origins
        self._http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """The app's life, in its event loop."""
        async with httpx.AsyncClient(timeout=_TIMES, limits=_CONNECTIONS, trust_env=False) as self._http:
            yield

    async def at_its_place(self, request: Request) -> Response:
        """The path as it stands."""
        return await self._pass_on(request, request.scope["raw_path"])

    async def below_prefix(self, request: Request) -> Response:
        """What is behind /control."""
        answer = await self._pass_on(request, request.scope["raw_path"].removeprefix(PREFIX.encode()))
        if "link" in answer.headers:
            answer.headers["link"] = answer.headers["link"].replace("</", f"<{PREFIX}/")
        return answer

    async def _pass_on(self, request: Request, path: bytes) -> Response:
        require_own_page(request, self._origins, "api.cors_origins")
        assert self._http is not None, "the app's lifespan has not begun"
        passed = [(name, value) for name, value in request.headers.raw if name in _PASSED_ON]
        # As the client wrote them: %2F and %2E are parts of an id. What does not begin with a slash would go on the host.
        target = b"?".join(filter(None, (path, request.scope["query_string"])))
        if not target.startswith(b"/"):
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such path", remedy="/docs lists what there is.")
        try:
            answer = await self._http.request(
                request.method,
                self._url.copy_with(raw_path=target),
                content=await request.body(),
                headers=[*passed, *self._headers],
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiError(
                HTTPStatus.BAD_GATEWAY,
                f"the simulation does not answer: {type(error).__name__}",
                remedy="Does it run, with its control API on (control.enabled)?",
            ) from None
        kept = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)
