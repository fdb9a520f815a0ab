"""A troubled stream on a real broker: what can be read back is what the counts say."""

import re
import time

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.batches import ReadingBatch, SeriesTable
from producers.troubles import SendPublisher, Troubles, parse_troubles
from producers.troubles.settings import REASONS
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.kafka import Publisher, client_config
from schemas.settings import KafkaSettings
from tests.support.chaos import read_all

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

PARTITIONS = 4
DEVICES = 50
SECONDS = 200
BOUNDS = TimeBounds(max_ahead_us=3_600_000_000)
TROUBLES = [
    "late=5%",
    "late.delay=10s-1m",
    "out_of_order=10%",
    "duplicated=5%",
    "duplicated.copies=2",
    "clock_skew=30%",
    "clock_skew.offset=50m-2h",  # some beyond the bounds
    "dropped=5%",
    "burst=30%",
    "burst.every=1m",
    "burst.hold=5s-20s",
    "malformed=5%",
]


@pytest.fixture
def kafka(broker):
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


@pytest.fixture
def topic(request, kafka):
    name = re.sub(r"[^\w.-]", "-", request.node.name)
    admin = AdminClient(client_config(kafka))
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(10)
    return name


def a_second(table, second):
    """One reading of each of the devices' two metrics, spread over a second."""
    series = np.arange(len(table))
    at = second * 1_000_000 + series // 2 * 20_000
    return ReadingBatch(series, at, np.round(series + second % 97 / 7, 3), np.full(len(series), -1))


def publish(kafka, topic):
    """Publish a troubled history that ends now; the stage and the publisher of it."""
    table = SeriesTable()
    for number in range(DEVICES):
        for metric in ("pressure", "temperature"):
            table.series(f"pump-{number}", metric)
    troubles = Troubles(parse_troubles(TROUBLES), 7, table)
    now = int(time.time())
    with Publisher(client_config(kafka)) as publisher:
        out = SendPublisher(publisher, Codec(Catalogue()), topic, table, BOUNDS)
        for second in range(now - SECONDS, now):
            sends = troubles.apply(a_second(table, second), (second + 1) * 1_000_000)
            out.publish(sends, time.time_ns() // 1000)
        out.publish(troubles.drain(), time.time_ns() // 1000)
        out.flush()
        assert out.delivery.total() == troubles.counts.messages
    return troubles, out


def consume(kafka, topic):
    """All messages of a topic."""
    found = read_all(kafka.bootstrap_servers, topic, PARTITIONS)
    return [message for number in sorted(found) for message in found[number]]


def test_a_topic_holds_what_the_counts_say(kafka, topic):
    troubles, out = publish(kafka, topic)
    counts = troubles.counts
    messages = consume(kafka, topic)
    assert len(messages) == counts.messages
    timestamps = np.array([message.timestamp()[1] for message in messages])
    found = decode_readings([message.value() for message in messages], timestamps, Codec(Catalogue()), BOUNDS)
    status = found.status

    readings = [found.reading(row) for row in np.flatnonzero(status == 0).tolist()]
    distinct = {(reading.device_id, reading.metric, reading.time) for reading in readings}
    assert len(distinct) == len(set(readings)) == out.stored > 10_000

    ahead = np.count_nonzero(status == DeadLetterReason.TIME_OUT_OF_BOUNDS)
    assert ahead == out.out_of_bounds > 100
    assert np.count_nonzero(status) - ahead == counts.malformed > 500
    assert set(status.tolist()) == {0, DeadLetterReason.TIME_OUT_OF_BOUNDS, *REASONS.values()}

    # Copies are the same to the byte.
    formed = np.flatnonzero((status == 0) | (status == DeadLetterReason.TIME_OUT_OF_BOUNDS)).tolist()
    assert len({(messages[row].key(), messages[row].value()) for row in formed}) == counts.distinct
    assert counts.messages == counts.readings - counts.dropped + counts.duplicates
    assert counts.readings == DEVICES * 2 * SECONDS


def test_the_order_of_a_partition_is_that_of_sending(kafka, topic):
    """What is late or held back comes behind newer readings of its own series."""
    troubles, _ = publish(kafka, topic)
    readings = []
    codec = Codec(Catalogue())
    for message in consume(kafka, topic):
        columns = decode_readings([message.value()], np.array([message.timestamp()[1]]), codec, BOUNDS)
        if not columns.status[0]:
            readings.append(columns.reading(0))
    newest, seen, overtaken = {}, set(), 0
    for reading in readings:
        series = reading.device_id, reading.metric
        if (*series, reading.time) not in seen and reading.time < newest.get(series, 0):
            overtaken += 1
        seen.add((*series, reading.time))
        newest[series] = max(newest.get(series, 0), reading.time)
    assert troubles.counts.late + troubles.counts.out_of_order > overtaken > troubles.counts.late // 2
