"""What a fetch brought, as columns: the record batches taken apart without an object per record."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiokafka import codec as codecs
from aiokafka.errors import CorruptRecordException
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from processors.batches.records_kernel import CORRUPT, parse_records

_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END = struct.calcsize(">qi")
_CRC_END = struct.calcsize(">qiibI")
_CONTROL, _APPEND_TIME = 0x20, 0x08
_DECOMPRESS = {
    1: codecs.gzip_decode,
    2: codecs.snappy_decode,
    3: codecs.lz4_decode,
    4: codecs.zstd_decode,
}


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """n records of one partition.

    Attributes:
        data: (bytes,) what the spans point into.
        offsets: (n,) ascending.
        timestamps_ms: (n,) Kafka timestamps.
        keys, values: (2, n) start and end in `data`; start -1 for null.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    keys: NDArray[np.int64]
    values: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def since(self, offset: int) -> "RecordColumns":
        """The records from `offset` on."""
        first = int(np.searchsorted(self.offsets, offset))
        if first == 0:
            return self
        return RecordColumns(
            self.data,
            self.offsets[first:],
            self.timestamps_ms[first:],
            self.keys[:, first:],
            self.values[:, first:],
        )

    def key(self, row: int) -> bytes | None:
        """Key of a record."""
        return self._bytes(self.keys, row)

    def value(self, row: int) -> bytes | None:
        """Value of a record."""
        return self._bytes(self.values, row)

    def _bytes(self, spans: NDArray[np.int64], row: int) -> bytes | None:
        start, end = spans[:, row]
        return None if start < 0 else self.data[start:end].tobytes()


@dataclass(frozen=True, slots=True)
class Fetched:
    """The log of one partition from `begin` to `end` (exclusive), as a fetch at `begin` brought it.

    Offsets without a record in `records` are holes of the log itself (compaction, control records).
    """

    begin: int
    end: int
    records: RecordColumns


def parse_fetch(raw: bytes, begin: int) -> Fetched:
    """Take a fetch response's record batches apart.

    Args:
        raw: batches of message format 2, back to back; the last may be cut off, as brokers do.
        begin: the offset that was asked for; earlier records of the first batch are left out.

    Raises:
        CorruptRecordException: a checksum or the structure is wrong.
        NotImplementedError: a batch of message format 0 or 1 (written before Kafka 0.11).
    """
    payloads: list[bytes | memoryview] = []
    heads: list[tuple[int, int, int, int, int, int]] = []
    size, end = 0, begin
    for head, payload in _batches(raw):
        base_offset, _, _, _, _, attributes, last_delta, first_time, max_time, _, _, _, count = head
        end = base_offset + last_delta + 1
        if attributes & _CONTROL:
            continue
        appended = max_time if attributes & _APPEND_TIME else -1
        heads.append((size, size + len(payload), base_offset, first_time, appended, count))
        payloads.append(payload)
        size += len(payload)
    columns = np.array(heads, np.int64).reshape(len(heads), 6).T
    n = int(columns[5].sum())
    offsets, timestamps = np.empty(n, np.int64), np.empty(n, np.int64)
    keys, values = np.empty((2, n), np.int64), np.empty((2, n), np.int64)
    data = np.frombuffer(b"".join(payloads), np.uint8)
    if parse_records(data, *columns, offsets, timestamps, keys, values) == CORRUPT:
        raise CorruptRecordException("a record is not as long as it says")
    return Fetched(
        begin, max(end, begin), RecordColumns(data, offsets, timestamps, keys, values).since(begin)
    )


def _batches(raw: bytes) -> Iterator[tuple[tuple[Any, ...], bytes | memoryview]]:
    """Head and uncompressed payload of each whole batch."""
    view, position = memoryview(raw), 0
    while position + _HEAD.size <= len(raw):
        head = _HEAD.unpack_from(raw, position)
        behind = position + _LENGTH_END + head[1]
        if behind > len(raw):
            return
        if head[3] != 2:
            raise NotImplementedError(f"message format {head[3]}")
        if calc_crc32c(raw[position + _CRC_END : behind]) != head[4]:
            raise CorruptRecordException(f"wrong checksum of the batch at offset {head[0]}")
        payload: bytes | memoryview = view[position + _HEAD.size : behind]
        decompress = _DECOMPRESS.get(head[5] & 0x07)
        yield head, payload if decompress is None else decompress(bytes(payload))
        position = behind


def from_records(records: Iterable[Any], begin: int, end: int) -> Fetched:
    """The same from aiokafka's ConsumerRecord objects: the slow way, for what `parse_fetch` leaves out."""
    rows = [record for record in records if record.offset >= begin]
    parts: list[bytes] = []
    size = 0
    spans = np.full((2, 2, len(rows)), -1, np.int64)
    for row, record in enumerate(rows):
        for which, field in enumerate((record.key, record.value)):
            if field is not None:
                spans[which, :, row] = size, size + len(field)
                parts.append(field)
                size += len(field)
    return Fetched(
        begin,
        end,
        RecordColumns(
            np.frombuffer(b"".join(parts), np.uint8),
            np.array([record.offset for record in rows], np.int64),
            np.array([record.timestamp for record in rows], np.int64),
            spans[0],
            spans[1],
        ),
    )
