"""Errors as answers: JSON with what is wrong, where, and what to do about it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from schemas.errors import SigmawatchError

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_SHOWN = 200  # characters of what a client sent that are worth repeating to it


class ErrorBody(BaseModel):
    """Every answer that is no success."""

    detail: str = Field(description="What is wrong.")
    place: str = Field("", description="Where in the request, as `[3].value` of its body.")
    remedy: str = Field("", description="What to do about it.")


class ApiError(HTTPException):
    """An error that a client is told; raise it anywhere below a route."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        place: str = "",
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.place = place
        self.remedy = remedy

    def answer(self) -> Response:
        """As a response."""
        return _answer(self.status_code, self.detail, self.place, self.remedy, self.headers)


def error_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the errors it may give, for the API's description."""
    return {int(status): {"model": ErrorBody, "description": status.phrase} for status in statuses}


GUARDED = error_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""What any route may answer before, or while, its request is read."""


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error that a route lets through."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(SigmawatchError, _on_own_error)
    app.add_exception_handler(Exception, _on_bug)


def _answer(
    status: int, detail: str, place: str = "", remedy: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    content = {"detail": _sound(detail), "place": _sound(place), "remedy": remedy}
    return JSONResponse(content, status, headers)


def _sound(text: str) -> str:
    """Text that can be written, whatever a client sent: half a surrogate pair becomes a question mark."""
    return text.encode(errors="replace").decode()


async def _on_http_error(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        return error.answer()
    assert isinstance(error, HTTPException)
    path = request.url.path[:_SHOWN]
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _answer(404, f"there is no {path}", remedy="/docs lists what there is.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = methods_of(request)
        remedy = f"Use {allowed}." if allowed else ""
        return _answer(405, f"{path} does not know {request.method}", "", remedy, {"Allow": allowed})
    return _answer(error.status_code, str(error.detail), headers=error.headers)


def methods_of(request: Request) -> str:
    """Those that a request's path knows, as `Allow` has them; the error itself names only those of one route."""
    return ", ".join(
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    )


async def _on_invalid(_: Request, error: Exception) -> Response:
    """The first problem that FastAPI found, in our form."""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    first = problems[0]
    within, *path = first["loc"]
    place = place_of(path)
    if within != "body":
        place = f"{within} {place}"
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    return _answer(
        422, f"{first['msg'].removeprefix('Value error, ')}{more}", place, "/docs says what is expected."
    )


async def _on_own_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SigmawatchError)
    return _answer(422, error.message, getattr(error, "place", ""), error.remedy)


async def _on_bug(_: Request, __: Exception) -> Response:
    return _answer(500, "this is a fault of ours", "", "The log has the particulars.")


def place_of(path: list[Any] | tuple[Any, ...]) -> str:
    """Keys and indexes as people write them: `[3].value`, `devices[0].id`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
