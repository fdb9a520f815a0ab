"""Bytes taken apart as far as they can be read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.letters.dissect import dissect
from deploy.letters.rendering import hex_dump
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError, RegistryUnavailableError
from schemas.readings import Device, Location, Reading
from schemas.testing import anomaly

CATALOGUE = Catalogue()
CODEC = Codec(CATALOGUE)
GOOD = CODEC.encode_reading(Reading("boiler-7", "temperature", 1_700_000_000_000_000, 21.5, "spike"))
MESSAGES = [
    GOOD,
    CODEC.encode_reading(Reading("é", "m", 1, math.nan)),
    CODEC.encode_device(
        Device(
            "d", "pump", "P", Location("Ulm", 48.4, 9.99), units={"temperature": "C"}, attributes={"a": "b"}
        )
    ),
    CODEC.encode_anomaly(anomaly()),
]


def fields(found):
    return {one.path: one.value for one in found.fields}


def test_a_whole_message_has_all_its_fields_and_no_fault():
    found = dissect(GOOD, CATALOGUE.schema, 1_700_000_000_000)
    assert (found.size, found.schema_id, found.record, found.fault) == (len(GOOD), 1, "Reading", None)
    assert fields(found) == {
        "device_id": "boiler-7",
        "metric": "temperature",
        "time": 1_700_000_000_000_000,
        "value": 21.5,
        "fault": "spike",
    }
    assert [one.start for one in found.fields[1:4]] == [one.end for one in found.fields[:3]]


def test_nested_records_and_maps_are_named_by_path():
    found = fields(dissect(MESSAGES[2], CATALOGUE.schema))
    assert found["location.name"] == "Ulm"
    assert found["location.latitude"] == 48.4
    assert found["units[temperature]"] == "C"
    assert found["attributes[a]"] == "b"


@pytest.mark.parametrize(
    ("value", "reason", "at", "what", "read"),
    [
        (None, DeadLetterReason.NULL_VALUE, 0, "no value", []),
        (b"", DeadLetterReason.TOO_SHORT, 0, "0 bytes", []),
        (b"\0\0\0", DeadLetterReason.TOO_SHORT, 3, "3 bytes", []),
        (b"{'device': 1}", DeadLetterReason.BAD_MAGIC, 0, "first byte is 123", []),
        (b"\0\0\0\0\x63abc", DeadLetterReason.UNKNOWN_SCHEMA, 1, "unknown schema id 99", []),
        (GOOD[:20], DeadLetterReason.UNDECODABLE, 14, "a text says it is 11 bytes long", ["device_id"]),
        (GOOD + b"xy", DeadLetterReason.TRAILING_BYTES, len(GOOD), "2 bytes are left over", None),
        (GOOD[:6] + b"\xff" + GOOD[7:], DeadLetterReason.UNDECODABLE, 6, "not UTF-8", []),
        (GOOD[:5] + b"\x01", DeadLetterReason.UNDECODABLE, 5, "says it is -1 bytes long", []),
    ],
)
def test_what_is_before_the_fault_is_read(value, reason, at, what, read):
    found = dissect(value, CATALOGUE.schema)
    assert (found.fault.reason, found.fault.at) == (reason, at)
    assert what in found.fault.what
    if read is not None:
        assert [one.path for one in found.fields] == read


def test_a_value_that_is_no_number_is_named_with_its_byte():
    value = CODEC.encode_reading(Reading("d", "m", 1, math.nan))
    found = dissect(value, CATALOGUE.schema, 0)
    assert (found.fault.what, found.fault.path) == ("value is NaN", "value")
    assert value[found.fault.at : found.fault.at + 8] == b"\0\0\0\0\0\0\xf8\x7f"
    assert fields(found)["device_id"] == "d"
    (line,) = [line for line in hex_dump(value, found.fault.at) if "^^" in line]
    assert f"byte {found.fault.at}" in line


@pytest.mark.parametrize(
    ("reading", "what"),
    [
        (Reading("", "m", 1, 1.0), "device_id is empty"),
        (Reading("d" * 256, "m", 1, 1.0), "longer than 255"),
        (Reading("d", "a\0b", 1, 1.0), "has a NUL"),
        (Reading("d", "m", 1, -1e200), "beyond 1e150"),
        (Reading("d", "m", -1, 1.0), "before 1970"),
        (Reading("d", "m", 172_800_000_000, 1.0), "48.0 h ahead"),
    ],
)
def test_a_reading_that_is_whole_is_judged_as_the_pipeline_does(reading, what):
    value = CODEC.encode_reading(reading)
    found = dissect(value, CATALOGUE.schema, 0)
    status = decode_readings([value], np.zeros(1, np.int64), CODEC, TimeBounds()).status[0]
    assert what in found.fault.what
    assert found.fault.reason == status


def test_a_registry_that_does_not_answer_is_said():
    def away(_schema_id):
        raise RegistryUnavailableError("no answer")

    with pytest.raises(RegistryUnavailableError):
        dissect(GOOD, away)


SCHEMAS = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string", "nonsense", {}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(lambda t: {"type": "array", "items": t}, inner)
        | st.builds(lambda t: {"type": "map", "values": t}, inner)
        | st.builds(lambda t: {"type": "record", "name": "N", "fields": [{"name": "f", "type": t}]}, inner)
        | st.just({"type": "enum", "name": "E", "symbols": ["A"]})
        | st.just({"type": "fixed", "name": "F", "size": 3})
    ),
    max_leaves=6,
)


def hostile(draw):
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return draw(st.binary(max_size=80))
    base = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 4))):
        base[draw(st.integers(0, len(base) - 1))] = draw(st.integers(0, 255))
    return bytes(base[: draw(st.integers(0, len(base)))]) + draw(st.binary(max_size=8))


@given(st.composite(hostile)())
def test_hostile_bytes_never_raise_and_agree_with_the_codec(value):
    found = dissect(value, CATALOGUE.schema, 1_700_000_000_000)
    assert all(0 <= one.start <= one.end <= len(value) for one in found.fields)
    assert found.fault is None or 0 <= found.fault.at <= len(value)
    assert list(hex_dump(value, found.fault.at if found.fault else None)) or not value
    refusal = refusal_of(value)
    if refusal is not None:
        assert found.fault is not None
        # A text that is no UTF-8 is found on the way, before what the codec looks at first.
        assert found.fault.reason in (refusal, DeadLetterReason.UNDECODABLE)


def refusal_of(value):
    """Why the codec refuses a message, None where it takes it."""
    try:
        CODEC.decode(value)
    except CodecError as error:
        return error.reason
    return None


@given(SCHEMAS, st.binary(max_size=60))
def test_hostile_schemas_never_raise(schema, body):
    whole = {"type": "record", "name": "x.Reading", "fields": [{"name": "value", "type": schema}]}
    found = dissect(b"\0\0\0\0\1" + body, lambda _: whole)
    assert len(found.fields) <= 2000
