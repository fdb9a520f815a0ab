"""What clients of live events get: queues, marks, samples; without a broker."""

import asyncio

import pytest
from api_parts import reading
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import KafkaSettings
from sinks.api.live import LiveTail, Mark, Subscription
from sinks.api.streams import Running, Sampler
from tests.support.sink_columns import FakeMessage
from tests.support.sinks import anomaly

CODEC = Codec(Catalogue())


class PlacedMessage(FakeMessage):
    """A message of the anomalies' topic."""

    def __init__(self, number, partition, offset):
        super().__init__(offset, CODEC.encode_anomaly(anomaly(number)))
        self._partition = partition

    def partition(self):
        return self._partition


@pytest.fixture
def tail():
    return LiveTail(KafkaSettings(), "readings", "anomalies", Codec(Catalogue()))


def feed(tail, *places):
    """Anomalies at (partition, offset), in this order, each with its own number."""
    for partition, offset in places:
        tail._take_anomalies([PlacedMessage(100 * partition + offset, partition, offset)])


def everything(_):
    return True


async def _next(subscription):
    return await subscription.take(30)


def test_a_slow_client_loses_the_oldest_and_is_told():
    async def run():
        subscription = Subscription(everything, asyncio.get_running_loop(), room=3)
        subscription.offer([reading(value=float(n)) for n in range(5)])
        subscription.offer([reading(value=5.0)])
        return await _next(subscription)

    events, missed = asyncio.run(run())
    assert [event.value for event in events] == [3.0, 4.0, 5.0]
    assert missed == 3


def test_only_what_is_wanted_waits_and_quiet_is_told_as_nothing():
    async def run():
        subscription = Subscription(lambda one: one.metric == "power", asyncio.get_running_loop())
        subscription.offer([reading(), reading(metric="power")])
        found = await _next(subscription)
        return found, await subscription.take(0.01)

    (events, missed), quiet = asyncio.run(run())
    assert ([event.metric for event in events], missed) == (["power"], 0)
    assert quiet == ([], 0)


def test_who_comes_back_gets_what_came_since(tail):
    feed(tail, (0, 0), (1, 0), (0, 1), (1, 1))

    async def run(after):
        subscription, again, lost = tail.subscribe_anomalies(everything, asyncio.get_running_loop(), after)
        tail.unsubscribe(subscription)
        return [(event.partition, event.offset) for event in again], lost

    marks = [str(event.mark) for event in tail._memory.events]
    assert marks == ["1", "1.1", "2.1", "2.2"]
    assert asyncio.run(run(Mark.parse("1.1"))) == ([(0, 1), (1, 1)], 0)
    assert asyncio.run(run(Mark.parse("2.2"))) == ([], 0)
    assert asyncio.run(run(None)) == ([], 0)


def test_what_is_no_more_at_hand_is_counted(tail):
    tail._memory.since = {0: 10, 1: 3}
    feed(tail, (0, 10))

    async def run():
        return tail.subscribe_anomalies(everything, asyncio.get_running_loop(), Mark.parse("6.2"))

    _, again, lost = asyncio.run(run())
    assert [event.offset for event in again] == [10]
    assert lost == 4 + 1


def test_a_client_that_is_there_gets_what_comes(tail):
    async def run():
        subscription, _, _ = tail.subscribe_anomalies(everything, asyncio.get_running_loop(), None)
        feed(tail, (0, 7))
        events, _ = await _next(subscription)
        count = tail.clients
        tail.unsubscribe(subscription)
        return [event.offset for event in events], count

    assert asyncio.run(run()) == ([7], 1)
    assert tail.clients == 0
    assert tail.rate().anomalies > 0


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 2**63 - 1), min_size=1))
def test_a_mark_survives_being_written(offsets):
    read = Mark.parse(str(Mark(offsets)))
    assert {number: offset for number, offset in read.offsets.items() if offset} == {
        number: offset for number, offset in offsets.items() if offset
    }


@pytest.mark.parametrize("text", ["", "a", "1.", "1.-2", "1.²", "9" * 20, "1" * 20_001, "<b>"])
def test_what_is_no_mark_is_none(text):
    assert Mark.parse(text) is None


def test_a_sample_is_even_and_counts_what_it_leaves_out():
    clock = [0.0]
    sampler = Sampler(10, now=lambda: clock[0])
    assert len(sampler.pick([reading(value=float(n)) for n in range(100)])) == 1
    clock[0] = 1.0
    assert [one.value for one in sampler.pick([reading(value=float(n)) for n in range(100)])] == [
        float(n) for n in range(9, 100, 10)
    ]
    assert sampler.left_out == 189
    assert sampler.pick([]) == []


def test_slow_readings_are_all_sent():
    clock = [0.0]
    sampler = Sampler(1, now=lambda: clock[0])
    for _ in range(20):
        clock[0] += 1.0
        assert len(sampler.pick([reading()])) == 1
    assert sampler.left_out == 0


def test_mean_and_std_are_of_the_readings_before():
    running = Running()
    assert running.before(10.0) == (None, None)
    assert running.before(20.0) == (None, None)
    assert running.before(99.0) == (pytest.approx(15.0), pytest.approx(5.0))
