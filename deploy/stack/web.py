"""The server for people in a stack: dashboard, query API, control paths. The run does not depend on it."""

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.embedded import free_port, port_answers
from deploy.stack.parts import Part
from schemas.errors import ConfigError, SigmawatchError
from schemas.web.address import in_url, reachable

if TYPE_CHECKING:
    from schemas.settings import Settings

_TRIED_PORTS = 50
"""From the usual one on; so many stacks of one machine find one each."""


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """Where the simulator's control API listens, and the token it asks for."""

    port: int
    token: str = field(repr=False)
    host: str = "127.0.0.1"

    @property
    def environment(self) -> dict[str, str | None]:
        """What the simulator is told."""
        return {
            "SIGMAWATCH_CONTROL__ENABLED": "true",
            "SIGMAWATCH_CONTROL__HOST": self.host,
            "SIGMAWATCH_CONTROL__PORT": str(self.port),
            "SIGMAWATCH_CONTROL__TOKEN": self.token,
        }


def control_address(settings: "Settings") -> ControlAddress:
    """The user's own where the control API is on; else any free port, and a token that nobody else has."""
    control = settings.control
    if not control.enabled:
        return ControlAddress(free_port(), secrets.token_urlsafe(24))
    token = control.token.get_secret_value() if control.token else ""
    return ControlAddress(control.port or free_port(), token, control.host)


def choose_port(settings: "Settings") -> int:
    """The port that was asked for, or the usual one, or the next one that is free and not the control API's.

    Raises:
        ConfigError: the port that was asked for is taken, or the next fifty are.
    """
    wanted = settings.api.port
    taken = settings.control.port if settings.control.enabled else None
    if "port" in settings.api.model_fields_set:
        if wanted and (wanted == taken or not _is_free(settings.api.host, wanted)):
            raise ConfigError(f"port {wanted} is taken", "Choose another one with --port, or 0 for any.")
        return wanted or free_port()
    for port in range(wanted, wanted + _TRIED_PORTS):
        if port != taken and _is_free(settings.api.host, port):
            return port
    raise ConfigError(f"ports {wanted} to {wanted + _TRIED_PORTS - 1} are taken", "Choose one with --port.")


class WebPart:
    """The server as a part that may fail: what goes wrong is told, and the run goes on.

    Args:
        settings: `api`.
        port: to listen on.
        environment: of the part, but for what is said here.
        processors: ports of the processors' web views.
        control: of the simulator, None where there is none.
        log_file: of the part.
        tell: says a line to people.
    """

    def __init__(
        self,
        settings: "Settings",
        port: int,
        environment: Mapping[str, str | None],
        processors: Sequence[int],
        control: ControlAddress | None,
        log_file: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._host = settings.api.host
        self._port = port
        self._tell = tell
        self._part: Part | None = Part(
            "serve",
            lambda: ("serve",),
            {
                **environment,
                "SIGMAWATCH_API__PORT": str(port),
                "SIGMAWATCH_API__PROCESSORS": ",".join(f"http://127.0.0.1:{one}" for one in processors),
                **_control_environment(control),
            },
            log_file,
            tell,
        )

    @property
    def address(self) -> str:
        """Where people find it."""
        return f"http://{in_url(reachable(self._host))}:{self._port}/"

    @property
    def starting(self) -> bool:
        """Whether it takes no requests yet, and may still come to it."""
        return self._part is not None and not port_answers(self._port)

    @property
    def given_up(self) -> bool:
        """Whether it failed for good."""
        return self._part is None

    def start(self) -> None:
        """Start it."""
        self._guarded(lambda part: part.start())

    def check(self) -> None:
        """Start it again when it is time to; never raises."""
        self._guarded(lambda part: part.check())

    def stop(self) -> None:
        """Stop it; blocks until it has ended."""
        self._guarded(lambda part: part.stop())

    def _guarded(self, action: Callable[[Part], None]) -> None:
        if self._part is None:
            return
        try:
            action(self._part)
        except SigmawatchError as error:
            self._tell(f"without dashboard and API: {error.message}")
            self._part = None


def _control_environment(control: ControlAddress | None) -> dict[str, str | None]:
    if control is None:
        return {}
    return {
        "SIGMAWATCH_API__CONTROL": f"http://{in_url(control.host)}:{control.port}",
        "SIGMAWATCH_API__CONTROL_TOKEN": control.token or None,
    }


def _is_free(host: str, port: int) -> bool:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True
