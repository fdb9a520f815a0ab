"""The wire codec: round trips, versions side by side, hostile bytes."""

import io
import json
import math
import struct
import tracemalloc
from dataclasses import replace
from uuid import UUID

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.catalogue import Catalogue, SchemaVersion, packaged_versions
from schemas.codec import Codec
from schemas.dead_letters import DeadLetterReason
from schemas.errors import CodecError, RegistryUnavailableError, UnknownSchemaError
from schemas.readings import Anomaly, AnomalySeverity, AnomalyState, Device, Location, Reading

READING_1 = Catalogue().schema(1)
ANOMALY_1 = Catalogue().schema(3)
# As a newer program might write: one severity more.
ANOMALY_3 = json.loads(json.dumps(Catalogue().schema(4)).replace('"INFO", ', '"INFO", "FATAL", '))

# As a newer program would write: a field more, at the end, with a default.
READING_2 = READING_1 | {
    "fields": [*READING_1["fields"], {"name": "quality", "type": ["null", "int"], "default": None}]
}
# As an older one might have: no fault yet, and a narrower value.
READING_0 = READING_1 | {
    "fields": [
        *READING_1["fields"][:3],
        {"name": "value", "type": "float"},
        {"name": "site", "type": {"type": "array", "items": "string"}},
    ]
}
# Laid out alike, told otherwise.
READING_ALIKE = READING_1 | {"namespace": "com.example", "doc": "another's"}
READING_MILLIS = READING_1 | {
    "fields": [
        *READING_1["fields"][:2],
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *READING_1["fields"][3:],
    ]
}
OTHERS = [
    SchemaVersion("newer", 1, 102, READING_2),
    SchemaVersion("older", 1, 100, READING_0),
    SchemaVersion("alike", 1, 103, READING_ALIKE),
    SchemaVersion("millis", 1, 104, READING_MILLIS),
    SchemaVersion("list", 1, 105, {
        "type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}],
    }),
    SchemaVersion("nulls", 1, 106, {
        "type": "record", "name": "Nulls", "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}],
    }),
    SchemaVersion("plain", 1, 107, "string"),
    SchemaVersion("broken", 1, 108, {"type": "record", "name": "Broken", "fields": [{"name": "x", "type": "nothing"}]}),
    SchemaVersion("untimely", 1, 109, READING_1 | {"fields": READING_1["fields"][:2]}),
    SchemaVersion("fatal", 1, 110, ANOMALY_3),
]  # fmt: skip
SOURCE = Catalogue([*packaged_versions(), *OTHERS])
CODEC = Codec(SOURCE)

texts = st.text(max_size=30)
longs = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=64)
readings = st.builds(Reading, texts, texts, longs, floats, st.none() | texts)
locations = st.builds(Location, texts, st.none() | floats, st.none() | floats, texts)
devices = st.builds(
    Device,
    *[texts] * 3,
    st.none() | locations,
    *[texts] * 4,
    *[st.dictionaries(texts, texts, max_size=4)] * 2,
)
anomalies = st.builds(
    Anomaly,
    st.uuids(),
    *[texts] * 3,
    st.sampled_from(AnomalyState),
    longs,
    st.none() | longs,
    *[floats] * 6,
    longs,
    st.none() | texts,
    longs,
    st.sampled_from(AnomalySeverity),
    texts,
    st.none() | floats,
    texts,
    st.none() | st.uuids(),
)


