"""The guard: a small process between us and an embedded program, so that the program never outlives us.

Run as a script by `deploy.embedded.process`, by path and isolated (it imports the standard library only):
standard input is a stream socket. The first line from the parent is the specification (JSON), later lines
are orders; lines to the parent are reports:

    parent -> guard   {"argv", "env", "cwd", "uid", "gid", "userns", "stop_signal", "grace", "parent"}
                      {"signal": N}                        to the program's process group (pauses: to all below it)
                      {"stop": N, "grace": seconds}        signal N, and SIGKILL after the grace
    guard -> parent   {"pid": N} or {"error": "..."}       started, or not
                      {"signalled": N}                     the signal has been sent, a pause has taken hold
                      {"exit": code}                       ended: exit status, negative for a signal

When the socket closes (the parent ended, however: SIGKILL too) or the parent process changes (a fork of the
parent kept the socket open), the guard stops the program by itself. On Linux it is the reaper of whatever the
program leaves behind, also of what made a session of its own (PostgreSQL's backends), and ends that as well;
should the guard itself be killed, the kernel kills the program. The guard lives in a session of its own and
the program in another: Ctrl-C in the terminal reaches neither.

`guard.py --probe-userns UID` exits 0 where this machine lets us become UID in a user namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000
_FREEZE_SECONDS = 2.0
_FOR_ALL = (signal.SIGSTOP, signal.SIGCONT)
_PARENT_POLL_SECONDS = 1.0  # only for parents that forked; the socket's end is seen at once


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Become `uid` in a new user namespace where that id stands for the current one: files stay whose they were."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {outside_gid} 1", encoding="ascii")


def _state(pid: int) -> str:
    """The letter of a process's state in /proc; Z (dead) where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "Z"
    return text.rpartition(")")[2].split()[0]


def _descendants(root: int) -> list[int]:
    """Process ids below `root`, parents first (Linux; elsewhere none are known)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, IndexError, ValueError):
            # The name in parentheses may hold anything; the fields after it are plain.
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


class Guard:
    """Starts the program, obeys the parent, and ends with the program."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        self._buffer = b""
        self._orphaned = False
        self._kill_at: float | None = None

    def run(self) -> int:
        """Run the program to its end; gives 0 when the end was reported or nobody is left to hear it."""
        spec = self._read_spec()
        if spec is None:
            return 0
        self._parent_pid: int = spec["parent"]
        self._stop_signal: int = spec["stop_signal"]
        self._grace: float = spec["grace"]
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for name in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(name, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._stop(self._stop_signal, self._grace))
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            self._program = self._start(spec)
        except (OSError, subprocess.SubprocessError) as error:
            self._report({"error": str(error)})
            return 0
        self._report({"pid": self._program.pid})
        self._watch(wake_read)
        self._end_leftovers()
        self._report({"exit": self._program.returncode})
        return 0

    def _read_spec(self) -> dict[str, Any] | None:
        while b"\n" not in self._buffer:
            data = self._parent.recv(65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        spec: dict[str, Any] = json.loads(line)
        return spec

    def _start(self, spec: dict[str, Any]) -> subprocess.Popen[bytes]:
        def in_the_child() -> None:
            if spec["userns"]:
                _enter_user_namespace(spec["uid"], spec["gid"])
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            for name in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(name, signal.SIG_DFL)

        drop = spec["uid"] is not None and not spec["userns"]
        return subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd=spec["cwd"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=in_the_child,  # noqa: PLW1509 - this process has one thread
            user=spec["uid"] if drop else None,
            group=spec["gid"] if drop else None,
            extra_groups=[] if drop else None,
        )

    def _watch(self, wake: int) -> None:
        while self._program.poll() is None:
            now = time.monotonic()
            if self._kill_at is not None and now >= self._kill_at:
                self._signal(signal.SIGKILL)
                self._kill_at = None
            wait = _PARENT_POLL_SECONDS
            if self._kill_at is not None:
                wait = min(wait, self._kill_at - now)
            watched = [wake] if self._orphaned else [wake, self._parent.fileno()]
            ready, _, _ = select.select(watched, [], [], max(0.0, wait))
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            if self._parent.fileno() in ready:
                self._obey()
            if not self._orphaned and os.getppid() != self._parent_pid:
                self._lose_parent()

    def _obey(self) -> None:
        try:
            data = self._parent.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._lose_parent()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "signal" in order:
                self._signal(order["signal"])
                self._report({"signalled": order["signal"]})
            elif "stop" in order:
                self._stop(order["stop"], order["grace"])

    def _lose_parent(self) -> None:
        self._orphaned = True
        if self._kill_at is None:
            self._stop(self._stop_signal, self._grace)

    def _stop(self, number: int, grace: float) -> None:
        self._kill_at = time.monotonic() + grace
        # The main process alone is asked: it knows best in which order its own children end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._program.pid, number)
        self._signal(signal.SIGCONT)  # a paused program could not hear it

    def _signal(self, number: int) -> None:
        """Signal the process group, and on Linux also descendants that left it (PostgreSQL's backends)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._program.pid, number)
        if number not in _FOR_ALL:
            return
        deadline = time.monotonic() + _FREEZE_SECONDS
        while True:
            family = _descendants(self._program.pid)
            for pid in family:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            # A stop takes a moment to reach one, and one may have been born meanwhile.
            awake = [pid for pid in [self._program.pid, *family] if _state(pid) not in "TtZX"]
            if number != signal.SIGSTOP or not awake or time.monotonic() > deadline:
                return
            time.sleep(0.002)

    def _end_leftovers(self) -> None:
        """Kill what the program left behind: its process group, and on Linux every descendant."""
        self._signal(signal.SIGKILL)
        while left := _descendants(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _report(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._parent.sendall(json.dumps(message).encode() + b"\n")


def _probe_user_namespace(uid: int) -> int:
    try:
        _enter_user_namespace(uid, uid)
    except OSError:
        return 1
    return 0 if os.geteuid() == uid else 1


def main() -> int:
    """Serve one parent on standard input."""
    if len(sys.argv) == 3 and sys.argv[1] == "--probe-userns":
        return _probe_user_namespace(int(sys.argv[2]))
    parent = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return Guard(parent).run()


if __name__ == "__main__":
    sys.exit(main())
