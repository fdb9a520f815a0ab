"""The bridge between an MQTT session and a Kafka that both are under the test's control."""

import json
import threading
from types import SimpleNamespace

import pytest
from producers_fakes import FakePublisher

from producers.bridge.arrivals import ArrivalJournal, key_of
from producers.bridge.bridge import Bridge, BridgeOptions
from producers.bridge.carrier import Carrier
from producers.bridge.decode import RuleReader
from producers.bridge.metrics import BridgeMetrics
from producers.clock import SystemClock
from producers.courier import Courier
from producers.rounds import Rounds
from schemas.bridge_rules import DEFAULT_RULES, BridgeRule
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import PublishError, SigmawatchError
from schemas.mqtt.link import LinkDownError
from tests.support.waiting import until

LONG = 60.0
CODEC = Codec(Catalogue())
ARRIVAL = BridgeRule(topic="now/{device_id}", metrics={"$.v": "v"})
RULES = (*DEFAULT_RULES, ARRIVAL)


class Kafka(FakePublisher):
    """A publisher that acknowledges only while `answers` is set."""

    def __init__(self):
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()
        self.given_up = threading.Event()
        self.refusal = None

    def flush(self, timeout=None):
        while not self.answers.wait(0.01):
            if self.given_up.is_set():
                raise PublishError("gave up waiting")
        if self.refusal:
            raise self.refusal
        super().flush()

    def give_up(self):
        self.given_up.set()

    def close(self, timeout=0.0):
        pass

    def readings(self):
        return [CODEC.decode_reading(sent.value) for sent in self.sent if sent.topic == "readings"]

    def dead_letters(self):
        return [sent for sent in self.sent if sent.topic == "readings.dlq"]


class Link:
    """A session: what is put into `inbox` is delivered, `events` tells what happened in which order."""

    def __init__(self):
        self.connection = 0
        self.resumed = False
        self.up = False
        self.inbox = []
        self.acknowledged = []
        self.refuse_acknowledgements = False
        self.sessions = []
        self.woken = threading.Event()
        self.closed = False
        self.error = None
        self.turns = 0

    def connect(self, stop):
        self.connection += 1
        self.resumed = self.sessions.pop(0) if self.sessions else False
        self.up = True

    def turn(self, seconds, *, reading=True):
        self.turns += 1
        if self.error is not None:
            error, self.error, self.up = self.error, None, False
            raise error
        if reading and self.inbox:
            messages, self.inbox = self.inbox, []
            return messages
        self.woken.wait(min(seconds, 0.02))
        self.woken.clear()
        return []

    def acknowledge(self, packets):
        if self.refuse_acknowledgements:
            self.refuse_acknowledgements, self.up = False, False
            raise LinkDownError("lost")
        self.acknowledged += packets

    def wake(self):
        self.woken.set()

    def close(self):
        self.closed = True


def message(packet, topic="energy/devices/d/data", payload=None, *, qos=1, dup=False, retain=False, **fields):
    if payload is None:
        values = {
            "timestamp": f"2025-01-01T00:00:{packet:02}Z",
            "power": packet,
            "voltage": 1,
            "current": 1,
            "energy": 1,
        }
        payload = json.dumps({**values, **fields}).encode()
    return SimpleNamespace(
        mid=packet, topic=topic, payload=bytearray(payload), qos=qos, dup=dup, retain=retain
    )


class Running:
    """A bridge in a thread of its own."""

    def __init__(self, journal=None, sessions=(), **options):
        self.kafka, self.link, self.metrics = Kafka(), Link(), BridgeMetrics()
        self.link.sessions = list(sessions)
        self.stop = threading.Event()
        self.error = None
        clock = SystemClock()
        rules = tuple(RuleReader(rule) for rule in RULES)

        def rounds(settle, on_failure):
            def carrier():
                courier = Courier(self.kafka, CODEC, "readings")
                return Carrier(self.kafka, courier, "readings", "bridge-1", TimeBounds(), clock)

            return Rounds(self.kafka, carrier, settle, lambda _: 1, clock, on_failure)

        self.bridge = Bridge(
            BridgeOptions(rules, **{"drain_seconds": 0.3, **options}),
            self.link,
            journal or ArrivalJournal(None),
            clock,
            self.metrics,
            rounds,
        )
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.bridge.run(self.stop)
        except SigmawatchError as error:
            self.error = error

    def count(self, fate):
        return self.metrics.messages.labels(fate)._value.get()

    def end(self):
        self.stop.set()
        self.thread.join(LONG)
        assert not self.thread.is_alive()
        return self.error


