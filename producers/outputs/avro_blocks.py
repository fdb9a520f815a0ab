"""Readings as an Avro object container file (Avro 1.12 specification, "Object Container Files")."""

import hashlib
import json
import zlib
from collections.abc import Iterable

import numpy as np

from producers.batches import ReadingBatch, SeriesTable
from producers.encode_kernel import fill, sizes
from producers.outputs.checks import checked_faults, checked_names, require_finite
from producers.packed import PackedTexts
from schemas.catalogue import Subject, packaged_versions

MAGIC = b"Obj\x01"
BLOCK_BYTES = 1 << 18
"""Large enough to deflate well, small enough that a reader holds little."""
# Encoded at once: bounds how far a block grows beyond that.
_PIECE_READINGS = 1 << 12
# The fastest level: half as fast again for a file a tenth smaller would be the next.
_DEFLATE_LEVEL = 1
_RAW_DEFLATE = -15

# The layout that the compiled loop of `producers.encode` writes.
_SCHEMA = next(
    entry.schema for entry in packaged_versions() if (entry.subject, entry.version) == (Subject.READING, 1)
)
_NO_HEADER = np.empty(0, np.uint8)


class AvroBlocks:
    """Writes batches over one `SeriesTable` as blocks of at least `BLOCK_BYTES`; the last one may be smaller.

    The marker between blocks is the schema's hash and not random: the same readings give the same file.

    Raises (from `rows`):
        ConfigError, InputError: as `Lines`.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._names = PackedTexts()
        self._faults = PackedTexts()
        self._schema = json.dumps(_SCHEMA, separators=(",", ":")).encode()
        self._marker = hashlib.blake2b(self._schema, digest_size=16).digest()
        self._bodies: list[memoryview] = []
        self._bytes = self._count = 0

    def head(self) -> bytes:
        """The file's header: its schema, how blocks are packed, and the marker between them."""
        entries = {b"avro.schema": self._schema, b"avro.codec": b"deflate"}
        metadata = b"".join(_bytes(key) + _bytes(value) for key, value in entries.items())
        return MAGIC + _long(len(entries)) + metadata + _long(0) + self._marker

    def rows(self, batch: ReadingBatch) -> Iterable[bytes]:
        """The blocks that became full."""
        for start in range(0, len(batch), _PIECE_READINGS):
            self._add(batch.rows(start, min(start + _PIECE_READINGS, len(batch))))
            if self._bytes >= BLOCK_BYTES:
                yield self._block()

    def rest(self) -> Iterable[bytes]:
        """What is not in a block yet, as one."""
        if self._count:
            yield self._block()

    def _add(self, batch: ReadingBatch) -> None:
        self._extend()
        require_finite(batch, self._table)
        names, faults = self._names, self._faults
        ends = np.empty(len(batch), np.int64)
        sizes(names.start, faults.start, 0, batch.series, batch.time, batch.fault, ends)
        out = np.empty(ends[-1], np.uint8)
        fill(
            _NO_HEADER,
            names.data,
            names.start,
            faults.data,
            faults.start,
            batch.series,
            batch.time,
            batch.value,
            batch.fault,
            out,
        )
        self._bodies.append(out.data)
        self._bytes += len(out)
        self._count += len(batch)

    def _block(self) -> bytes:
        packer = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        packed = b"".join([*map(packer.compress, self._bodies), packer.flush()])
        block = _long(self._count) + _bytes(packed) + self._marker
        self._bodies, self._bytes, self._count = [], 0, 0
        return block

    def _extend(self) -> None:
        """Take the table's new names over."""
        names = checked_names(self._table, len(self._names))
        self._names.extend(_text(device) + _text(metric) for device, metric in names)
        self._faults.extend(map(_text, checked_faults(self._table, len(self._faults))))


def _long(number: int) -> bytes:
    """A number that is not negative as Avro's zig-zag varint."""
    rest, data = number << 1, bytearray()
    while rest >= 128:
        data.append(rest & 127 | 128)
        rest >>= 7
    data.append(rest)
    return bytes(data)


def _bytes(data: bytes) -> bytes:
    return _long(len(data)) + data


def _text(text: str) -> bytes:
    return _bytes(text.encode())
