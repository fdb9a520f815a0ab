"""Malformed messages against the decoders: each kind is the dead letter that it is said to be, always."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from producers_fakes import NOW_US, FakePublisher
from troubles_grid import START_US, Grid

from producers.batches import ReadingBatch, SeriesTable
from producers.troubles import MalformedKind, SendPublisher, Sends, Troubles, parse_troubles
from producers.troubles.malform import malform
from producers.troubles.settings import REASONS
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.columns_kernel import read_long
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError
from schemas.readings import Reading

CODEC = Codec(Catalogue())
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
READINGS = st.builds(Reading, IDS, IDS, st.integers(0, NOW_US), st.floats(-1e100, 1e100), st.none() | IDS)


def reasons(values):
    """What the compiled decoder says to message values."""
    now = np.full(len(values), NOW_US // 1000)
    return [
        DeadLetterReason(status)
        for status in decode_readings(values, now, CODEC, TimeBounds()).status.tolist()
    ]


@pytest.mark.parametrize("kind", MalformedKind)
@given(reading=READINGS, bad=st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_each_kind_is_its_dead_letter(kind, reading, bad):
    if kind is MalformedKind.NON_FINITE:
        reading = Reading(reading.device_id, reading.metric, reading.time, bad, reading.fault)
    value = malform(kind, CODEC.encode_reading(reading), reading)
    assert reasons([value]) == [REASONS[kind]]
    assert malform(kind, CODEC.encode_reading(reading), reading) == value
    if kind is not MalformedKind.NON_FINITE:  # which the codec leaves to others to judge
        with pytest.raises(CodecError) as caught:
            CODEC.decode_reading(value)
        assert caught.value.reason is REASONS[kind]


@given(READINGS)
def test_random_bytes_are_never_a_reading_by_chance(reading):
    """The length of the device id is a negative one, whatever follows."""
    value = malform(MalformedKind.RANDOM_BYTES, CODEC.encode_reading(reading), reading)
    assert read_long(np.frombuffer(value, np.uint8), 5, len(value))[0] < 0


def test_every_reason_of_broken_bytes_occurs():
    elsewhere = {
        DeadLetterReason.OK,
        DeadLetterReason.TIME_OUT_OF_BOUNDS,  # clock_skew
        DeadLetterReason.BAD_DEVICE_ID,
        DeadLetterReason.BAD_METRIC,
        DeadLetterReason.REFUSED_BY_DATABASE,
    }
    assert set(REASONS.values()) == set(DeadLetterReason) - elsewhere
    assert set(REASONS) == set(MalformedKind)


def publish(troubles, grid, end_us, bounds=None):
    publisher = FakePublisher()
    out = SendPublisher(publisher, CODEC, "readings", grid.table, bounds or TimeBounds())
    for begin in range(START_US, end_us, 10_000_000):
        out.publish(troubles.apply(grid.between(begin, begin + 10_000_000), begin + 10_000_000), end_us)
    out.publish(troubles.drain(), end_us)
    out.flush()
    return out, publisher


def test_a_stream_with_all_troubles_is_what_the_counts_say():
    grid, end_us = Grid(), START_US + 120_000_000
    settings = parse_troubles(
        [
            "late=5%",
            "out_of_order=5%",
            "duplicated=5%",
            "clock_skew=30%",
            "dropped=5%",
            "burst=30%",
            "malformed=10%",
        ]
    )
    troubles = Troubles(settings, 5, grid.table)
    out, publisher = publish(troubles, grid, end_us)
    counts = troubles.counts
    assert out.delivery.total() == len(publisher.sent) == counts.messages
    assert {message.timestamp_ms for message in publisher.sent} == {end_us // 1000}
    found = decode_readings(
        [message.value for message in publisher.sent],
        np.array([message.timestamp_ms for message in publisher.sent]),
        CODEC,
        TimeBounds(),
    )
    formed = np.flatnonzero(found.status == 0).tolist()
    readings = [found.reading(row) for row in formed]
    assert [publisher.sent[row].key for row in formed] == [reading.device_id.encode() for reading in readings]
    distinct = {(reading.device_id, reading.metric, reading.time) for reading in readings}
    assert len(distinct) == len(set(readings)) == counts.distinct == out.stored
    assert len(found) - len(formed) == counts.malformed > 100
    assert set(found.status.tolist()) == {0, *REASONS.values()}
    assert out.out_of_bounds == 0


def test_duplicates_are_identical_to_the_byte():
    grid = Grid(3)
    settings = parse_troubles(["duplicated=1", "malformed=50%", "clock_skew=1"])
    troubles = Troubles(settings, 5, grid.table)
    sends = [
        troubles.apply(grid.between(START_US, START_US + 60_000_000), START_US + 60_000_000),
        troubles.drain(),
    ]
    sends = Sends.joined(sends)
    out = SendPublisher(FakePublisher(), CODEC, "readings", grid.table, TimeBounds())
    values: dict[tuple[int, int], list] = {}
    places = zip(sends.batch.series.tolist(), sends.true_us.tolist(), strict=True)
    for place, value in zip(places, out.values(sends), strict=True):
        values.setdefault(place, []).append(value)
    assert len(values) == 360
    assert all(len(two) == 2 and two[0] == two[1] for two in values.values())


def test_clocks_beyond_the_bounds_are_counted():
    """What the processor refuses by design, by the Kafka timestamp of the very message."""
    grid, end_us = Grid(), START_US + 60_000_000
    settings = parse_troubles(["clock_skew=50%", "clock_skew.offset=1h-3h", "clock_skew.direction=ahead"])
    bounds = TimeBounds(max_ahead_us=7_200_000_000)
    troubles = Troubles(settings, 5, grid.table)
    out, publisher = publish(troubles, grid, end_us, bounds)
    timestamps = np.array([message.timestamp_ms for message in publisher.sent])
    status = decode_readings([message.value for message in publisher.sent], timestamps, CODEC, bounds).status
    refused = np.count_nonzero(status == DeadLetterReason.TIME_OUT_OF_BOUNDS)
    assert out.out_of_bounds == refused > 0
    assert out.stored == np.count_nonzero(status == 0) == troubles.counts.distinct - refused


def test_times_before_1970_are_counted():
    table = SeriesTable()
    series = table.series("d", "m")
    out = SendPublisher(FakePublisher(), CODEC, "readings", table, TimeBounds())
    out.publish(Sends.untroubled(ReadingBatch.of([series] * 2, [-1, 0], [1.0, 1.0], [-1, -1])), NOW_US)
    assert (out.out_of_bounds, out.stored) == (1, 1)
