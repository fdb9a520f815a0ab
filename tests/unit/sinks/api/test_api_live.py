"""What clients of live events get: queues, marks, samples; without a broker."""

import asyncio

import pytest
from api_parts import reading
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import RegistryUnavailableError
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

    def topic(self):
        return "anomalies"

    def partition(self):
        return self._partition


class FakeBroken(PlacedMessage):
    """One that is no anomaly."""

    def __init__(self, partition, offset):
        super().__init__(0, partition, offset)
        self._value = b"?"

    def value(self):
        return self._value


@pytest.fixture
def tail():
    return LiveTail(KafkaSettings(), "readings", "anomalies", Codec(Catalogue()))


def feed(tail, *places):
    """Anomalies at (partition, offset), in this order, each with its own number."""
    for partition, offset in places:
        tail._take_anomalies(None, [PlacedMessage(100 * partition + offset, partition, offset)])


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


class Broker:
    """Watermarks of the anomalies' partitions."""

    def __init__(self, **bounds):
        self.bounds = {int(name[1:]): both for name, both in bounds.items()}

    def get_watermark_offsets(self, place, timeout):
        assert timeout > 0
        return self.bounds[place.partition]


def subscribed(tail, after=None, wants=everything):
    """A client's subscription with what it gets again; its loop is this test's."""
    return tail.subscribe_anomalies(wants, asyncio.get_running_loop(), after)


async def taken(subscription):
    """What waits, without waiting for more."""
    found, _ = ([], 0) if subscription.mark() is not None else await subscription.take(30)
    return [(event.partition, event.offset) for event in found]


def test_a_new_client_has_a_mark_from_the_beginning(tail):
    async def run():
        unknown, _, _ = subscribed(tail)
        before = unknown.mark()
        tail._remember_starts(Broker(p0=(0, 3), p1=(0, 2000)), [0, 1])
        new, again, lost = subscribed(tail)
        return before, str(unknown.mark()), str(new.beginning), again, lost

    assert asyncio.run(run()) == (Mark({}), "3.2000", "3.2000", [], 0)


def test_what_was_before_the_server_is_no_news_to_a_new_client(tail):
    async def run():
        early, _, _ = subscribed(tail)
        tail._remember_starts(Broker(p0=(0, 2), p1=(0, 1)), [0, 1])
        late, _, _ = subscribed(tail)
        feed(tail, (0, 0), (0, 1), (1, 0))
        recalled = await taken(early), await taken(late)
        feed(tail, (0, 2))
        (event,), _ = await early.take(30)
        return recalled, (event.partition, event.offset, str(event.mark)), await taken(late)

    assert asyncio.run(run()) == (([], []), (0, 2, "3.1"), [(0, 2)])


def test_who_comes_back_while_the_server_reads_what_was_gets_nothing_twice(tail):
    async def run():
        tail._remember_starts(Broker(p0=(0, 3), p1=(0, 2)), [0, 1])
        feed(tail, (0, 0))
        back, again, _ = subscribed(tail, Mark.parse("2.1"))
        feed(tail, (0, 1), (0, 2), (1, 0), (1, 1))
        found, _ = await back.take(30)
        return again, [(event.partition, event.offset, str(event.mark)) for event in found]

    # The second mark holds the client's own place in partition 1, where the server is not yet.
    assert asyncio.run(run()) == ([], [(0, 2, "3.1"), (1, 1, "3.2")])


def test_who_is_back_before_the_server_knows_its_partitions_is_told_what_is_gone(tail):
    async def run():
        back, again, lost = subscribed(tail, Mark.parse("100"))
        tail._remember_starts(Broker(p0=(0, 5000)), [0])
        found, missed = await back.take(30)
        return again, lost, found, missed, str(back.beginning)

    assert asyncio.run(run()) == ([], 0, [], 4400, "4500")


def test_a_partition_that_could_not_be_assigned_stays_where_it_was(tail):
    async def run():
        client, _, _ = subscribed(tail)
        tail._remember_starts(Broker(p0=(0, 10)), [0])
        tail._remember_starts(Broker(p0=(0, 14)), [0])
        return str(client.beginning)

    assert asyncio.run(run()) == "10"


def test_what_a_registry_that_is_away_hinders_is_read_again(tail, monkeypatch):
    """From the first message on that could not be read, in each of their partitions."""
    sought = []

    class Consumer:
        def seek(self, place):
            sought.append((place.partition, place.offset))

    def away(_):
        raise RegistryUnavailableError("away")

    messages = [PlacedMessage(n, partition, n) for n, partition in [(0, 0), (1, 0), (2, 1), (3, 0), (4, 1)]]
    tail._take_anomalies(Consumer(), messages[:1])
    monkeypatch.setattr(tail._codec, "decode_anomaly", away)
    with pytest.raises(RegistryUnavailableError):
        tail._take_anomalies(Consumer(), messages[1:])
    assert sorted(sought) == [(0, 1), (1, 2)]
    assert tail._memory.ends == {0: 1}


def test_a_partition_that_comes_later_is_new_from_its_beginning(tail):
    async def run():
        client, _, _ = subscribed(tail)
        tail._remember_starts(Broker(p0=(0, 5)), [0])
        tail._assigned.add(("anomalies", 0))
        tail._remember_starts(Broker(p1=(0, 2)), [1])
        feed(tail, (1, 0), (1, 1))
        return await taken(client)

    assert asyncio.run(run()) == [(1, 0), (1, 1)]


def test_a_mark_of_another_log_begins_at_the_end(tail):
    async def run():
        tail._remember_starts(Broker(p0=(0, 2)), [0])
        client, again, lost = subscribed(tail, Mark.parse("900"))
        feed(tail, (0, 0), (0, 1), (0, 2))
        return str(client.beginning), again, lost, await taken(client)

    assert asyncio.run(run()) == ("2", [], 0, [(0, 2)])


def test_a_topic_that_is_made_anew_while_clients_listen(tail):
    async def run():
        tail._remember_starts(Broker(p0=(0, 7)), [0])
        client, _, _ = subscribed(tail)
        feed(tail, (0, 7))
        first = await taken(client)
        feed(tail, (0, 0), (0, 1))
        found, _ = await client.take(30)
        _, again, lost = subscribed(tail, Mark.parse("1"))
        return (
            first,
            [(event.offset, str(event.mark)) for event in found],
            [one.offset for one in again],
            lost,
        )

    assert asyncio.run(run()) == ([(0, 7)], [(0, "1"), (1, "2")], [1], 0)


def test_what_is_not_for_a_client_moves_its_mark_but_not_past_what_waits(tail):
    async def run():
        client, _, _ = subscribed(tail, wants=lambda event: event.partition == 1)
        feed(tail, (0, 0), (0, 1))
        passed = str(client.mark())
        tail._take_anomalies(None, [FakeBroken(0, 2)])
        unreadable = str(client.mark())
        feed(tail, (1, 0), (0, 3))
        waiting = client.mark()
        await client.take(30)
        return passed, unreadable, waiting, str(client.mark())

    assert asyncio.run(run()) == ("2", "3", None, "4.1")


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
