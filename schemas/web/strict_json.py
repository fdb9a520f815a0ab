"""JSON bodies of requests, read strictly; errors as answers that say where."""

import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from schemas.strict_json import DoubledKey, NotJsonError, parse_json
from schemas.web.errors import ApiError, place_of

_DEEPEST = 50  # levels; a request of ours has four
_REMEDY = 'Send JSON in UTF-8, with the header "Content-Type: application/json".'


def parse_body(body: bytes) -> Any:
    """A body as Python values; see `schemas.strict_json.parse_json`.

    Raises:
        ApiError: it is no JSON; says where.
    """
    try:
        return parse_json(body)
    except NotJsonError as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, f"the body is {error}", place=error.place, remedy=_REMEDY
        ) from None


def require_json(content_type: str | None) -> None:
    """Refuse another content type.

    Also keeps web pages of other origins out: a browser sends application/json across origins only where CORS allows it.

    Raises:
        ApiError: 415.
    """
    kind, _, parameters = (content_type or "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('" ')
    if kind.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        said = content_type[:100] if content_type else "missing"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type is {said}", remedy=_REMEDY)


async def read_json(request: Request) -> Any:
    """The body of a request; see `parse_body`.

    Raises:
        ApiError: 400, 413 or 415.
    """
    require_json(request.headers.get("content-type"))
    return parse_body(await request.body())


def require_plain(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """The value, if it holds only what JSON can say: no key twice, finite numbers, whole Unicode, no depths.

    Raises:
        ApiError: 422, naming the place.
    """
    problem = _problem(value) if len(path) <= _DEEPEST else "nested too deeply"
    if problem:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, problem, place=place_of(path))
    if isinstance(value, dict):
        for key, inner in value.items():
            require_plain(key, path)
            require_plain(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            require_plain(inner, (*path, index))
    return value


class StrictRoute(APIRoute):
    """A route whose body, whatever model it is for, is read by `read_json` and `require_plain`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's own, on a `_StrictRequest`."""
        handler = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strictly


class _StrictRequest(Request):
    async def body(self) -> bytes:
        """The bytes; a body of another type than JSON is refused."""
        body = await super().body()
        if body:
            require_json(self.headers.get("content-type"))
        return body

    async def json(self) -> Any:
        """The body, read strictly."""
        return require_plain(parse_body(await self.body()))


def _problem(value: Any) -> str:
    if isinstance(value, DoubledKey):
        return f"the key {value.key!r} is there twice"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, str) and not is_unicode(value):
        return "the text has half a surrogate pair in it"
    return ""


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON's escapes can make halves of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
