"""Opening a file for replay: packed or not, which format, and how far it has been read."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from producers.replay.rows import BadRow
from schemas.errors import ConfigError, InputError

MAX_LINE_BYTES = 8 << 20
"""A longer line is no row; without a bound, a file without line ends would have to fit into memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_AVRO_MAGIC = b"Obj\x01"
_BOM = b"\xef\xbb\xbf"
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".avro": "avro",
}

DAMAGED = (EOFError, OSError, zlib.error)
"""What reading raises where a file is truncated or its compression broken."""


class SourceFile:
    """A file opened for reading from its start; unpacks gzip. A context manager.

    Attributes:
        path: the file.
        size: its bytes on disk.
        stream: its unpacked bytes, from the start.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():
            # A pipe could be read once only: too seldom for looking into it first.
            raise InputError(f"{path} is not a regular file", "Save its contents to one.")
        try:
            self._raw = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        buffered = self._raw
        packed = buffered.peek(2)[:2] == _GZIP_MAGIC
        self.stream: IO[bytes] = (
            io.BufferedReader(gzip.GzipFile(fileobj=buffered), 1 << 16) if packed else buffered
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self._raw.close()

    def position(self) -> int:
        """Bytes of the file on disk that have been read so far."""
        return self._raw.tell()

    def head(self, count: int = 4096) -> bytes:
        """The first unpacked bytes, without reading them away; for the start of the file only.

        Raises:
            InputError: the file's compression is broken.
        """
        try:
            return self.stream.peek(count)[:count]  # type: ignore[attr-defined,no-any-return]
        except DAMAGED as error:
            raise InputError(f"{self.path} cannot be unpacked: {error}") from error


def guess_format(source: SourceFile) -> str:
    """csv, jsonl or avro, by the first bytes, then by the name.

    Raises:
        ConfigError: neither says it.
    """
    head = source.head()
    if head.startswith(_AVRO_MAGIC):
        return "avro"
    name = source.path.name.lower().removesuffix(".gz")
    by_name = _SUFFIXES.get(Path(name).suffix)
    if by_name == "avro":
        raise InputError(
            f"{source.path} is not an Avro container file: it does not begin with {_AVRO_MAGIC!r}"
        )
    if head.removeprefix(_BOM).lstrip()[:1] == b"{":
        return "jsonl"
    if by_name is None:
        raise ConfigError(
            f"{source.path}: the format is not clear from its name", "Give --format csv, jsonl or avro."
        )
    return by_name


def text_lines(source: SourceFile) -> Iterator[tuple[int, str] | BadRow]:
    """Numbered lines (from 1, with their ends), as UTF-8 with or without a byte-order mark.

    Raises:
        InputError: the file is truncated or its compression broken.
    """
    number = 0
    while True:
        try:
            line = source.stream.readline(MAX_LINE_BYTES)
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                _skip_line(source.stream)
                yield BadRow(number, "", f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
                continue
        except DAMAGED as error:
            raise InputError(
                f"{source.path}, line {number + 1}: the file is damaged from here on: {error}"
            ) from error
        if not line:
            return
        if number == 1:
            line = line.removeprefix(_BOM)
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            yield BadRow(number, "", f"byte {error.start + 1} of the line is not UTF-8")


def _skip_line(stream: IO[bytes]) -> None:
    while line := stream.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n"):
            return
