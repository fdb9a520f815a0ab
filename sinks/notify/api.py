"""Notifications by HTTP, for the dashboard's test button: which routes there are, and a sample to one of them.

Mount it on an app of `schemas.web.new_app`, whose guard it stands behind. It takes the name of a route and never an address:
who may press the button must not be able to send anything anywhere.
"""

from dataclasses import asdict
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from schemas.clock import SystemClock
from schemas.errors import ConfigError
from schemas.settings import Settings
from schemas.web.app import GUARDED, ApiError, error_responses
from schemas.web.strict_json import StrictRoute
from sinks.notify.routes import Routes
from sinks.notify.sample import UnknownRouteError, send_samples
from sinks.notify.service import routes_of, targets_of

_RESPONSES = GUARDED | error_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class NotifyTest(BaseModel):
    """Whom to send a sample."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"route": "ovens"}]})

    route: str | None = Field(None, description="Name of a route; without it, all of them.", max_length=64)


class NotifyTestResult(BaseModel):
    """What became of the sample at one target."""

    route: str
    target: str
    address: str = Field(description="Where it went, without what is secret.")
    accepted: bool
    error: str = ""


class NotifyTestAnswer(BaseModel):
    """What became of the samples."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": True,
                    "results": [
                        {
                            "route": "ovens",
                            "target": "mail",
                            "address": "mailtos://mail.example",
                            "accepted": True,
                            "error": "",
                        }
                    ],
                }
            ]
        }
    )

    accepted: bool = Field(description="Whether every target took it.")
    results: list[NotifyTestResult]


class NotifyTargetView(BaseModel):
    """A target of a route."""

    name: str
    address: str = Field(description="Where it goes, without what is secret.")


class NotifyRouteView(BaseModel):
    """A route of the routes file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "ovens", "targets": [{"name": "mail", "address": "mailtos://mail.example"}]}
            ]
        }
    )

    name: str
    targets: list[NotifyTargetView]


def notify_router(settings: Settings) -> APIRouter:
    """GET /api/v1/notify/routes and POST /api/v1/notify/test; the routes file is read anew for each request."""
    router = APIRouter(prefix="/api/v1/notify", tags=["notifications"], route_class=StrictRoute)

    @router.get("/routes", responses=_RESPONSES, summary="The routes of notifications")
    def routes() -> list[NotifyRouteView]:
        """Their names, and the names of their targets."""
        found = _routes(settings)
        targets = targets_of(settings, found)
        return [
            NotifyRouteView(
                name=route.name,
                targets=[
                    NotifyTargetView(name=name, address=targets[name].address) for name in route.targets
                ],
            )
            for route in found.routes
        ]

    @router.post("/test", responses=_RESPONSES, summary="Send a sample notification")
    def test(request: NotifyTest) -> NotifyTestAnswer:
        """Send a sample to the targets of a route; the answer says for each whether it was taken."""
        try:
            results = send_samples(settings, _routes(settings), SystemClock(), request.route)
        except UnknownRouteError as error:
            raise ApiError(HTTPStatus.NOT_FOUND, error.message, place="route", remedy=error.remedy) from error
        return NotifyTestAnswer(
            accepted=all(result.accepted for result in results),
            results=[NotifyTestResult(**asdict(result)) for result in results],
        )

    return router


def _routes(settings: Settings) -> Routes:
    try:
        return routes_of(settings)
    except ConfigError as error:
        raise ApiError(HTTPStatus.CONFLICT, error.message, remedy=error.remedy) from error
