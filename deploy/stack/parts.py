"""The processes of a stack: each is a `sigmawatch ...` command, and is started again when it fails."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import deploy
from deploy.cli.exits import USAGE
from deploy.embedded import ManagedProcess
from schemas.errors import ConfigError, SigmawatchError

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 15.0
_STABLE_SECONDS = 30.0  # who has run so long starts anew with the shortest pause
_GRACE_SECONDS = 20.0  # for a last checkpoint, or a last transaction


class PartError(SigmawatchError):
    """A part cannot do its work, however often it is started."""


class PartRefusedError(PartError, ConfigError):
    """A part refuses what it was given: settings, a file."""


def command_line(arguments: Sequence[str]) -> list[str]:
    """How to run `sigmawatch` with the same interpreter and the same source."""
    return [sys.executable, "-m", "deploy.cli", *arguments]


def search_path() -> str:
    """PYTHONPATH with which the parts find the packages that this process runs."""
    root = str(Path(deploy.__file__).resolve().parent.parent)
    return os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)


@dataclass(slots=True)
class Part:
    """One process of the stack.

    Attributes:
        name: as "processor 1"; also its log file's name.
        command: gives the arguments of `sigmawatch` at each start.
        environment: its settings.
        log_file: where its output goes.
        tell: says a line to people.
        ends_by_itself: whether an end with exit code 0 is as it should be.
        restarts: how often it was started again.
        finished: it ended as it should.
    """

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str | None]
    log_file: Path
    tell: Callable[[str], None]
    ends_by_itself: bool = False
    restarts: int = 0
    finished: bool = False
    before_restart: Callable[[], None] | None = None
    _process: ManagedProcess | None = None
    _wanted: bool = False
    _started_at: float = 0.0
    _backoff: float = _FIRST_BACKOFF
    _restart_at: float | None = None
    _failures: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it; returns when it runs.

        Raises:
            StartError: it cannot be executed.
        """
        self._wanted = True
        self._restart_at = None
        self._started_at = time.monotonic()
        self._process = ManagedProcess(
            command_line(self.command()),
            name=self.name,
            log_file=self.log_file,
            env={"PYTHONPATH": search_path(), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **self.environment},
            grace_seconds=_GRACE_SECONDS,
        ).start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process is not None else None

    @property
    def stable(self) -> bool:
        """Whether it has not failed in a row."""
        return len(self._failures) < 3

    def check(self) -> None:
        """See how it does, and start it again when it is time to; call this often.

        Raises:
            PartError: it ended for a reason that a restart does not change.
        """
        if not self._wanted or self.finished or self._process is None:
            return
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self.restarts += 1
                self.start()
            return
        if self._process.alive:
            if self._failures and time.monotonic() - self._started_at > _STABLE_SECONDS:
                self._failures.clear()
                self._backoff = _FIRST_BACKOFF
            return
        self._ended(self._process.returncode)

    def _ended(self, code: int | None) -> None:
        if code == 0 and self.ends_by_itself:
            self.finished = True
            return
        assert self._process is not None
        if code == USAGE:
            raise PartRefusedError(f"{self.name}: {self.last_words()}")
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        self._failures.append(how)
        self.tell(
            f"{self.name} was {how}; starting it again in {self._backoff:g} s ({self.log_file})"
            if how.startswith("killed")
            else f"{self.name} {how}: {self.last_words()}; starting it again in {self._backoff:g} s ({self.log_file})"
        )
        if self.before_restart is not None:
            self.before_restart()
        self._restart_at = time.monotonic() + self._backoff
        self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF)

    def last_words(self) -> str:
        """What it said last, best an error's line."""
        if self._process is None:
            return "it was not started"
        lines = [line.strip() for line in self._process.log_tail(60).splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it said nothing"])[-1][:500]

    def stop(self, grace_seconds: float | None = None) -> None:
        """Stop it in order, and do not start it again; blocks until it has ended."""
        self._wanted = False
        self._restart_at = None
        if self._process is not None:
            self._process.stop(grace_seconds=grace_seconds)
            self.finished = self.finished or self._process.returncode == 0

    def ask_to_stop(self) -> None:
        """Ask it to stop, and do not start it again; returns at once (see `alive`)."""
        self._wanted = False
        self._restart_at = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
