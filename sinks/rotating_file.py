"""A file that lines are appended to, made durable on demand and rotated by size: name, name.1 (newest) ... name.N."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from schemas.errors import ConfigError

_BLOCK = 1 << 20


class RotatingFile:
    """Append-only lines; for one thread and one process (a second one is refused by a lock).

    Opening cuts off a torn last line, which a crash in the middle of a write leaves behind.

    Args:
        path: the file; its folder is made.
        rotate_bytes: a file that has grown to this size is rotated before the next lines.
        keep_files: how many rotated files are kept; older ones are deleted.
        fsync: makes a file descriptor durable; for tests.

    Raises:
        ConfigError: the file cannot be written, or another process writes it.
    """

    def __init__(
        self, path: Path, rotate_bytes: int, keep_files: int, fsync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep_files = keep_files
        self._fsync = fsync
        self._dirty = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path.with_name(f"{path.name}.lock"))
            self._descriptor = self._open()
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}", "Name another file by log_sink.path."
            ) from error
        self._size = self._cut_torn_line()

    def append(self, lines: bytes) -> None:
        """Append whole lines; they are not durable until `sync`. Rotates before them where it is time.

        Raises:
            OSError: the disk is full, or broken; the file may then end in a torn line, which `reopen` cuts off.
        """
        if self._size >= self._rotate_bytes:
            self._rotate()
        view = memoryview(lines)
        self._dirty = True
        while view:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def sync(self) -> None:
        """Make all lines durable; blocks on the disk.

        Raises:
            OSError: the disk cannot.
        """
        if self._dirty:
            self._fsync(self._descriptor)
            self._dirty = False

    def reopen(self) -> None:
        """After an OSError: begin again behind the last whole line."""
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._size = self._cut_torn_line()

    def close(self) -> None:
        """Make all lines durable and let the file go."""
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            os.close(self._lock)

    def lines_backwards(self) -> Iterator[bytes]:
        """All lines, newest first, from this file and the rotated ones; without line ends."""
        for path in [self._path, *(self._numbered(number) for number in range(1, self._keep_files + 1))]:
            if path.exists():
                yield from _lines_backwards(path)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _rotate(self) -> None:
        self.sync()
        os.close(self._descriptor)
        # From the oldest on, so that a crash in between leaves a hole in the numbers, and no file is overwritten.
        self._numbered(self._keep_files).unlink(missing_ok=True)
        for number in range(self._keep_files - 1, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).rename(self._numbered(number + 1))
        self._path.rename(self._numbered(1))
        self._descriptor = self._open()
        self._size = 0
        _sync_folder(self._path.parent, self._fsync)

    def _cut_torn_line(self) -> int:
        """Size of the file after everything behind its last line end was cut off."""
        size = os.fstat(self._descriptor).st_size
        end = size
        while end > 0:
            start = max(0, end - _BLOCK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)
            self._dirty = True
        return end


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            first, *others = (file.read(end - start) + rest).split(b"\n")
            yield from (line for line in reversed(others) if line)
            rest, end = first, start
        if rest:
            yield rest


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            f"another process writes {path.with_suffix('')}",
            "Stop it, or name another file by log_sink.path.",
        ) from error
    return descriptor


def _sync_folder(folder: Path, fsync: Callable[[int], None]) -> None:
    """Make renamed and new names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
