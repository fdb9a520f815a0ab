"""The form of every answer of the API, errors included: iot-mock-service's {success, data, message, errors}.

What the guard in front of the app refuses (rate, token, size) comes in the common ground's own form, and is put into
this one on its way out.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.simulation.commands import (
    CommandError,
    DeviceExistsError,
    SimulationEndedError,
    UnknownDeviceError,
)
from schemas.errors import ConfigError, SigmawatchError
from schemas.web.app import ApiError
from schemas.web.errors import methods_of, place_of

T = TypeVar("T")

_SHOWN = 20  # problems of one request; the rest is counted


class Envelope(BaseModel, Generic[T]):
    """An answer."""

    success: bool = Field(True, description="Whether it was done.")
    data: T = Field(description="What was asked for.")
    message: str = Field("Success", description="The same for people.")
    errors: list[str] | None = Field(None, description="What was wrong.")


class ErrorEnvelope(BaseModel):
    """The answer to what could not be done."""

    success: bool = Field(False, description="false")
    data: None = None
    message: str = Field(description="What is wrong, and what to do about it.")
    errors: list[str] = Field(description="Each problem, with its place in the request.")


def errors_of(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the errors that it may give, beside those that any route may."""
    always = (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    )
    return {
        int(status): {"model": ErrorEnvelope, "description": status.phrase}
        for status in sorted({*always, *statuses})
    }


def answer_in_envelopes(app: FastAPI) -> None:
    """Give every error of an app of `new_app` this form."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(SigmawatchError, _on_own_error)
    app.add_exception_handler(TimeoutError, _on_timeout)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(_Enveloping)


def _refusal(
    status: int, message: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse(_refused(message, errors), status, headers)


def _refused(message: str, errors: Sequence[str] = ()) -> dict[str, Any]:
    texts = [sound(text) for text in (errors or (message,))]
    return {"success": False, "data": None, "message": sound(message), "errors": texts}


def sound(text: str) -> str:
    """Text that can be written, whatever a client sent: half a surrogate pair becomes a question mark."""
    return text.encode(errors="replace").decode()


def sentence(*parts: str) -> str:
    """Texts as sentences."""
    return " ".join(
        part if part[-1:] in {".", "?", "!"} else f"{part}." for part in filter(None, parts)
    ).removesuffix(".")


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if isinstance(error, ApiError):
        placed = f"{error.place}: {error.detail}" if error.place else error.detail
        return _refusal(error.status_code, sentence(error.detail, error.remedy), [placed], error.headers)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _refusal(404, f"there is no {path}. /docs lists what there is")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = methods_of(request)
        refused = f"{path} does not know {request.method}. Use {allowed}"
        return _refusal(405, refused, (), {"Allow": allowed})
    return _refusal(error.status_code, str(error.detail), (), error.headers)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_problem(problem) for problem in error.errors()]
    more = len(problems) - _SHOWN
    shown = problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    return _refusal(422, sentence(problems[0], "/docs says what is expected"), shown)


def _problem(problem: Any) -> str:
    within, *path = problem["loc"]
    place = place_of(path)
    named = place if within == "body" and place else f"{within} {place}".rstrip()
    return f"{named}: {problem['msg'].removeprefix('Value error, ')}"


async def _on_own_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SigmawatchError)
    match error:
        case UnknownDeviceError():
            status = HTTPStatus.NOT_FOUND
        case DeviceExistsError():
            status = HTTPStatus.CONFLICT
        case SimulationEndedError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case CommandError() | ConfigError():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        case _:
            status = HTTPStatus.SERVICE_UNAVAILABLE
    return _refusal(status, sentence(error.message, error.remedy), [error.message])


async def _on_timeout(_: Request, error: Exception) -> Response:
    return _refusal(HTTPStatus.GATEWAY_TIMEOUT, str(error))


async def _on_bug(_: Request, __: Exception) -> Response:
    return _refusal(500, "this is a fault of ours. The log has the particulars")


class _Enveloping:
    """ASGI middleware: errors of the common ground, {detail, place, remedy}, leave as envelopes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def enveloped(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    whole = _in_envelope(bytes(body))
                    await send({**start, "headers": _with_length(start["headers"], len(whole))})
                    await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, enveloped)


def _in_envelope(body: bytes) -> bytes:
    """An error's body in our form, where it is in the common one."""
    if not body.startswith(b'{"detail":'):
        return body
    error = json.loads(body)
    placed = f"{error['place']}: {error['detail']}" if error.get("place") else error["detail"]
    return json.dumps(_refused(sentence(error["detail"], error.get("remedy", "")), [placed])).encode()


def _with_length(headers: Sequence[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]
