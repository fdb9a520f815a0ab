"""A client of the control API of a running fleet, and what its answers say."""

import re

from fastapi.testclient import TestClient

from producers.control.app import control_app
from schemas.settings import ControlSettings
from tests.support.running_fleet import device_types

TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def client_of(fleet, **settings):
    app = control_app(fleet.control, fleet.control, device_types, ControlSettings(**settings))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def envelope(answer, status, *, success):
    """The body of an answer."""
    body = answer.json()
    assert answer.status_code == status, body
    assert list(body) == ["success", "data", "message", "errors"]
    assert body["success"] is success
    return body


def data(answer, status=200):
    """The data of an answer, whose envelope is checked."""
    body = envelope(answer, status, success=True)
    assert body["errors"] is None
    assert body["message"]
    return body["data"]


def refusal(answer, status):
    """The message of an error, whose envelope is checked."""
    body = envelope(answer, status, success=False)
    assert body["data"] is None
    assert body["errors"]
    assert all(isinstance(error, str) and error for error in body["errors"])
    return body["message"]


def message(answer):
    data(answer)
    return answer.json()["message"]
