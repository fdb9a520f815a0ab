"""Mosquitto, the MQTT broker, for integration tests: on a loopback port, with persistence; killed, paused, restarted."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from deploy.embedded import free_port
from tests.support.waiting import until

_SECONDS = 120.0
_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
)  # where Debian puts servers


def mosquitto_binary() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("mosquitto", path=_PATH)
    if found is None:
        pytest.skip("mosquitto is not on this machine (Debian: apt-get install mosquitto)")
    return found


class Mosquitto:
    """One broker; a context manager. Nothing it took is written to disk but by `save` and a clean `stop`.

    Args:
        folder: for its configuration, its database and its log.
        options: lines of its configuration, beside ours.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._database = folder / "data" / "mosquitto.db"
        self._database.parent.mkdir(parents=True)
        self._configuration = folder / "mosquitto.conf"
        lines = {
            "listener": f"{self.port} 127.0.0.1",
            "allow_anonymous": "true",
            "user": pwd.getpwuid(
                os.getuid()
            ).pw_name,  # started as root it would become another, without rights here
            "persistence": "true",
            "persistence_location": f"{self._database.parent}/",
            "autosave_interval": "0",
            "max_queued_messages": "0",
            "max_inflight_messages": "500",
            **(options or {}),
        }
        self._configuration.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [mosquitto_binary(), "-c", str(self._configuration), "-v"], stdout=log, stderr=log
            )
        process = self._process

        def answers() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return True
            assert process.poll() is None, self.log.read_text()
            return False

        until(answers, _SECONDS, self.log.read_text)

    def save(self) -> None:
        """Have it write its database; returns when it has."""
        before = self._stamp()
        self._signal(signal.SIGUSR1)
        until(lambda: self._stamp() != before, _SECONDS, self.log.read_text)

    def pause(self) -> None:
        """Freeze it: connections stay, and nothing is answered. `kill` ends it all the same."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _stamp(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            status = self._database.stat()
            return status.st_ino, status.st_mtime_ns
        return None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_SECONDS)
            self._process = None
