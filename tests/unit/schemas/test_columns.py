"""The compiled columns against fastavro: equal on arbitrary readings, one closed set of statuses on arbitrary bytes."""

import io
import math
import struct

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import Catalogue, SchemaVersion, packaged_versions
from schemas.codec import Codec
from schemas.columns import decode_reading_spans, decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError
from schemas.readings import Reading

LENIENT = TimeBounds(earliest_us=-(2**63), max_ahead_us=2**62)
CODEC = Codec(Catalogue())

IDS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda text: len(text.encode()) <= 255)
READINGS = st.builds(
    Reading,
    IDS,
    IDS,
    st.integers(-(2**62), 2**62),
    st.floats(-1e150, 1e150),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


def own_schema():
    """The Reading's schema file, with times as plain integers."""
    schema = next(entry.schema for entry in packaged_versions() if entry.subject == "reading")
    fields = [dict(field) for field in schema["fields"]]
    fields[2]["type"] = "long"
    return {**schema, "fields": fields}


def stamps(n):
    return np.zeros(n, np.int64)


def plain_avro(reading):
    """Bytes made by fastavro alone, from the schema file."""
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, 1))
    fastavro.schemaless_writer(
        out,
        own_schema(),
        {
            "device_id": reading.device_id,
            "metric": reading.metric,
            "time": reading.time,
            "value": reading.value,
            "fault": reading.fault,
        },
    )
    return out.getvalue()


@given(st.lists(READINGS, max_size=30))
def test_columns_are_what_fastavro_wrote(readings):
    columns = decode_readings([plain_avro(r) for r in readings], stamps(len(readings)), CODEC, LENIENT)
    assert list(columns.status) == [DeadLetterReason.OK] * len(readings)
    assert [columns.reading(i) for i in range(len(readings))] == readings


@given(st.binary(max_size=60))
def test_any_bytes_are_a_reading_to_both_or_to_neither(data):
    body = b"\0\0\0\0\1" + data
    columns = decode_readings([body], stamps(1), CODEC, LENIENT)
    try:
        reading = CODEC.decode_reading(body)
    except CodecError:
        assert columns.status[0] != DeadLetterReason.OK
        return
    if columns.status[0] == DeadLetterReason.OK:
        assert columns.reading(0) == reading
    else:  # well-formed Avro, but not a reading that the pipeline takes
        assert columns.status[0] in {
            DeadLetterReason.BAD_DEVICE_ID,
            DeadLetterReason.BAD_METRIC,
            DeadLetterReason.NON_FINITE_VALUE,
            DeadLetterReason.TIME_OUT_OF_BOUNDS,
            DeadLetterReason.UNDECODABLE,  # stricter than fastavro: varints longer than 64 bits
        }


@given(READINGS, st.data())
def test_damaged_readings_never_pass_for_whole_ones(reading, data):
    good = plain_avro(reading)
    cut = data.draw(st.integers(0, len(good) - 1))
    assert decode_readings([good[:cut]], stamps(1), CODEC, LENIENT).status[0] != DeadLetterReason.OK
    longer = decode_readings([good + b"\0"], stamps(1), CODEC, LENIENT)
    assert longer.status[0] == DeadLetterReason.TRAILING_BYTES


@given(st.lists(st.binary(max_size=40) | st.none(), max_size=20))
def test_arbitrary_bytes_give_a_reason_and_nothing_else(values):
    columns = decode_readings(values, stamps(len(values)), CODEC, LENIENT)
    for row, value in enumerate(values):
        reason = DeadLetterReason(columns.status[row])
        assert (reason is DeadLetterReason.NULL_VALUE) == (value is None)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading("", "m", 0, 1.0), DeadLetterReason.BAD_DEVICE_ID),
        (Reading("a\0b", "m", 0, 1.0), DeadLetterReason.BAD_DEVICE_ID),
        (Reading("d" * 256, "m", 0, 1.0), DeadLetterReason.BAD_DEVICE_ID),
        (Reading("d", "", 0, 1.0), DeadLetterReason.BAD_METRIC),
        (Reading("d", "m", 0, math.nan), DeadLetterReason.NON_FINITE_VALUE),
        (Reading("d", "m", 0, -math.inf), DeadLetterReason.NON_FINITE_VALUE),
        (Reading("d", "m", 0, -2e150), DeadLetterReason.NON_FINITE_VALUE),
        (Reading("d", "m", -1, 1.0), DeadLetterReason.TIME_OUT_OF_BOUNDS),
        (Reading("d", "m", 86_400_000_001, 1.0), DeadLetterReason.TIME_OUT_OF_BOUNDS),
        (Reading("d", "m", 86_400_000_000, 1.0), DeadLetterReason.OK),
    ],
)
def test_readings_that_the_pipeline_refuses_name_the_reason(reading, reason):
    assert decode_readings([plain_avro(reading)], stamps(1), CODEC, TimeBounds()).status[0] == reason


def test_newer_and_older_schemas_are_read_side_by_side():
    newer, older = own_schema(), own_schema()
    newer["fields"] = [*newer["fields"], {"name": "quality", "type": "int", "default": 0}]
    older["fields"] = older["fields"][:4]
    codec = Codec(
        Catalogue(
            [
                *packaged_versions(),
                SchemaVersion("reading", 2, 77, newer),
                SchemaVersion("reading", 3, 78, older),
            ]
        )
    )

    def written(number, schema, **extra):
        out = io.BytesIO()
        out.write(struct.pack(">bI", 0, number))
        fastavro.schemaless_writer(
            out, schema, {"device_id": "d", "metric": "m", "time": number, "value": 1.5, **extra}
        )
        return out.getvalue()

    own = Reading("d", "m", 1, 2.5, "spike")
    values = [
        plain_avro(own),
        written(77, newer, fault="drift", quality=7),
        written(78, older),
        b"\0\0\0\0\x63??",
    ]
    columns = decode_readings(values, stamps(4), codec, LENIENT)
    assert list(columns.status) == [0, 0, 0, DeadLetterReason.UNKNOWN_SCHEMA]
    assert [columns.reading(i) for i in range(3)] == [
        own,
        Reading("d", "m", 77, 1.5, "drift"),
        Reading("d", "m", 78, 1.5),
    ]


def test_spans_in_one_buffer_are_read_in_place():
    bodies = [plain_avro(Reading("d", "m", i, float(i))) for i in range(5)]
    data = np.frombuffer(b"xx".join(bodies), np.uint8)
    ends = np.cumsum([len(b) + 2 for b in bodies]) - 2
    starts = ends - [len(b) for b in bodies]
    columns = decode_reading_spans(data, starts, ends, stamps(5), CODEC, LENIENT)
    assert columns.data is data
    assert list(columns.value) == [0.0, 1.0, 2.0, 3.0, 4.0]
