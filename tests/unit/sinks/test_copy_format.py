import struct
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer

from schemas.readings import Reading
from sinks.timescale.copy_format import encode_rows
from tests.support.sink_columns import READINGS, columns_of

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def _with_psycopg(readings: list[Reading]) -> bytes:
    """The same stream, each field dumped by psycopg."""
    transformer = Transformer()
    out = bytearray(_HEADER)
    for reading in readings:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=reading.time)
        out += struct.pack(">h", 5)
        for value in (reading.device_id, reading.metric, time, reading.value, reading.fault):
            dumped = None if value is None else transformer.get_dumper(value, PyFormat.BINARY).dump(value)
            out += struct.pack(">i", -1 if dumped is None else len(dumped)) + (dumped or b"")
    return bytes(out + b"\xff\xff")


@given(st.lists(READINGS, max_size=20))
def test_stream_is_what_psycopg_writes(readings: list[Reading]) -> None:
    stream = encode_rows(columns_of(readings), np.arange(len(readings)))
    assert stream.tobytes() == _with_psycopg(readings)


@given(st.lists(READINGS, min_size=1, max_size=10), st.data())
def test_only_the_asked_rows_in_the_asked_order(readings: list[Reading], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(readings) - 1), max_size=10))
    stream = encode_rows(columns_of(readings), np.array(rows, np.int64))
    assert stream.tobytes() == _with_psycopg([readings[row] for row in rows])


def test_bytes_by_hand() -> None:
    reading = Reading("d", "mé", 946_684_800_000_001, -0.0, None)
    body = struct.pack(">hi1si3siqidi", 5, 1, b"d", 3, "mé".encode(), 8, 1, 8, -0.0, -1)
    assert encode_rows(columns_of([reading]), np.array([0])).tobytes() == _HEADER + body + b"\xff\xff"
