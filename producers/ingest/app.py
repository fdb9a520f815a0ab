"""The routes: `POST /detect`, as moving-average-detector has it, and `POST /readings`."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from producers.checks import NotBelievableError, check_id
from producers.clock import Clock
from producers.ingest.metrics import IngestMetrics
from producers.ingest.readings import Defaults, readings_of
from producers.ingest.sender import DeliveryError, Sender
from schemas.dead_letters import TimeBounds
from schemas.settings import IngestSettings
from schemas.web.app import GUARDED, ApiError, error_responses, new_app
from schemas.web.strict_json import read_json

STATUS = "Data received and processed"

_DESCRIPTION = """\
Readings to Kafka. An answer of 200 means that Kafka has acknowledged every reading of the request; anything else names what
is wrong and where, as `[3].value`. A list is checked whole before any of it is sent. Sending the same reading
again does no harm: one of the same device, metric and time is stored once.
"""

_ID: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
_TIME: dict[str, Any] = {
    "description": "Seconds since 1970, or ISO-8601; without an offset it is UTC.",
    "oneOf": [{"type": "number", "minimum": 0}, {"type": "string", "format": "date-time"}],
}
_READING: dict[str, Any] = {
    "type": "object",
    "title": "Reading",
    "properties": {
        "device_id": _ID,
        "metric": _ID,
        "time": _TIME,
        "timestamp": {**_TIME, "description": "The same as time."},
        "value": {"type": "number", "minimum": -1e150, "maximum": 1e150},
        "fault": {**_ID, "type": ["string", "null"], "description": "Injected fault, where it is known."},
    },
    "required": ["value"],
    "oneOf": [{"required": ["time"]}, {"required": ["timestamp"]}],
    "additionalProperties": False,
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_READING, {"type": "array", "items": _READING}]},
                "examples": {
                    "moving-average-detector": {"value": {"value": 45.2, "timestamp": 1_767_225_600.0}},
                    "list": {
                        "value": [
                            {
                                "device_id": "boiler-7",
                                "metric": "temperature",
                                "time": "2026-01-01T00:00:00Z",
                                "value": 71.5,
                            }
                        ]
                    },
                },
            }
        },
    }
}
_ERRORS = {**GUARDED, **error_responses(HTTPStatus.SERVICE_UNAVAILABLE)}


class Detected(BaseModel):
    """moving-average-detector's answer."""

    status: Literal["Data received and processed"]


class Accepted(Detected):
    """The same, and how many."""

    accepted: int = Field(description="Readings that Kafka has acknowledged.")


DeviceQuery = Annotated[str | None, Query(description="Device of readings that name none.")]
MetricQuery = Annotated[str | None, Query(description="Metric of readings that name none.")]


def ingest_app(
    settings: IngestSettings, sender: Sender, clock: Clock, bounds: TimeBounds, metrics: IngestMetrics
) -> FastAPI:
    """The app on a sender that is started.

    Raises:
        ConfigError: the address is off loopback, and no token is set.
    """
    app = new_app(
        "Sigmawatch ingest",
        settings,
        description=_DESCRIPTION,
        registry=metrics.registry,
        ready=lambda: sender.trouble,
    )

    async def take(request: Request, device_id: str | None, metric: str | None) -> int:
        defaults = Defaults(
            _default("device_id", device_id, settings.device_id), _default("metric", metric, settings.metric)
        )
        readings = readings_of(await read_json(request), defaults, clock.now_us(), bounds)
        try:
            await sender.deliver(readings, settings.wait)
        except DeliveryError as error:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                error.message,
                remedy=error.remedy,
                headers={"Retry-After": "5" if error.sent else "1"},
            ) from error
        return len(readings)

    @app.post("/detect", response_model=Detected, responses=_ERRORS, openapi_extra=_BODY)
    async def detect(
        request: Request, device_id: DeviceQuery = None, metric: MetricQuery = None
    ) -> JSONResponse:
        """Take one reading, or a list."""
        await take(request, device_id, metric)
        return JSONResponse({"status": STATUS})

    @app.post("/readings", response_model=Accepted, responses=_ERRORS, openapi_extra=_BODY)
    async def readings(
        request: Request, device_id: DeviceQuery = None, metric: MetricQuery = None
    ) -> JSONResponse:
        """Take one reading, or a list, and say how many they were."""
        return JSONResponse({"status": STATUS, "accepted": await take(request, device_id, metric)})

    return app


def _default(name: str, given: str | None, setting: str) -> str:
    if given is None:
        return setting
    try:
        return check_id(given)
    except NotBelievableError as error:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            str(error),
            place=f"query {name}",
            remedy="Give a text of 1 to 255 bytes.",
        ) from error
