"""`ManagedProcess`: a program that is surely stopped.

Between us and the program stands a guard process (`deploy.embedded.guard`), which stops the program on order,
or when this process ends in whatever way: normally, by an exception, by a signal, by SIGKILL. Ctrl-C in a
terminal reaches neither guard nor program, so that a stack can drain before its parts stop. POSIX only.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from deploy.embedded.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_PROBE_SECONDS = 0.02  # between two looks for readiness
_REPORT_SECONDS = 15.0  # for the guard, a bare interpreter, to start the program on a loaded machine

_LOG_BYTES = 10 * 1024 * 1024  # a longer log is put aside at the next start

_running: list[ManagedProcess] = []


@dataclass(frozen=True)
class Identity:
    """Whom a program runs as: another user, or with `namespace` that user inside a user namespace of ours.

    In a namespace the user id stands for our own: the program's files belong to us outside.
    """

    uid: int
    gid: int
    namespace: bool = False


def user_namespaces_work(uid: int) -> bool:
    """Say whether this machine lets us become `uid` in a user namespace. Blocks some 30 ms."""
    if sys.platform != "linux":
        return False
    argv = [sys.executable, "-I", "-S", str(_GUARD), "--probe-userns", str(uid)]
    probe = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return probe.returncode == 0


class ManagedProcess:
    """One program with its log file; start it with `start()` or as a context manager.

    Args:
        argv: The program and its arguments.
        name: What messages call it.
        log_file: Where its standard output and error are appended; None leaves them on ours.
        env: Variables added to our environment (None as a value takes one away).
        cwd: Its working folder.
        identity: Whom it runs as, if not as us.
        stop_signal: The signal that asks it to end.
        grace_seconds: How long it may take before SIGKILL, also when this process is killed.
        hold_fds: File descriptors that the guard keeps open until the program has ended (folder locks).

    All methods may be called from any thread. A stopped process can be started again.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log_file: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        identity: Identity | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 10.0,
        hold_fds: Sequence[int] = (),
    ) -> None:
        self.argv = list(argv)
        self.name = name
        self.log_file = log_file
        self._env = dict(env or {})
        self._cwd = cwd
        self._identity = identity
        self._stop_signal = stop_signal
        self._grace = grace_seconds
        self._hold_fds = tuple(hold_fds)
        self._lock = threading.RLock()
        self._guard: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._pid: int | None = None
        self._returncode: int | None = None
        self._log_start = 0
        self._error = ""
        self._signals_due = 0
        self._owner = os.getpid()

    def __repr__(self) -> str:
        state = f"pid {self._pid}" if self._guard is not None else f"ended with {self._returncode}"
        return f"ManagedProcess({self.name}, {state})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The program's process id, None before the first start."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the program runs (a paused one does)."""
        return self._guard is not None and self._take_reports(0.0)

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None before the first start and while it runs."""
        return None if self.alive else self._returncode

    @property
    def memory_bytes(self) -> int | None:
        """Resident memory of the program's main process; None when it does not run, or not on Linux."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self._pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") if self.alive else None
        return None

    def start(self) -> Self:
        """Start the program and return once it runs; blocks some 50 ms.

        Raises:
            StartError: The program cannot be executed.
        """
        with self._lock:
            if self.alive:
                return self
            self._launch_guard()
            self._send(self._specification())
            deadline = time.monotonic() + _REPORT_SECONDS
            while self._pid is None and self._take_reports(deadline - time.monotonic()):
                if time.monotonic() > deadline:
                    self._abandon_guard()
                    raise StartError(f"{self.name}: its guard process does not answer")
            if self._pid is None:
                raise StartError(f"{self.name}: cannot run {self.argv[0]}: {self._error}")
            return self

    def _launch_guard(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as files, theirs:
            on_failure = files.enter_context(contextlib.ExitStack())
            on_failure.callback(ours.close)
            log: IO[bytes] | None = None
            if self.log_file is not None:
                self.log_file.parent.mkdir(parents=True, exist_ok=True)
                _rotate(self.log_file)
                log = files.enter_context(self.log_file.open("ab"))
                self._log_start = log.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD)],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._hold_fds,
            )
            on_failure.pop_all()
        self._socket, self._buffer, self._pid, self._returncode = ours, b"", None, None
        self._error = "its guard process was killed"
        self._owner = os.getpid()
        _running.append(self)

    def _abandon_guard(self) -> None:
        assert self._guard is not None
        self._guard.kill()  # the kernel then kills what it may have started
        self.wait()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the program's end; gives its exit status, None if it still runs after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._guard is not None:
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            if not self._take_reports(max(0.0, left)):
                break
            if left <= 0:
                return None
        return self._returncode

    def wait_ready(self, probe: Callable[[], bool], timeout: float) -> None:
        """Wait until `probe` gives True; blocks up to `timeout` seconds.

        Raises:
            StartError: The program ended before, or the time is over; shows the last lines of the log.
        """
        deadline = time.monotonic() + timeout
        while not probe():
            if not self._take_reports(_PROBE_SECONDS):
                message = f"{self.name} ended with status {self._returncode} before it was ready"
                raise StartError(message + self._quoted_log())
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {timeout:.0f} s" + self._quoted_log())

    def send_signal(self, number: int) -> None:
        """Send a signal to the program's process group; nothing happens if it has ended.

        Blocks until it has been sent, and until a pause (SIGSTOP) has taken hold: milliseconds.
        """
        with self._lock:
            self._signals_due += 1
            self._send({"signal": int(number)})
            deadline = time.monotonic() + _REPORT_SECONDS
            while self._signals_due and self._take_reports(deadline - time.monotonic()):
                if time.monotonic() > deadline:
                    break
            self._signals_due = 0

    def pause(self) -> None:
        """Freeze the program and all it started (SIGSTOP; beyond its process group on Linux only).

        All of them stand still when this returns.
        """
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused program go on (SIGCONT)."""
        self.send_signal(signal.SIGCONT)

    def stop(self, number: signal.Signals | None = None, grace_seconds: float | None = None) -> int | None:
        """Ask the program to end, kill it after the grace; gives its exit status.

        Blocks until it and all it started have ended. Interrupted, the guard goes on with it.
        """
        grace = self._grace if grace_seconds is None else grace_seconds
        self._send({"stop": int(number or self._stop_signal), "grace": grace})
        return self.wait()

    def kill(self) -> int | None:
        """End the program and all it started with SIGKILL; blocks until they have ended."""
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that this run of the program wrote to its log file."""
        if self.log_file is None:
            return ""
        try:
            with self.log_file.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - 64 * 1024))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _quoted_log(self) -> str:
        tail = self.log_tail()
        return f"; the end of {self.log_file}:\n{tail}\n" if tail else ""

    def _specification(self) -> dict[str, Any]:
        env = {key: value for key, value in {**os.environ, **self._env}.items() if value is not None}
        return {
            "argv": self.argv,
            "env": env,
            "cwd": None if self._cwd is None else str(self._cwd),
            "uid": self._identity.uid if self._identity else None,
            "gid": self._identity.gid if self._identity else None,
            "userns": self._identity is not None and self._identity.namespace,
            "stop_signal": int(self._stop_signal),
            "grace": self._grace,
            "parent": os.getpid(),
        }

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            if self._socket is not None:
                # A guard that has just ended needs no orders.
                with contextlib.suppress(OSError):
                    self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _take_reports(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a report of the guard; gives whether the program still runs."""
        connection = self._socket
        if connection is None:
            return False
        try:
            # Outside the lock: another thread must be able to send orders meanwhile.
            if not select.select([connection], [], [], max(0.0, timeout))[0]:
                return True
        except (OSError, ValueError):  # closed by another thread, which has seen the end
            return self._guard is not None
        with self._lock:
            if self._socket is not connection:
                return self._guard is not None
            if not select.select([connection], [], [], 0)[0]:
                return True
            try:
                data = connection.recv(65536)
            except ConnectionError:
                data = b""
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                report = json.loads(line)
                self._pid = report.get("pid", self._pid)
                self._returncode = report.get("exit", self._returncode)
                self._error = report.get("error", self._error)
                if "signalled" in report:
                    self._signals_due = max(0, self._signals_due - 1)
            if not data:
                self._finish()
            return self._guard is not None

    def _finish(self) -> None:
        assert self._guard is not None
        assert self._socket is not None
        self._guard.wait()
        if self._returncode is None and self._pid is not None:
            self._returncode = -signal.SIGKILL  # the guard was killed, and the kernel killed the program
        self._socket.close()
        self._guard = self._socket = None
        with contextlib.suppress(ValueError):
            _running.remove(self)


def _rotate(log_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log_file.stat().st_size > _LOG_BYTES:
            log_file.replace(log_file.with_name(log_file.name + ".1"))


@atexit.register
def _stop_all() -> None:
    for process in reversed(_running.copy()):
        if process._owner == os.getpid():  # noqa: SLF001 - a fork of ours must not stop what is not its own
            process.stop()
