"""Which paths of a simulation's control API another server passes on, and how it describes them. Pure.

The list is the control API's own: what is added there is passed on here.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.routing import Match

from producers.control.app import control_app
from producers.control.local import LocalControl
from producers.simulation.control import CommandQueue, SimulationStatus
from schemas.settings import ControlSettings

Description = Mapping[str, Any]
"""An API in the words of OpenAPI."""

_SCHEMAS = "#/components/schemas/"
_OURS = "Control"  # before the name of a schema that the other server has for something else
_ERROR = {"$ref": f"{_SCHEMAS}ErrorBody"}

# What the server that passes on refuses by itself, in its own form, before the simulation is asked.
_REFUSED_BEFORE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS,
)


class Operation(NamedTuple):
    """A method of a path, as GET of /api/v1/devices/{device_id}."""

    method: str
    path: str


def control_description() -> Description:
    """The control API; no simulation is asked for it."""
    nobody = LocalControl(CommandQueue(), _nobody)
    return control_app(nobody, nobody, dict, ControlSettings()).openapi()


def operations_of(description: Description) -> list[Operation]:
    """All that an API answers, in its own order."""
    return [
        Operation(method.upper(), path)
        for path, methods in description["paths"].items()
        for method in methods
    ]


def is_answered(app: FastAPI, operation: Operation) -> bool:
    """Whether an app has a route for it."""
    path = re.sub(r"\{[^}]+\}", "x", operation.path)
    scope = {
        "type": "http",
        "method": operation.method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": [],
    }
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def described_with(own: Description, control: Description, passed: Sequence[Operation]) -> dict[str, Any]:
    """The description of an app that passes operations of the control API on."""
    schemas: Description = own["components"]["schemas"]
    theirs: Description = control["components"]["schemas"]
    renamed = {
        name: f"{_OURS}{name}" for name, schema in theirs.items() if schemas.get(name, schema) != schema
    }
    paths = {path: dict(methods) for path, methods in own["paths"].items()}
    for operation in passed:
        method = operation.method.lower()
        found = _referring(control["paths"][operation.path][method], renamed)
        paths.setdefault(operation.path, {})[method] = _as_passed_on(found)
    added = {renamed.get(name, name): _referring(schema, renamed) for name, schema in theirs.items()}
    components = {**own["components"], "schemas": {**schemas, **added}}
    return {**own, "paths": paths, "components": components}


def _as_passed_on(operation: dict[str, Any]) -> dict[str, Any]:
    """With what the server in between may answer."""
    responses = dict(operation["responses"])
    for status in _REFUSED_BEFORE:
        described = responses.get(str(status.value), {"description": status.phrase})
        forms = [body["schema"] for body in described.get("content", {}).values()] + [_ERROR]
        content = {"application/json": {"schema": {"anyOf": forms}}}
        responses[str(status.value)] = {**described, "content": content}
    responses[str(HTTPStatus.BAD_GATEWAY.value)] = {
        "description": "The simulation does not answer.",
        "content": {"application/json": {"schema": _ERROR}},
    }
    tags = [f"simulation: {tag}" for tag in operation.get("tags", ())]
    return {**operation, "tags": tags, "responses": responses}


def _referring(value: Any, renamed: Mapping[str, str]) -> Any:
    """The same, with references to schemas by their new names."""
    if isinstance(value, str) and value.startswith(_SCHEMAS):
        name = value.removeprefix(_SCHEMAS)
        return f"{_SCHEMAS}{renamed.get(name, name)}"
    if isinstance(value, Mapping):
        return {key: _referring(inner, renamed) for key, inner in value.items()}
    if isinstance(value, list):
        return [_referring(inner, renamed) for inner in value]
    return value


def _nobody() -> SimulationStatus:
    raise AssertionError("there is no simulation here")
