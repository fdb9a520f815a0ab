"""Where an output's bytes go: a file that has its name only when it is complete, or standard output."""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from schemas.errors import ConfigError, InputError, OutputClosedError

# A fifth of level 9's time, for files a fifth larger.
_GZIP_LEVEL = 3

Buffer = bytes | memoryview


class Target(Protocol):
    """Takes an output's bytes, in their order.

    All may block on the disk or the reader, and raise:
        OutputClosedError: the other end of a pipe is closed.
        InputError: the operating system refuses, as where the disk is full.
    """

    def write(self, data: Buffer) -> None:
        """Append bytes."""

    def flush(self) -> None:
        """Hand what was written to the operating system."""

    def finish(self) -> None:
        """End it well: a file gets its name."""

    def abandon(self, *, keep: bool) -> str:
        """End it after an error, raising nothing; returns a sentence on what is left, or ""."""


class FileTarget:
    """A file: `path` with `.part` behind until it is finished. What is no regular file (a pipe) is written as it is.

    Args:
        path: Where to.
        packed: Whether to pack with gzip.
        overwrite: Whether a file that is there may be replaced.

    Attributes:
        regular: whether it is (or becomes) a regular file.

    Raises:
        ConfigError: the file exists.
        InputError: it cannot be written.
    """

    def __init__(self, path: Path, *, packed: bool = False, overwrite: bool = False) -> None:
        special = path.exists() and not path.is_file()
        if path.exists() and not special and not overwrite:
            raise ConfigError(f"{path} exists", "Give another name, or --overwrite.")
        self.regular = not special
        self._path = path
        self._place = path if special else path.with_name(path.name + ".part")
        self._packed = packed
        with _explained(str(path)):
            self._file = self._place.open("wb")
        self._stream = _gzip(self._file) if packed else self._file

    def write(self, data: Buffer) -> None:
        """As `Target.write`."""
        with _explained(str(self._path)):
            self._stream.write(data)
            if not self._packed:  # a packed stream would get larger by every flush
                self._file.flush()

    def flush(self) -> None:
        """As `Target.flush`."""
        with _explained(str(self._path)):
            self._stream.flush()
            self._file.flush()

    def finish(self) -> None:
        """As `Target.finish`."""
        with _explained(str(self._path)):
            self._close()
            if self.regular:
                self._place.replace(self._path)

    def abandon(self, *, keep: bool) -> str:
        """As `Target.abandon`: what was written stays in the unfinished file."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self._file.close()
        if keep and self.regular:
            return f"What came before is in {self._place}."
        if self.regular:
            with suppress(OSError):
                self._place.unlink(missing_ok=True)
        return ""

    def _close(self) -> None:
        if self._packed:
            self._stream.close()
        self._file.flush()
        if self.regular:
            os.fsync(self._file.fileno())
        self._file.close()


class StandardOutput:
    """Standard output, through a descriptor of its own: what cannot be written is not tried again at exit.

    Raises:
        OutputClosedError, InputError: what the program printed before cannot be written.
    """

    _NAME = "standard output"

    def __init__(self) -> None:
        with _explained(self._NAME):
            sys.stdout.flush()
        try:
            self._file: IO[bytes] = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
            self._own = True
        except io.UnsupportedOperation:  # something in memory stands in for it
            self._file = sys.stdout.buffer
            self._own = False

    def write(self, data: Buffer) -> None:
        """As `Target.write`; a reader sees it at once."""
        with _explained(self._NAME):
            self._file.write(data)
            self._file.flush()

    def flush(self) -> None:
        """As `Target.flush`."""
        with _explained(self._NAME):
            self._file.flush()

    def finish(self) -> None:
        """As `Target.finish`."""
        with _explained(self._NAME):
            self._close()

    def abandon(self, *, keep: bool) -> str:
        """As `Target.abandon`."""
        del keep
        with suppress(OSError):
            self._close()
        return ""

    def _close(self) -> None:
        if self._own:
            self._file.close()
        else:
            self._file.flush()


def _gzip(file: IO[bytes]) -> IO[bytes]:
    # Without name and time in it: the same readings give the same file.
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_GZIP_LEVEL, mtime=0)  # type: ignore[return-value]


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError(f"{name}: nobody reads it any more") from error
    except OSError as error:
        raise InputError(f"{name} cannot be written: {error.strerror or error}") from error
