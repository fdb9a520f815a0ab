"""What goes wrong between the engine and the broker must never end in a commit over readings whose anomalies are not out."""

import asyncio

import pytest
from faust.types import TP

from processors.batches.consumer import Start
from processors.changelog import Marker, marker_key, parse_key, state_key
from processors.engine.book import OneProfile
from processors.engine.series_index import SeriesName
from processors.partition import Partition
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import PublishError, SigmawatchError
from schemas.testing import readings
from tests.unit.processors.test_handler import OURS, TOPIC, batch, encoded, handler

JUNK = [b"\0\0\0\0\1junk"]
CODEC = Codec(Catalogue())


def refuse(*_args, **_more):
    raise PublishError("message refused")


async def process_and_checkpoint(subject):
    await subject.on_batch(batch(JUNK))
    await subject.checkpoint()


@pytest.mark.parametrize("where", ["send", "flush"])
def test_a_refused_message_commits_nothing_not_even_on_the_way_out(where):
    subject = handler(Catalogue())
    setattr(subject._publisher, where, refuse)

    async def scenario():
        with pytest.raises(PublishError):
            await process_and_checkpoint(subject)
        setattr(subject._publisher, where, lambda *_args, **_more: None)  # it raises once
        await subject.quiesce()

    asyncio.run(scenario())
    assert subject._consumer.commits == []
    assert subject.partitions == {}, "what was applied must be forgotten, or it would not be applied again"


def test_nothing_is_written_or_committed_for_an_epoch_that_ended():
    subject = handler(Catalogue())

    async def scenario():
        await subject.on_batch(batch(encoded(Catalogue())))
        subject.end()
        await subject.checkpoint()
        await subject.on_batch(batch(encoded(Catalogue()), first=5))

    asyncio.run(scenario())
    assert subject._publisher.sent == []
    assert subject._consumer.commits == []


def test_a_checkpoint_that_outlasts_its_epoch_commits_nothing():
    subject = handler(Catalogue())

    async def scenario():
        await subject.on_batch(batch(encoded(Catalogue())))
        subject._publisher.flush = lambda: subject.begin(2, {OURS: Start(0, None)})
        await subject.checkpoint()

    asyncio.run(scenario())
    assert subject._consumer.commits == []


def test_partitions_that_went_elsewhere_are_no_longer_checkpointed():
    subject = handler(Catalogue())

    async def scenario():
        await subject.on_batch(batch(encoded(Catalogue())))
        subject.forget([0])
        await subject.checkpoint()

    asyncio.run(scenario())
    assert subject.owned == frozenset()
    assert subject._consumer.commits == []


def test_a_topic_younger_than_the_state_is_refused():
    subject = handler(Catalogue())
    subject.partition(0).restored(marker_key("w"), Marker(1_000_000, 0).pack())
    subject._consumer.log_end = lambda tp: 500
    with pytest.raises(SigmawatchError, match="deleted and made again"):
        asyncio.run(subject.on_batch(batch(encoded(Catalogue()))))
    assert TP(TOPIC, 0) == OURS


def checkpoint_of(partition):
    """Close a checkpoint; the changelog records in the order written."""
    writes = partition.checkpoint()
    partition.closed(writes)
    return [*((key, None) for key in writes.obsolete), *writes.states, writes.marker]


def apply(partition, values, first):
    subject = handler(Catalogue())
    fetched = batch(values, first)
    partition.apply(subject._decode(fetched), first + len(values))


def test_dead_letters_count_once_where_an_owner_begins_below_the_last_marker():
    """The commit behind a marker was refused, so the next owner reads what the marker counted again, and stops amid it."""
    first = Partition(OneProfile())
    apply(first, JUNK * 10, 0)
    log = checkpoint_of(first)
    second = Partition(OneProfile())
    for record in log:
        second.restored(*record)
    second.begin(0, None)
    apply(second, JUNK * 5, 0)
    log += checkpoint_of(second)
    third = Partition(OneProfile())
    for record in log:
        third.restored(*record)
    third.begin(5, 5)
    apply(third, JUNK * 5, 5)
    assert third.dead_letters == 10


def test_superseded_keys_are_deleted_with_the_next_checkpoint_also_after_a_rebalance():
    values = [CODEC.encode_reading(reading) for reading in readings([20.0, 21.0, 22.0])]
    partition = Partition(OneProfile())
    partition.begin(0, None)
    apply(partition, values[:1], 0)
    ((old, _),) = partition.checkpoint().states
    checkpoint_of(partition)
    partition.begin(1, 1)
    apply(partition, values[1:2], 1)
    checkpoint_of(partition)
    partition.begin(2, 2)
    apply(partition, values[2:], 2)
    assert old in partition.checkpoint().obsolete


@pytest.mark.parametrize("key", [None, b"", b"x:w", b"s:w:no-metric", b"m:", b"\xff\xfe", b"s::d\0m"])
def test_foreign_changelog_keys_are_refused(key):
    with pytest.raises(SigmawatchError, match="none of ours"):
        parse_key(key)


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"next_offset": "x", "dead_letters": 0}', b"\xff"])
def test_foreign_markers_are_refused(value):
    with pytest.raises(SigmawatchError, match="none of ours"):
        Marker.unpack(value)


def test_keys_come_back_as_they_were_made():
    name = SeriesName("oven: 1/a", "température")
    assert parse_key(state_key("w1", name)) == ("w1", name)
    assert parse_key(marker_key("w1")) == ("w1", None)
