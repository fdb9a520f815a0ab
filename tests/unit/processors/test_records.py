"""Fetched record batches, taken apart by our loop and by aiokafka: the same records."""

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from processors.batches.records import from_records, parse_fetch

RECORD = st.tuples(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=60),
    st.integers(0, 2**45),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2),
)
BATCHES = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 4]), st.lists(RECORD, min_size=1, max_size=20)), max_size=4
)


def build(batches, first=0):
    """Bytes of a fetch: batches of (compression, records), offsets counting from `first`."""
    raw = bytearray()
    for compression, records in batches:
        builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
        for delta, (key, value, timestamp, headers) in enumerate(records):
            builder.append(delta, timestamp, key, value, headers)
        batch = bytearray(builder.build())
        batch[:8] = first.to_bytes(8, "big")
        raw += batch
        first += len(records)
    return bytes(raw)


def as_aiokafka_reads(raw):
    memory = MemoryRecords(raw)
    found = []
    while memory.has_next():
        found += [(r.offset, r.timestamp, r.key, r.value) for r in memory.next_batch()]
    return found


def as_we_read(fetched):
    records = fetched.records
    return [
        (int(records.offsets[i]), int(records.timestamps_ms[i]), records.key(i), records.value(i))
        for i in range(len(records))
    ]


@given(BATCHES, st.integers(0, 2**40))
def test_records_are_aiokafkas(batches, first):
    raw = build(batches, first)
    fetched = parse_fetch(raw, first)
    assert as_we_read(fetched) == as_aiokafka_reads(raw)
    assert (fetched.begin, fetched.end) == (first, first + sum(len(records) for _, records in batches))


@given(BATCHES, st.data())
def test_a_fetch_from_amid_a_batch_leaves_out_what_came_before(batches, data):
    raw = build(batches)
    count = len(as_aiokafka_reads(raw))
    begin = data.draw(st.integers(0, count))
    assert as_we_read(parse_fetch(raw, begin)) == as_aiokafka_reads(raw)[begin:]


@given(BATCHES, st.data())
def test_a_batch_that_is_cut_off_is_left_for_the_next_fetch(batches, data):
    whole = build(batches)
    torn = whole + build([(0, [(b"k", b"v" * 50, 0, [])])], 10_000)[: data.draw(st.integers(0, 60))]
    assert as_we_read(parse_fetch(torn, 0)) == as_aiokafka_reads(whole)


def test_damage_is_found_by_the_checksum():
    raw = bytearray(build([(0, [(b"key", b"value", 1, [])])]))
    raw[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        parse_fetch(bytes(raw), 0)


@given(BATCHES)
def test_the_slow_way_gives_the_same_columns(batches):
    class Record:
        def __init__(self, offset, timestamp, key, value):
            self.offset, self.timestamp, self.key, self.value = offset, timestamp, key, value

    raw = build(batches)
    fast = parse_fetch(raw, 0)
    slow = from_records([Record(*r) for r in as_aiokafka_reads(raw)], 0, fast.end)
    assert as_we_read(slow) == as_we_read(fast)
