"""The fast encoder against fastavro."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingEncoder
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.readings import Reading

CODEC = Codec(Catalogue())
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
READINGS = st.builds(
    Reading,
    TEXTS,
    TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.none() | TEXTS,
)


def batch_of(readings: list[Reading]) -> tuple[SeriesTable, ReadingBatch]:
    table = SeriesTable()
    return table, ReadingBatch.of(
        [table.series(reading.device_id, reading.metric) for reading in readings],
        [reading.time for reading in readings],
        [reading.value for reading in readings],
        [table.fault(reading.fault) for reading in readings],
    )


@settings(deadline=None)
@given(st.lists(READINGS, max_size=20))
def test_encodes_as_fastavro(readings):
    table, batch = batch_of(readings)
    assert ReadingEncoder(table, CODEC).encode(batch) == [
        CODEC.encode_reading(reading) for reading in readings
    ]


@settings(deadline=None)
@given(st.lists(st.lists(READINGS, max_size=5), max_size=5))
def test_table_may_grow_between_batches(groups):
    table = SeriesTable()
    encoder = ReadingEncoder(table, CODEC)
    for group in groups:
        batch = ReadingBatch.of(
            [table.series(reading.device_id, reading.metric) for reading in group],
            [reading.time for reading in group],
            [reading.value for reading in group],
            [table.fault(reading.fault) for reading in group],
        )
        assert encoder.encode(batch) == [CODEC.encode_reading(reading) for reading in group]


class OtherLayout:
    """A codec of a schema with the value in front."""

    def encode_reading(self, reading: Reading) -> bytes:
        return struct.pack(">bId", 0, 9, reading.value) + reading.device_id.encode()


def test_foreign_layout_goes_through_the_codec():
    readings = [Reading("a", "m", 1, 2.5), Reading("b", "m", 2, 3.5, "spike")]
    table, batch = batch_of(readings)
    other = OtherLayout()
    assert ReadingEncoder(table, other).encode(batch) == [
        other.encode_reading(reading) for reading in readings
    ]


def test_empty_batch_and_slices():
    table, batch = batch_of([Reading("a", "m", i, float(i)) for i in range(5)])
    encoder = ReadingEncoder(table, CODEC)
    assert encoder.encode(batch.rows(0, 0)) == []
    assert encoder.encode(batch.rows(1, 3)) == encoder.encode(batch)[1:3]
    assert isinstance(batch.rows(1, 3).time, np.ndarray)
