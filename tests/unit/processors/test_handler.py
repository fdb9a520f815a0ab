"""The handler without Faust or Kafka: outages of the schema registry, and batches that do not fit."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from faust.types import TP

from processors.batches.consumer import Batch, Start
from processors.batches.records import Fetched, from_records
from processors.detection.renewal import Renewal
from processors.engine.book import OneProfile
from processors.handler import ProcessorHandler
from processors.metrics import Metrics
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import RegistryUnavailableError
from schemas.testing import readings

TOPIC = "readings"
OURS = TP(TOPIC, 0)
READINGS = readings([20.0, 21.0, 22.0, 23.0, 24.0])


class FlakyRegistry:
    """The catalogue's schemas under ids that have to be asked for; out of reach for the first questions."""

    SHIFT = 1000

    def __init__(self, outages):
        self.outages = outages
        self.asked = 0
        self._schemas = Catalogue()

    def id_for(self, subject):
        return self._schemas.id_for(subject) + self.SHIFT

    def known_ids(self):
        return ()

    def schema(self, schema_id):
        self.asked += 1
        if self.asked <= self.outages:
            raise RegistryUnavailableError("the registry does not answer")
        return self._schemas.schema(schema_id - self.SHIFT)


@dataclass
class FakePublisher:
    sent: list = field(default_factory=list)

    def send(self, topic, key, value, **more):
        self.sent.append((topic, key, value, more.get("headers")))

    def flush(self, timeout=None):
        pass


@dataclass
class FakeConsumer:
    commits: list = field(default_factory=list)
    rewinds: list = field(default_factory=list)
    accepts: bool = True

    async def commit_checkpoint(self, offsets):
        self.commits.append(offsets)
        return self.accepts

    def log_end(self, tp):
        return None

    def rewind(self, tp, offset, epoch):
        self.rewinds.append((tp, offset, epoch))


def handler(source):
    made = ProcessorHandler(
        topic=TOPIC,
        anomalies_topic="anomalies",
        changelog_topic="changelog",
        group="group",
        renewal=Renewal(OneProfile()),
        bounds=TimeBounds(),
        checkpoint_readings=1000,
        codec=Codec(source),
        publisher=FakePublisher(),
        restorer=lambda partition: [],
        metrics=Metrics(),
    )
    made.attach(FakeConsumer())
    made.begin(1, {OURS: Start(0, None)})
    return made


def batch(values, first=0, epoch=1):
    rows = [
        SimpleNamespace(key=b"device-1", value=value, offset=first + i, timestamp=1_700_000_000_000)
        for i, value in enumerate(values)
    ]
    return Batch(OURS, epoch, from_records(rows, first, first + len(rows)))


def encoded(source):
    writer = Codec(FlakyRegistry(0)) if isinstance(source, FlakyRegistry) else Codec(source)
    return [writer.encode_reading(reading) for reading in READINGS]


def test_a_registry_outage_is_waited_out_and_fills_no_dead_letter_topic(monkeypatch):
    registry = FlakyRegistry(outages=6)
    subject = handler(registry)
    waits = []

    async def no_sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("processors.handler.asyncio.sleep", no_sleep)
    asyncio.run(subject.on_batch(batch(encoded(registry))))
    assert waits == sorted(waits)
    assert len(waits) == 6
    assert max(waits) <= 10
    assert subject.partitions[0].engine.counts()["readings"] == len(READINGS)
    assert subject._publisher.sent == []
    assert subject.partitions[0].dead_letters == 0


def test_an_outage_holds_up_the_checkpoint_until_the_batch_is_whole():
    registry = FlakyRegistry(outages=1)
    subject = handler(registry)

    async def both():
        await asyncio.gather(subject.on_batch(batch(encoded(registry))), subject.checkpoint())

    asyncio.run(both())
    assert subject._consumer.commits == [{OURS: len(READINGS)}]


def test_a_batch_of_another_epoch_is_dropped():
    subject = handler(Catalogue())
    asyncio.run(subject.on_batch(batch(encoded(Catalogue()), epoch=2)))
    assert subject.partitions[0].next_offset == 0
    assert subject._consumer.rewinds == []


@pytest.mark.parametrize("first", [1, 7])
def test_a_batch_that_does_not_continue_is_fetched_again(first):
    subject = handler(Catalogue())
    asyncio.run(subject.on_batch(batch(encoded(Catalogue()), first=first)))
    assert subject._consumer.rewinds == [(OURS, 0, 1)]
    assert subject.partitions[0].next_offset == 0


def test_a_refused_commit_is_repeated_with_the_next_checkpoint():
    subject = handler(Catalogue())
    subject._consumer.accepts = False

    async def run():
        await subject.on_batch(batch(encoded(Catalogue())))
        await subject.checkpoint()
        subject._consumer.accepts = True
        await subject.checkpoint()
        await subject.checkpoint()

    asyncio.run(run())
    assert subject._consumer.commits == [{OURS: 5}, {OURS: 5}]
    assert subject.partitions[0].committed_offset == 5


def test_a_hole_in_the_log_is_passed_over():
    """Compaction and transactions leave offsets without a record; the batch's end counts, not its last record."""
    subject = handler(Catalogue())
    values = batch(encoded(Catalogue())).fetched

    async def run():
        await subject.on_batch(Batch(OURS, 1, Fetched(0, 9, values.records)))
        await subject.checkpoint()

    asyncio.run(run())
    assert subject._consumer.commits == [{OURS: 9}]


def test_the_order_of_a_checkpoint_is_states_marker_commit():
    subject = handler(Catalogue())

    async def run():
        await subject.on_batch(batch(encoded(Catalogue())))
        await subject.checkpoint()

    asyncio.run(run())
    kinds = [key[:1] for topic, key, _, _ in subject._publisher.sent if topic == "changelog"]
    assert kinds == [b"s", b"m"]
    assert subject._consumer.commits == [{OURS: 5}]
