"""Apps on ports of their own, and a control API among them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI
from pydantic import SecretStr

from producers.control.app import control_app
from schemas.settings import ControlSettings, WebSettings
from schemas.web.app import serve
from tests.support.running_fleet import RunningFleet, device_types


@contextmanager
def running_app(app: FastAPI, settings: WebSettings) -> Iterator[str]:
    """Serve an app on the port of its settings; its address."""
    stop, listening, ports = threading.Event(), threading.Event(), list[int]()

    def told(port: int) -> None:
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=serve, args=(app, settings, stop), kwargs={"on_listening": told})
    thread.start()
    try:
        assert listening.wait(60)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def running_control(fleet: RunningFleet, token: str) -> Iterator[str]:
    """The control API of a fleet, which asks for a token; its address."""
    settings = ControlSettings(port=0, token=SecretStr(token), rate_limit="off")
    app = control_app(fleet.control, fleet.control, device_types, settings)
    with running_app(app, settings) as url:
        yield url
