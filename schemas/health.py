"""A part's HTTP port for machines: /metrics (Prometheus), /livez, /readyz (200, or 503 with the reason)."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import ConfigError


class HealthServer:
    """Serves from a thread of its own between `start` and `stop`, or as a context manager.

    Args:
        host: address to listen on; loopback unless the user says otherwise.
        port: 0 takes a free one.
        registry: what /metrics shows.
        alive: whether a restart would not help.
        ready: whether the part does its work.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        alive: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        handler = _handler(registry, alive, ready)
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}", "Choose another metrics port, or 0."
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End; blocks until the last request is answered, half a second at most."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _handler(
    registry: CollectorRegistry, alive: Callable[[], bool], ready: Callable[[], bool]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        server_version = "sigmawatch"
        timeout = 10  # seconds for a whole request

        def do_GET(self) -> None:
            """Answer by path."""
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)
                case "/livez":
                    self._verdict("alive", alive())
                case "/readyz":
                    self._verdict("ready", ready())
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"/metrics /livez /readyz\n", "text/plain")

        def _verdict(self, name: str, good: bool) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{'' if good else 'not '}{name}\n".encode(), "text/plain")

        def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests of probes are not worth a line."""

    return Handler