@pytest.fixture
def start():
    made = []

    def begin(**options):
        made.append(Running(**options))
        made[-1].thread.start()
        return made[-1]

    yield begin
    for one in made:
        one.kafka.answers.set()
        one.end()


def test_acknowledged_in_order_when_kafka_has_all(start):
    running = start()
    running.kafka.answers.clear()
    running.link.inbox = [message(1), message(2)]
    until(lambda: len(running.kafka.sent) >= 4)
    running.link.inbox = [message(3), message(4, payload=b"{")]
    until(lambda: running.bridge._rounds.weight == 4)
    assert running.link.acknowledged == []
    running.kafka.answers.set()
    until(lambda: running.link.acknowledged == [1, 2, 3, 4])
    values = [reading.value for reading in running.kafka.readings() if reading.metric == "power"]
    assert values == [1.0, 2.0, 3.0]
    (letter,) = running.kafka.dead_letters()
    assert letter.value == b"{"
    headers = dict(letter.headers)
    assert headers["__connect.errors.topic"] == b"energy/devices/d/data"
    assert headers["__connect.errors.connector.name"] == b"bridge-1"
    assert headers["__connect.errors.exception.class.name"] == b"UNDECODABLE"
    assert b"no JSON" in headers["__connect.errors.exception.message"]
    assert (running.count("readings"), running.count("dead_letters")) == (3, 1)
    assert running.bridge.ready
    assert running.bridge.alive
    assert running.end() is None
    assert running.link.closed


def test_every_sort_of_message_is_acknowledged_in_its_place(start):
    running = start(max_payload_bytes=64)
    running.link.inbox = [
        message(1, "now/d", b'{"v": 1}'),
        message(2, "now/d", b'{"v": 1}', retain=True),
        message(3, "elsewhere", b"1"),
        message(4, "now/d", b'{"v": "' + b"x" * 100 + b'"}'),
        message(0, "now/d", b'{"v": 2}', qos=0),
        message(5, "now/d", b'{"v": 3}'),
    ]
    until(lambda: running.link.acknowledged == [1, 2, 3, 4, 5])
    assert [reading.value for reading in running.kafka.readings()] == [1.0, 2.0, 3.0]
    (letter,) = running.kafka.dead_letters()
    assert len(letter.value) == 64
    assert (
        b"has 109 bytes, of which the first 64 are kept"
        in dict(letter.headers)["__connect.errors.exception.message"]
    )
    counts = [running.count(fate) for fate in ("readings", "ignored", "unmatched", "dead_letters")]
    assert counts == [3, 1, 1, 1]


def test_retained_messages_can_be_accepted(start):
    running = start(accept_retained=True)
    running.link.inbox = [message(1, retain=True)]
    until(lambda: running.link.acknowledged == [1])
    assert len(running.kafka.readings()) == 4


def test_no_two_messages_arrive_at_the_same_time(start, monkeypatch):
    running = start()
    monkeypatch.setattr(running.bridge._clock, "now_us", lambda: 1_700_000_000_000_000)
    running.link.inbox = [message(n, "now/d", b'{"v": 1}') for n in range(1, 5)]
    until(lambda: running.link.acknowledged == [1, 2, 3, 4])
    assert len({reading.time for reading in running.kafka.readings()}) == 4


def test_what_is_delivered_again_while_on_its_way_is_sent_once_and_acknowledged_anew(start):
    running = start(sessions=[False, True])
    running.kafka.answers.clear()
    running.link.inbox = [message(1), message(2)]
    until(lambda: running.bridge._rounds.weight == 2)
    running.link.error = LinkDownError("lost")
    until(lambda: running.link.connection == 2)
    running.link.inbox = [message(1, dup=True), message(2, dup=True), message(3)]
    until(lambda: running.bridge._rounds.weight == 3)
    running.kafka.answers.set()
    until(lambda: running.link.acknowledged == [1, 2, 3])
    assert len(running.kafka.readings()) == 12
    assert running.count("known") == 2


def test_nothing_is_acknowledged_on_a_later_connection_for_an_earlier_one(start):
    running = start(sessions=[False, False])
    running.kafka.answers.clear()
    running.link.inbox = [message(1)]
    until(lambda: running.bridge._rounds.weight == 1)
    running.link.error = LinkDownError("lost")
    until(lambda: running.link.connection == 2)
    running.link.inbox = [message(1, power=77)]  # another message of the same packet id: the session was lost
    until(lambda: running.bridge._rounds.weight == 2)
    assert running.link.acknowledged == []
    running.kafka.answers.set()
    until(lambda: running.link.acknowledged == [1])
    powers = {reading.value for reading in running.kafka.readings() if reading.metric == "power"}
    assert powers == {1.0, 77.0}


