"""Answers: JSON with an ETag, 304 for who has it already, and the database's absence as 503."""

import hashlib
import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from schemas.errors import SigmawatchError
from schemas.web.app import ApiError
from schemas.web.errors import error_responses
from sinks.queries.connection import DatabaseAwayError

READ = error_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
) | {304: {"description": "Nothing has changed since the ETag in If-None-Match."}}
"""What every route may answer beside its success."""

FOUND = READ | error_responses(HTTPStatus.NOT_FOUND)
"""The same of a route for one thing."""


def answer(request: Request, content: BaseModel | Any, *, media_type: str = "application/json") -> Response:
    """A model, or what JSON can say, as an answer with a strong ETag; 304 where the client has it."""
    body = to_json(content, inf_nan_mode="null") if not isinstance(content, bytes) else content
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if _has(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def not_found(what: str, remedy: str = "") -> ApiError:
    """404 for one thing that is not there."""
    return ApiError(HTTPStatus.NOT_FOUND, f"there is no {what[:200]}", remedy=remedy)


def unavailable(what: str, remedy: str = "") -> ApiError:
    """503 for what this server cannot know now."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, what, remedy=remedy)


def add_database_errors(app: FastAPI) -> None:
    """A database that does not answer is a 503, not the client's mistake."""
    app.add_exception_handler(DatabaseAwayError, _on_away)


async def _on_away(_: Request, error: Exception) -> Response:
    assert isinstance(error, SigmawatchError)
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE, error.message, remedy=error.remedy, headers={"Retry-After": "2"}
    ).answer()


def _has(request: Request, tag: str) -> bool:
    said = request.headers.get("if-none-match", "")
    return said.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in said.split(",")}


def compact(value: Any) -> str:
    """One line of JSON, for events."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
