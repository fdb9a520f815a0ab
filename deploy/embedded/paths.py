"""Where the embedded parts keep things, free ports, and locks on folders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploy.embedded.errors import EmbeddedError, FolderInUseError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
_LOCK_NAME = ".lock"
_PORTS = range(17000, 32000)  # below the range that outgoing connections take theirs from


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        EmbeddedError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(
        f"cannot write to {folder}: {error.strerror}",
        "Choose another folder with SIGMAWATCH_STATE_DIR or SIGMAWATCH_CACHE_DIR.",
    )


def without_credentials(text: str) -> str:
    """Take `user:password@` out of the addresses in what another program said."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def free_port() -> int:
    """A loopback TCP port that nobody listens on now.

    Taken from below the ephemeral range: a program restarted on the same port does not find it lent to some
    outgoing connection.
    """
    for port in random.sample(_PORTS, 50):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                trial.bind((LOOPBACK, port))
                return port
    with socket.socket() as trial:
        trial.bind((LOOPBACK, 0))
        return int(trial.getsockname()[1])


def port_answers(port: int) -> bool:
    """Whether something accepts TCP connections on the loopback port."""
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex((LOOPBACK, port)) == 0


class FolderLock:
    """Holds a folder for this process, by flock on its file `.lock`, which names our process id.

    The lock ends with the process, however that ends, and with every process that inherited `fileno()`
    (the guard of a managed process holds it until its program has ended).
    """

    def __init__(self, folder: Path, purpose: str) -> None:
        self.folder = folder
        self._purpose = purpose
        self._fd: int | None = None

    def __enter__(self) -> Self:
        return self if self._fd is not None else self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, wait_seconds: float = 0.0) -> Self:
        """Take the lock; makes the folder where it is missing.

        Waits `wait_seconds`, and up to 20 s where the former holder has ended and only its program is still
        stopping.

        Raises:
            FolderInUseError: Another process holds the folder; it is named by its id.
            EmbeddedError: The folder cannot be made or written to.
        """
        make_folder(self.folder)
        try:
            fd = os.open(self.folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        begin = time.monotonic()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pid = _holder(fd)
                patience = wait_seconds if pid is None or _exists(pid) else max(wait_seconds, 20.0)
                if time.monotonic() - begin > patience:
                    os.close(fd)
                    who = "another process" if pid is None else f"process {pid}"
                    raise FolderInUseError(
                        f"{self.folder} is in use by {who} ({self._purpose})",
                        "Stop that one first, or choose another folder with SIGMAWATCH_STATE_DIR.",
                        pid=pid,
                    ) from None
                time.sleep(0.05)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return self

    def holder(self) -> int | None:
        """The process that holds the folder now, None if it is free or its holder is unknown."""
        try:
            fd = os.open(self.folder / _LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(fd)
        finally:
            os.close(fd)
        return None

    def fileno(self) -> int:
        """The file descriptor that carries the lock."""
        assert self._fd is not None, "the lock is not held"
        return self._fd

    def release(self) -> None:
        """Give the folder free; the file stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _holder(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def build_once(target: Path, build: Callable[[Path], None], *, wait_seconds: float = 300.0) -> bool:
    """Make the folder `target` by `build(temporary folder)`, whole or not at all; gives whether it was built now.

    Several processes may ask at once: one builds, the others wait up to `wait_seconds`. What an interrupted
    build left is removed by the next.
    """
    if target.is_dir():
        return False
    parent = target.parent
    lock = FolderLock(parent / f".{target.name}.building", f"fetching {target.name}")
    with lock.acquire(wait_seconds):
        if target.is_dir():
            return False
        prefix = f".{target.name}.new-"
        for left in parent.glob(prefix + "*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            fresh.chmod(0o755)
            build(fresh)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return True
