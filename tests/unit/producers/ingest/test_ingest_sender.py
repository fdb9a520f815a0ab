"""The thread that writes to Kafka: rounds, outages, refusals, the end."""

import asyncio
import re
import threading
import time

import pytest

from producers.clock import SystemClock
from producers.ingest.metrics import IngestMetrics
from producers.ingest.sender import DeliveryError, Sender
from schemas.errors import PublishError, RegistryError, RegistryUnavailableError
from schemas.testing import readings
from tests.support.waiting import until

LONG = 60.0


class Kafka:
    """Publisher and courier in one; `answers` is cleared while Kafka is away."""

    def __init__(self):
        self.answers = threading.Event()
        self.answers.set()
        self.given_up = threading.Event()
        self.rounds = []
        self.refusal = None
        self.closed = False

    def send(self, found, now_us):
        assert now_us > 0
        self.rounds.append(list(found))

    def flush(self, timeout=None):
        while not self.answers.wait(0.01):
            if self.given_up.is_set():
                raise PublishError("gave up waiting")
        if self.refusal:
            raise self.refusal

    def give_up(self):
        self.given_up.set()

    def close(self, timeout=0.0):
        self.closed = True


@pytest.fixture
def kafka():
    return Kafka()


@pytest.fixture
def make(kafka):
    made = []

    def sender(courier=lambda: kafka, **more):
        one = Sender(kafka, courier, SystemClock(), IngestMetrics(), **{"max_pending": 1000, **more})
        one.start()
        made.append(one)
        return one

    yield sender
    for one in made:
        one.stop(0.2)


def test_requests_that_come_meanwhile_share_a_round(make, kafka):
    sender = make()

    async def all_of_them():
        kafka.answers.clear()
        first = asyncio.create_task(sender.deliver(readings([1.0]), LONG))
        await asyncio.to_thread(until, lambda: kafka.rounds)
        others = [asyncio.create_task(sender.deliver(readings([2.0, float(n)]), LONG)) for n in range(3, 6)]
        await asyncio.sleep(0)
        assert not first.done()
        kafka.answers.set()
        await asyncio.gather(first, *others)

    asyncio.run(all_of_them())
    assert [[reading.value for reading in each] for each in kafka.rounds] == [[1], [2, 3, 2, 4, 2, 5]]
    counter = sender._metrics.readings.labels("acknowledged")
    assert counter._value.get() == 7


def test_no_readings_need_no_kafka(make, kafka):
    kafka.answers.clear()
    asyncio.run(make().deliver([], 0.1))
    assert kafka.rounds == []


def test_an_outage(make, kafka):
    sender = make()
    kafka.answers.clear()

    async def wait_in_vain():
        sent = asyncio.create_task(sender.deliver(readings([1.0]), 1.0))
        await asyncio.to_thread(until, lambda: kafka.rounds)
        return await asyncio.gather(sent, sender.deliver(readings([2.0]), 0.1), return_exceptions=True)

    in_flight, behind = asyncio.run(wait_in_vain())
    assert isinstance(in_flight, DeliveryError)
    assert in_flight.sent
    assert "may still arrive" in str(in_flight)
    assert not behind.sent
    assert "nothing was sent" in str(behind)
    sender._rounds._began -= 60  # instead of waiting for a minute
    assert re.search(r"for 6\d s", sender.trouble)
    kafka.answers.set()
    asyncio.run(sender.deliver(readings([3.0]), LONG))
    assert [[reading.value for reading in each] for each in kafka.rounds] == [[1.0], [3.0]]
    assert sender.trouble is None


def test_no_more_may_wait_than_agreed(make, kafka):
    sender = make(max_pending=5)
    kafka.answers.clear()

    async def crowd():
        large = asyncio.create_task(sender.deliver(readings([0.0] * 9), LONG))
        await asyncio.sleep(0)
        with pytest.raises(DeliveryError, match="9 readings wait for Kafka already"):
            await sender.deliver(readings([1.0]), LONG)
        kafka.answers.set()
        await large
        await sender.deliver(readings([1.0]), LONG)

    asyncio.run(crowd())


def test_a_refusal_is_passed_on_and_is_no_end(make, kafka):
    sender = make()
    kafka.refusal = PublishError("message refused: topic readings: not authorised")
    with pytest.raises(DeliveryError, match="not authorised") as caught:
        asyncio.run(sender.deliver(readings([1.0]), LONG))
    assert caught.value.sent
    assert "not authorised" in sender.trouble
    kafka.refusal = None
    asyncio.run(sender.deliver(readings([1.0]), LONG))
    assert sender.trouble is None


def test_a_registry_that_is_away_is_waited_for(make, kafka):
    states = iter([RegistryUnavailableError("away"), RegistryUnavailableError("away"), None])

    def courier():
        if error := next(states):
            raise error
        return kafka

    asyncio.run(make(courier).deliver(readings([1.0]), LONG))
    assert len(kafka.rounds) == 1


def test_a_registry_that_is_away_does_not_hinder_the_end(make, kafka):
    def courier():
        raise RegistryUnavailableError("away")

    sender = make(courier)
    until(lambda: sender.trouble == "the schema registry does not answer")
    with pytest.raises(DeliveryError, match="nothing was sent"):
        asyncio.run(sender.deliver(readings([1.0]), 0.05))
    began = time.monotonic()
    sender.stop(LONG)
    assert time.monotonic() - began < LONG / 2
    assert sender.failure is None
    assert kafka.closed


def test_an_error_that_waiting_does_not_cure_ends_it(make, kafka):
    def courier():
        raise RegistryError("no such schema")

    ended = threading.Event()
    sender = make(courier, on_failure=ended.set)
    assert ended.wait(LONG)
    sender.stop(LONG)
    assert isinstance(sender.failure, RegistryError)
    with pytest.raises(DeliveryError, match="the program is ending"):
        asyncio.run(sender.deliver(readings([1.0]), LONG))


def test_the_end_waits_for_what_is_queued_but_not_for_ever(make, kafka):
    sender = make()

    async def end(answering):
        kafka.answers.clear()
        before = len(kafka.rounds)
        first = asyncio.create_task(sender.deliver(readings([1.0]), LONG))
        await asyncio.to_thread(until, lambda: len(kafka.rounds) > before)
        second = asyncio.create_task(sender.deliver(readings([2.0]), LONG))
        await asyncio.sleep(0)
        if answering:
            threading.Timer(0.1, kafka.answers.set).start()
        await asyncio.to_thread(sender.stop, LONG if answering else 0.1)
        return await asyncio.gather(first, second, return_exceptions=True)

    assert asyncio.run(end(answering=True)) == [None, None]
    sender = make()
    outcomes = asyncio.run(end(answering=False))
    assert all(isinstance(outcome, DeliveryError) for outcome in outcomes)