def message(schema_id, schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return struct.pack(">bI", 0, schema_id) + out.getvalue()


def same(left, right):
    """Equal, with NaN equal to NaN and -0.0 unlike 0.0."""
    return repr(left) == repr(right)


@given(readings)
@example(Reading("d", "m", 0, math.nan))
@example(Reading("", "", -(2**63), -0.0, ""))
def test_reading_round_trip(reading):
    assert same(CODEC.decode_reading(CODEC.encode_reading(reading)), reading)


@given(devices)
def test_device_round_trip(device):
    assert same(CODEC.decode_device(CODEC.encode_device(device)), device)


@given(anomalies)
def test_anomaly_round_trip(anomaly):
    assert same(CODEC.decode_anomaly(CODEC.encode_anomaly(anomaly)), anomaly)


NEW_IN_2 = {
    "severity": AnomalySeverity.WARNING,
    "channel": "",
    "expected": None,
    "reason": "",
    "storm_id": None,
}


@given(anomalies)
def test_an_anomaly_of_version_1_has_the_defaults(anomaly):
    names = [field["name"] for field in ANOMALY_1["fields"]]
    old = {name: getattr(anomaly, name) for name in names}
    data = message(3, ANOMALY_1, old | {"anomaly_id": str(anomaly.anomaly_id)})
    assert same(CODEC.decode_anomaly(data), replace(anomaly, **NEW_IN_2))
    assert list(CODEC.decode(data)[1]) == names
    assert CODEC.encode_anomaly(anomaly)[5:].startswith(data[5:])  # all that is new comes behind


def test_the_bytes_of_a_reading():
    reading = Reading("pump-1", "kPa", 1_700_000_000_000_000, 1.5, "spike")
    assert CODEC.encode_reading(reading).hex() == (
        "00000000010c70756d702d31066b50618080f28183898506000000000000f83f020a7370696b65"
    )


ANOMALY = Anomaly(
    UUID(int=5), "d", "m", "spike", AnomalyState.CLEARED, 1, 2, 0.5, 6.0, 0.0, 1.0, -4.0, 4.0, 3, None, 9,
    AnomalySeverity.CRITICAL, "jump", 0.25, "why", UUID(int=6),
)  # fmt: skip


ANOMALY_BODY_1 = (
    "4830303030303030302d303030302d303030302d303030302d3030303030303030303030350264026d0a7370696b65020202"
    "04000000000000e03f00000000000018400000000000000000000000000000f03f00000000000010c0000000000000104006"
    "0012"
)


def test_the_bytes_of_an_anomaly_do_not_move():
    new = (
        "04086a756d7002000000000000d03f06776879024830303030303030302d303030302d303030302d303030302d3030303030"
        "30303030303036"
    )
    assert CODEC.encode_anomaly(ANOMALY).hex() == "0000000004" + ANOMALY_BODY_1 + new
    bare = replace(ANOMALY, **NEW_IN_2)
    assert CODEC.encode_anomaly(bare).hex() == "0000000004" + ANOMALY_BODY_1 + "0200000000"


def test_the_bytes_of_version_1_are_read():
    data = bytes.fromhex("0000000003" + ANOMALY_BODY_1)
    assert CODEC.decode_anomaly(data) == replace(ANOMALY, **NEW_IN_2)


def test_a_severity_that_is_not_known_is_a_warning():
    record = CODEC.decode(CODEC.encode_anomaly(ANOMALY))[1]
    fatal = message(110, ANOMALY_3, record | {"severity": "FATAL"})
    assert CODEC.decode_anomaly(fatal) == replace(ANOMALY, severity=AnomalySeverity.WARNING)
    assert CODEC.decode_anomaly(message(110, ANOMALY_3, record)) == ANOMALY
    assert CODEC.decode(fatal)[1]["severity"] == "FATAL"


def test_decode_names_the_record_and_keeps_its_own_fields():
    assert CODEC.decode(CODEC.encode_reading(Reading("d", "m", 10**17, 2.0))) == (
        "Reading",
        {"device_id": "d", "metric": "m", "time": 10**17, "value": 2.0, "fault": None},
    )
    name, fields = CODEC.decode(message(102, READING_2, {**NEWER, "quality": 3}))
    assert (name, fields["quality"]) == ("Reading", 3)


NEWER = {"device_id": "d", "metric": "m", "time": 7, "value": 2.5, "fault": "drift"}


def test_a_newer_reading_is_read():
    data = message(102, READING_2, {**NEWER, "quality": 3})
    assert CODEC.decode_reading(data) == Reading("d", "m", 7, 2.5, "drift")


def test_an_older_reading_is_read():
    data = message(100, READING_0, {**NEWER, "value": 2.5, "site": ["a", "b"]})
    reading = CODEC.decode_reading(data)
    assert reading == Reading("d", "m", 7, 2.5, None)
    assert type(reading.value) is float


def test_a_catalogue_with_a_newer_reading_writes_it():
    source = Catalogue([*packaged_versions(), SchemaVersion("reading", 2, 50, READING_2)])
    codec = Codec(source)
    data = codec.encode_reading(Reading("d", "m", 7, 2.5, "drift"))
    assert data[:5] == b"\0\0\0\0\x32"
    assert codec.decode(data)[1]["quality"] is None
    assert codec.decode_reading(data) == Reading("d", "m", 7, 2.5, "drift")


def test_versions_side_by_side_in_one_codec():
    mixed = [
        CODEC.encode_reading(Reading("d", "m", 7, 2.5, "drift")),
        message(102, READING_2, {**NEWER, "quality": None}),
        message(103, READING_ALIKE, NEWER),
    ]
    assert {CODEC.decode_reading(data) for data in mixed} == {Reading("d", "m", 7, 2.5, "drift")}


def test_ids_laid_out_like_reading_1():
    # All of a catalogue are at hand; not the newer, the older, or the one in milliseconds.
    assert Codec(SOURCE).reading_prefix_ids() == {1, 103}
    assert Codec(Catalogue()).reading_prefix_ids() == {1}


class Remote:
    """A source that knows nothing before it is asked, as a registry."""

    def __init__(self):
        self.asked = []
        self.down = False

    def id_for(self, subject):
        return SOURCE.id_for(subject)

    def schema(self, schema_id):
        self.asked.append(schema_id)
        if self.down:
            raise RegistryUnavailableError("no answer")
        return SOURCE.schema(schema_id)

    def known_ids(self):
        return ()


def test_a_remote_id_joins_the_prefix_ids_once_met():
    codec = Codec(Remote())
    assert codec.reading_prefix_ids() == frozenset()
    codec.decode_reading(message(103, READING_ALIKE, NEWER))
    assert codec.reading_prefix_ids() == {103}


def test_a_schema_is_asked_for_once():
    remote = Remote()
    codec = Codec(remote)
    for _ in range(3):
        codec.decode_reading(message(102, READING_2, {**NEWER, "quality": 1}))
    assert remote.asked == [102]


def test_an_outage_is_no_bad_input_and_passes():
    remote = Remote()
    remote.down = True
    codec = Codec(remote)
    data = message(102, READING_2, {**NEWER, "quality": 1})
    with pytest.raises(RegistryUnavailableError):
        codec.decode_reading(data)
    remote.down = False
    assert codec.decode_reading(data).device_id == "d"


GOOD = CODEC.encode_reading(Reading("d", "m", 7, 2.5))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, DeadLetterReason.NULL_VALUE),
        (b"", DeadLetterReason.TOO_SHORT),
        (b"\0\0\0\0", DeadLetterReason.TOO_SHORT),
        (b"\1" + GOOD[1:], DeadLetterReason.BAD_MAGIC),
        (b'{"a":1}', DeadLetterReason.BAD_MAGIC),
        (b"\0\0\0\0\x63" + GOOD[5:], DeadLetterReason.UNKNOWN_SCHEMA),
        (b"\0\xff\xff\xff\xff" + GOOD[5:], DeadLetterReason.UNKNOWN_SCHEMA),
        (GOOD[:5], DeadLetterReason.UNDECODABLE),
        (GOOD[:-1], DeadLetterReason.UNDECODABLE),
        (GOOD + b"\0", DeadLetterReason.TRAILING_BYTES),
        (GOOD[:-1] + b"\x04", DeadLetterReason.UNDECODABLE),  # a union has no such type
        (GOOD[:-1] + b"\x02\x01" + b"text", DeadLetterReason.UNDECODABLE),  # length -1
        (GOOD[:-1] + b"\x02\x02\xff", DeadLetterReason.UNDECODABLE),  # no UTF-8
        (GOOD[:-1] + b"\x02" + b"\xfe" * 9 + b"\x01", DeadLetterReason.UNDECODABLE),  # absurd length
        (GOOD[:5] + b"\x80" * 2000, DeadLetterReason.UNDECODABLE),  # endless number
        (b"\0\0\0\0\2" + GOOD[5:], DeadLetterReason.UNDECODABLE),  # a Device's id
        (CODEC.encode_device(Device("d", "t")), DeadLetterReason.UNDECODABLE),
        (message(104, READING_MILLIS, NEWER), DeadLetterReason.UNDECODABLE),
        (b"\0\0\0\0\x6b\x02a", DeadLetterReason.UNDECODABLE),  # a schema that is no record
        (b"\0\0\0\0\x6c\x02a", DeadLetterReason.UNDECODABLE),  # a schema that is none
        (b"\0\0\0\0\x6d\x02a\x02b", DeadLetterReason.UNDECODABLE),  # a Reading without our fields
    ],
)
def test_hostile_bytes_say_why(data, reason):
    with pytest.raises(CodecError) as caught:
        CODEC.decode_reading(data)
    assert caught.value.reason is reason
    assert str(caught.value)


