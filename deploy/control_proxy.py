"""A simulation's control API, passed on below /control of another server: one address for people, one token."""

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import httpx
from fastapi import FastAPI, Request, Response

from schemas.web.app import ApiError

PREFIX = "/control"

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Longer than the longest that the control API lets a command wait (control.timeout).
_SECONDS = 610.0
_PASSED_ON = ("content-type", "accept")
_PASSED_BACK = ("content-type", "etag", "retry-after", "allow")


def add_control(app: FastAPI, url: str, token: str | None, origins: Collection[str]) -> None:
    """Serve `url` below /control.

    Args:
        app: from `schemas.web.app.new_app`, whose guard and token hold here too.
        url: http://HOST:PORT of the control API.
        token: what it asks for.
        origins: of web pages that may change things, beside our own.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    @app.api_route(f"{PREFIX}/{{path:path}}", methods=_METHODS, include_in_schema=False)
    async def control(request: Request, path: str) -> Response:
        _require_own_page(request, origins)
        passed = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        try:
            async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
                answer = await client.request(
                    request.method,
                    f"{url}/{quote(path)}",
                    params=str(request.query_params),
                    content=await request.body(),
                    headers=passed | headers,
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiError(
                HTTPStatus.BAD_GATEWAY,
                f"the simulation does not answer: {type(error).__name__}",
                remedy="Does it run, with its control API on (control.enabled)?",
            ) from None
        kept = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)


def _require_own_page(request: Request, origins: Collection[str]) -> None:
    """A browser sends a POST without a body across origins by itself, and says where from."""
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
            remedy="Name the origin in api.cors_origins.",
        )
