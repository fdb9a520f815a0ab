"""The gate in front of fastavro lets through all that fastavro writes, and nothing that reads past its end."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.wire_check import MalformedError, body_check

SCHEMA = {
    "type": "record",
    "name": "All",
    "namespace": "n",
    "fields": [
        {"name": "b", "type": "boolean"},
        {"name": "i", "type": "int"},
        {"name": "l", "type": ["null", "long"]},
        {"name": "f", "type": "float"},
        {"name": "d", "type": {"type": "double"}},
        {"name": "by", "type": "bytes"},
        {"name": "fx", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "e", "type": {"type": "enum", "name": "other.E", "symbols": ["A", "B"]}},
        {"name": "a", "type": {"type": "array", "items": {"type": "map", "values": "string"}}},
        {"name": "r", "type": {"type": "record", "name": "Inner", "fields": [{"name": "all", "type": ["null", "All"]}]}},
        {"name": "again", "type": ["null", "Four", "other.E", "n.Inner"]},
    ],
}  # fmt: skip
PARSED = fastavro.parse_schema(SCHEMA)
CHECK = body_check(SCHEMA)

leaves = st.fixed_dictionaries(
    {
        "b": st.booleans(),
        "i": st.integers(-(2**31), 2**31 - 1),
        "l": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(width=32),
        "d": st.floats(),
        "by": st.binary(max_size=9),
        "fx": st.binary(min_size=4, max_size=4),
        "e": st.sampled_from("AB"),
        "a": st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3), max_size=3),
        "r": st.just({"all": None}),
        "again": st.none() | st.just(("other.E", "B")) | st.just(("n.Inner", {"all": None})),
    }
)
values = leaves | st.builds(lambda outer, inner: outer | {"r": {"all": inner}}, leaves, leaves)


def written(value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, value)
    return out.getvalue()


@given(values, st.binary(max_size=3))
def test_what_fastavro_writes_passes_to_its_last_byte(value, behind):
    data = written(value)
    assert CHECK(data + behind, 0, 0) == len(data)


@given(values, st.data())
def test_what_is_cut_off_fails(value, data):
    whole = written(value)
    with pytest.raises(MalformedError):
        CHECK(whole[: data.draw(st.integers(0, len(whole) - 1))], 0, 0)


@given(values, st.data())
def test_what_passes_fastavro_reads_to_the_same_byte(value, data):
    broken = bytearray(written(value))
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        end = CHECK(bytes(broken), 0, 0)
    except MalformedError:
        return
    body = io.BytesIO(bytes(broken))
    try:
        fastavro.schemaless_reader(body, PARSED, None)
    except UnicodeDecodeError:  # text is left to fastavro
        return
    assert body.tell() == end


def test_blocks_with_sizes_are_read():
    check = body_check({"type": "array", "items": "long"})
    assert check(bytes([3, 4, 2, 4, 0]), 0, 0) == 5  # count -2, size 2
    with pytest.raises(MalformedError, match="block"):
        check(bytes([3, 2, 2, 4, 0]), 0, 0)


def test_int_is_narrower_than_long():
    five_bytes = b"\xfe\xff\xff\xff\x1f"
    assert body_check("long")(five_bytes, 0, 0) == 5
    with pytest.raises(MalformedError, match="32-bit"):
        body_check("int")(five_bytes, 0, 0)


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\0"])
def test_a_number_is_64_bits(data):
    with pytest.raises(MalformedError, match="64"):
        body_check("long")(data, 0, 0)


@pytest.mark.parametrize(
    "schema",
    [None, 5, "nothing", {"type": "record"}, {"type": "record", "name": "R", "fields": [{}]}, {"type": "fixed", "name": "F"}],
)  # fmt: skip
def test_what_is_no_schema(schema):
    with pytest.raises(MalformedError):
        body_check(schema)