def test_an_unknown_schema_says_which():
    with pytest.raises(UnknownSchemaError) as caught:
        CODEC.decode(b"\0\0\0\1\0")
    assert caught.value.schema_id == 256


def test_a_deep_value_is_an_error_and_no_crash():
    with pytest.raises(CodecError, match="nested"):
        CODEC.decode(b"\0\0\0\0\x69" + b"\x02" * 1_000_000)
    assert CODEC.decode(b"\0\0\0\0\x69\x02\x02\0") == ("Node", {"next": {"next": {"next": None}}})


@pytest.mark.parametrize(
    "body",
    [
        b"\xfe\xff\xff\xff\x0f\0",  # two thousand million nulls
        b"\xff\xff\xff\xff\x0f\0\0",
        b"\xff" * 9 + b"\x01\0\0",  # -2^63 of them
    ],
)
def test_few_bytes_cannot_ask_for_much_memory(body):
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            CODEC.decode(b"\0\0\0\0\x6a" + body)
        with pytest.raises(CodecError):
            CODEC.decode_device(b"\0\0\0\0\2" + b"\0" * 3 + b"\0" * 5 + body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_anomaly_whose_id_is_no_uuid():
    data = message(3, ANOMALY_1, {
        "anomaly_id": str(UUID(int=1)), "device_id": "d", "metric": "m", "kind": "deviation", "state": "OPENED",
        "opened_at": 1, "cleared_at": None, "value": 1.0, "score": 1.0, "mean": 1.0, "std": 1.0, "lower": 1.0,
        "upper": 1.0, "readings": 1, "fault": None, "detected_at": 1,
    })  # fmt: skip
    assert CODEC.decode_anomaly(data).anomaly_id == UUID(int=1)
    with pytest.raises(CodecError, match="Anomaly"):
        CODEC.decode_anomaly(data.replace(b"00000000-0000", b"no-such-thing"))
    storm = str(UUID(int=6)).encode()
    with pytest.raises(CodecError, match="Anomaly"):
        CODEC.decode_anomaly(CODEC.encode_anomaly(ANOMALY).replace(storm, b"x" * len(storm)))


@pytest.mark.parametrize(
    "reading", [Reading("\ud800", "m", 1, 1.0), Reading("d", "m", 2**63, 1.0), Reading("d", "m", 1, 10**400)]
)
def test_what_cannot_be_written_is_said(reading):
    with pytest.raises(CodecError):
        CODEC.encode_reading(reading)


ids = st.sampled_from([1, 2, 3, 4, 100, 102, 103, 104, 105, 106, 107, 108, 109, 110])
headers = st.builds(lambda i: struct.pack(">bI", 0, i), ids) | st.binary(max_size=6)
hostile = st.builds(bytes.__add__, headers, st.binary(max_size=200))


@given(hostile)
def test_arbitrary_bytes_break_nothing(data):
    for decode in (CODEC.decode, CODEC.decode_reading, CODEC.decode_device, CODEC.decode_anomaly):
        reason = None
        try:
            decode(data)
        except CodecError as error:
            reason = error.reason
        assert reason != DeadLetterReason.OK


@given(readings | devices | anomalies, st.data())
def test_a_message_with_changed_bytes_breaks_nothing(original, data):
    encode = {Reading: CODEC.encode_reading, Device: CODEC.encode_device, Anomaly: CODEC.encode_anomaly}
    decode = {Reading: CODEC.decode_reading, Device: CODEC.decode_device, Anomaly: CODEC.decode_anomaly}
    broken = bytearray(encode[type(original)](original))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not broken:
            break
    try:
        result = decode[type(original)](bytes(broken))
    except CodecError:
        return
    assert type(result) is type(original)
