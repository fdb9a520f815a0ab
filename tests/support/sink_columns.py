"""Readings as columns without any codec, and messages without Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from schemas.columns import ReadingColumns
from schemas.dead_letters import Headers
from schemas.readings import Reading

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
TIMES = st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999)  # years 1 to 9999
READINGS = st.builds(
    Reading, TEXTS, TEXTS, TIMES, st.floats(allow_nan=False, allow_infinity=False), st.none() | TEXTS
)


def columns_of(readings: Sequence[Reading], status: Sequence[int] | None = None) -> ReadingColumns:
    """Columns that hold `readings`; the texts lie in one buffer with rubbish between them."""
    data = bytearray(b"\xee")
    spans = np.full((6, len(readings)), -1, np.int64)
    for row, reading in enumerate(readings):
        for k, text in enumerate((reading.device_id, reading.metric, reading.fault)):
            if text is not None:
                spans[2 * k, row] = len(data)
                data += text.encode()
                spans[2 * k + 1, row] = len(data)
                data += b"\xee"
    return ReadingColumns(
        data=np.frombuffer(bytes(data), np.uint8),
        device_start=spans[0],
        device_end=spans[1],
        metric_start=spans[2],
        metric_end=spans[3],
        time=np.array([reading.time for reading in readings], np.int64),
        value=np.array([reading.value for reading in readings], np.float64),
        fault_start=spans[4],
        fault_end=spans[5],
        status=np.array(status if status is not None else [0] * len(readings), np.uint8),
    )


@dataclass
class FakeMessage:
    """What is used of confluent_kafka's Message."""

    at: int
    payload: bytes | None = b""
    name: bytes | None = b"key"
    time_ms: int = 1_700_000_000_000
    extra: Headers | None = field(default=None)

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.payload

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms

    def headers(self) -> Headers | None:
        return self.extra