def test_a_time_of_arrival_is_kept_when_the_acknowledgement_did_not_leave(start):
    running = start(sessions=[False, True])
    running.link.refuse_acknowledgements = True
    running.link.inbox = [message(1, "now/d", b'{"v": 1}')]
    until(lambda: running.link.connection == 2)
    running.link.inbox = [message(1, "now/d", b'{"v": 1}', dup=True)]
    until(lambda: running.link.acknowledged == [1])
    first, again = running.kafka.readings()
    assert first == again


def test_a_time_of_arrival_is_kept_through_a_crash(start, tmp_path):
    path = tmp_path / "journal"
    running = start(journal=ArrivalJournal(path))
    running.kafka.answers.clear()
    running.link.inbox = [message(1, "now/d", b'{"v": 1}'), message(2, "now/d", b'{"v": 2}')]
    until(lambda: len(running.kafka.sent) == 2)
    (first, _) = times = [reading.time for reading in running.kafka.readings()]
    assert running.end() is None  # Kafka never answered: nothing was acknowledged
    assert running.link.acknowledged == []

    after = start(journal=ArrivalJournal(path), sessions=[True])
    until(lambda: after.link.connection == 1)
    after.link.inbox = [
        message(1, "now/d", b'{"v": 1}', dup=True),
        message(2, "now/d", b'{"v": 2}', dup=True),
        message(3, "now/d", b'{"v": 1}'),
    ]
    until(lambda: after.link.acknowledged == [1, 2, 3])
    assert [reading.time for reading in after.kafka.readings()][:2] == times
    assert after.kafka.readings()[2].time > first
    after.end()
    left = ArrivalJournal(path)
    assert all(left.recall(key_of(n, "now/d", b'{"v": %d}' % v)) is None for n, v in ((1, 1), (2, 2), (3, 1)))
    left.close()


def test_a_new_session_has_nothing_to_recall(start, tmp_path):
    path = tmp_path / "journal"
    running = start(journal=ArrivalJournal(path))
    running.kafka.answers.clear()
    running.link.inbox = [message(1, "now/d", b'{"v": 1}')]
    until(lambda: len(running.kafka.sent) == 1)
    (before,) = running.kafka.readings()
    running.end()
    after = start(journal=ArrivalJournal(path))
    after.link.inbox = [message(1, "now/d", b'{"v": 1}', dup=True)]
    until(lambda: after.link.acknowledged == [1])
    assert after.kafka.readings()[0].time > before.time


def test_qos_0_is_dropped_before_it_fills_the_memory(start):
    running = start(max_in_flight=3)
    running.kafka.answers.clear()
    running.link.inbox = [message(n) for n in range(1, 4)]
    until(lambda: running.bridge._rounds.weight == 3)
    running.link.inbox = [message(0, qos=0), message(4)]
    until(lambda: running.bridge._rounds.weight == 4)
    assert running.count("dropped") == 1
    running.kafka.answers.set()
    until(lambda: running.link.acknowledged == [1, 2, 3, 4])


def test_a_broker_that_sends_too_much_is_not_read(start):
    running = start(max_in_flight=2)
    running.kafka.answers.clear()
    running.link.inbox = [message(n) for n in range(1, 5)]
    until(lambda: running.bridge._rounds.weight == 4)
    running.link.inbox = [message(5)]
    turns = running.link.turns
    until(lambda: running.link.turns > turns + 2)
    assert running.link.inbox
    running.kafka.answers.set()
    until(lambda: running.link.acknowledged == [1, 2, 3, 4, 5])


def test_a_refusal_of_kafka_ends_it_and_acknowledges_nothing(start):
    running = start()
    running.kafka.refusal = PublishError("message refused: topic readings: not authorised")
    running.link.inbox = [message(1)]
    running.thread.join(LONG)
    assert "not authorised" in str(running.error)
    assert running.link.acknowledged == []


def test_a_session_taken_over_ends_it(start):
    running = start()
    running.link.error = SigmawatchError("another client has taken the session")
    running.thread.join(LONG)
    assert "another client" in str(running.error)


def test_a_stop_waits_for_kafka_but_not_for_ever(start):
    running = start(drain_seconds=LONG)
    running.kafka.answers.clear()
    running.link.inbox = [message(1)]
    until(lambda: running.bridge._rounds.weight == 1)
    running.stop.set()
    threading.Timer(0.1, running.kafka.answers.set).start()
    running.thread.join(LONG)
    assert running.link.acknowledged == [1]

    running = start(drain_seconds=0.1)
    running.kafka.answers.clear()
    running.link.inbox = [message(1)]
    until(lambda: running.bridge._rounds.weight == 1)
    assert running.end() is None
    assert running.link.acknowledged == []
