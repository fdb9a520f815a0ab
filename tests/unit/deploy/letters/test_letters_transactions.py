"""Putting letters back: what a redrive makes of refusals and outages, on a producer that does as it is told."""

from functools import partial
from threading import Event
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from deploy.clients import UnreachableError
from deploy.letters import planning, redrive
from deploy.letters.history import Attempt, Ledger, OriginalId, pack_attempts, unpack_attempts
from deploy.letters.letter import Letter, Place
from deploy.letters.plan import Plan, Task
from deploy.letters.planning import older_than_retention
from deploy.letters.reading import Letterbox
from deploy.letters.redrive import Redriver
from schemas.errors import SigmawatchError
from schemas.settings import Settings

BOX = Letterbox("readings")


class FakeProducer:
    """Takes messages within transactions; refuses the values it is told to."""

    def __init__(self):
        self.refused, self.committed, self.open, self.log = set(), [], [], []
        self.refusal = KafkaError.MSG_SIZE_TOO_LARGE
        self.transactional = True
        self.failing = {}
        self._waiting = []

    def _do(self, what):
        self.log.append(what)
        if what in self.failing:
            raise KafkaException(self.failing[what])

    def init_transactions(self, _seconds):
        self._do("init")

    def begin_transaction(self):
        self._do("begin")
        self.open = []

    def produce(self, topic, value, key, partition, delivered, **more):
        self._waiting.append((topic, value, key, partition, delivered, more))

    def poll(self, _seconds):
        pass

    def flush(self, _seconds):
        waiting, self._waiting = self._waiting, []
        for topic, value, key, _, delivered, more in waiting:
            if value in self.refused:
                delivered(KafkaError(self.refusal), None)
                continue
            self.open.append((topic, key, value, more.get("headers")))
            delivered(None, SimpleNamespace(offset=partial(int, 1000 + len(self.open))))

    def commit_transaction(self, _seconds):
        self._do("commit")
        self.committed += self.open
        self.open = []

    def abort_transaction(self, _seconds):
        self._do("abort")
        self.open = []

    def purge(self):
        pass


def ledger_of(fake):
    ledger = Ledger()
    for topic, key, value, _ in fake.committed:
        if topic == BOX.ledger:
            ledger.take(key, value)
    return ledger


def letter(number):
    place, origin = Place("readings.dlq", 0, number), Place("readings", 0, number)
    return Letter(place, origin, "BAD_MAGIC", "", "sink", "", b"k", b"%d" % number, [("a", b"b")], 7)


@pytest.fixture
def producer(monkeypatch):
    fake = FakeProducer()
    monkeypatch.setattr(redrive, "new_client", lambda *_: fake)
    monkeypatch.setattr(redrive, "existing_topics", lambda _: {BOX.ledger: 1})
    monkeypatch.setattr(redrive, "ends_transactions", lambda _: fake.transactional)
    monkeypatch.setattr(redrive, "read_ledger", lambda *_: ledger_of(fake))
    letters = [letter(number) for number in range(20)]
    monkeypatch.setattr(redrive, "read_letters", lambda *_: iter(letters))
    return fake


def plan_of(count):
    tasks = []
    for number in range(count):
        one = letter(number)
        tasks.append(Task(OriginalId(one.origin, one.content), one.place, (), frozenset({"sink"})))
    return Plan(tasks)


def put_back(producer, count, **more):
    with Redriver(Settings(), BOX) as redriver:
        return redriver.put_back(plan_of(count), **more)


def test_each_message_and_its_record_are_committed_together(producer):
    told = []
    outcome = put_back(producer, 3, tell=told.append)
    assert (outcome.put_back, outcome.refused, outcome.gone, told) == (3, [], 0, [3])
    messages = [one for one in producer.committed if one[0] == "readings"]
    records = [one for one in producer.committed if one[0] == "readings.dlq.redriven"]
    assert [value for _, _, value, _ in messages] == [b"0", b"1", b"2"]
    assert [name for name, _ in messages[0][3]][:2] == ["a", "sigmawatch.redrive.letter"]
    assert [unpack_attempts(value)[0].offset for _, _, value, _ in records] == [1001, 1002, 1003]
    assert producer.log == ["init", "begin", "commit"]


def test_one_that_the_broker_refuses_does_not_hold_up_the_others(producer):
    producer.refused = {b"3"}
    outcome = put_back(producer, 8)
    assert outcome.put_back == 7
    ((original, why),) = outcome.refused
    assert original.startswith("readings/0@3#")
    assert "large" in why.lower()
    values = [value for topic, _, value, _ in producer.committed if topic == "readings"]
    assert sorted(values) == [b"%d" % number for number in range(8) if number != 3]
    assert sum(topic == BOX.ledger for topic, *_ in producer.committed) == 7


def test_an_outage_ends_it_and_leaves_no_transaction_open(producer):
    producer.refused, producer.refusal = {b"1"}, KafkaError._MSG_TIMED_OUT
    with pytest.raises(UnreachableError, match="Run the same command again"):
        put_back(producer, 3)
    assert producer.committed == []
    assert producer.log[-1] == "abort"


@pytest.mark.parametrize(
    ("error", "kind", "what"),
    [
        (KafkaError(KafkaError._FENCED, "fenced", fatal=True), SigmawatchError, "another redrive"),
        (KafkaError(KafkaError._TIMED_OUT), UnreachableError, "went away"),
        (KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), SigmawatchError, "refuses"),
    ],
)
def test_a_commit_that_fails_says_why(producer, error, kind, what):
    producer.failing = {"commit": error}
    with pytest.raises(kind, match=what):
        put_back(producer, 2)


@pytest.mark.parametrize(
    ("error", "kind", "what"),
    [
        (KafkaError(KafkaError._TIMED_OUT), UnreachableError, "does not answer"),
        (KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), SigmawatchError, "transactional id"),
    ],
)
def test_a_broker_that_begins_no_transactions_is_said(producer, error, kind, what):
    producer.failing = {"init": error}
    with pytest.raises(kind, match=what):
        put_back(producer, 2)


def test_it_stops_between_two_transactions(producer, monkeypatch):
    monkeypatch.setattr(redrive, "_BATCH_LETTERS", 2)
    stop = Event()
    outcome = put_back(producer, 6, stop=stop, tell=lambda done: stop.set() if done == 4 else None)
    assert (outcome.put_back, outcome.stopped) == (4, True)
    assert producer.log.count("commit") == 2


def test_letters_that_have_gone_meanwhile_are_counted(producer, monkeypatch):
    monkeypatch.setattr(redrive, "read_letters", lambda *_: iter([letter(1)]))
    outcome = put_back(producer, 3)
    assert (outcome.put_back, outcome.gone) == (1, 2)


@pytest.mark.parametrize(
    ("config", "old"),
    [
        ({"retention.ms": "1000", "cleanup.policy": "delete"}, 1),
        ({"retention.ms": "-1"}, 0),
        ({"retention.ms": "1000", "cleanup.policy": "compact"}, 0),
        ({}, 0),
    ],
)
def test_messages_older_than_their_topic_keeps_them_are_counted(monkeypatch, config, old):
    entries = {name: SimpleNamespace(value=value) for name, value in config.items()}
    answer = SimpleNamespace(result=lambda: entries)
    admin = SimpleNamespace(describe_configs=lambda resources, **_: {resources[0]: answer})
    monkeypatch.setattr(planning, "admin_client", lambda _: admin)
    tasks = [
        Task(OriginalId(Place("readings", 0, n), "c"), Place("readings.dlq", 0, n), (), frozenset(), time)
        for n, time in enumerate((None, 5000, 9500))
    ]
    assert older_than_retention(Settings(), BOX, Plan(tasks), 10_000) == old


def test_without_transactions_the_records_follow_the_messages(producer):
    producer.transactional = False
    producer.refused = {b"3"}
    outcome = put_back(producer, 8)
    assert outcome.put_back == 7
    assert [original.partition("#")[0] for original, _ in outcome.refused] == ["readings/0@3"]
    assert [topic for topic, *_ in producer.open] == ["readings"] * 7 + [BOX.ledger] * 7
    assert producer.log == [], "no transaction is begun that nobody would end"


def test_without_transactions_an_outage_leaves_records_of_what_went(producer):
    producer.transactional = False
    producer.refused, producer.refusal = {b"1"}, KafkaError._MSG_TIMED_OUT
    with pytest.raises(UnreachableError, match="Run the same command again"):
        put_back(producer, 3)
    assert [topic for topic, *_ in producer.open] == ["readings"] * 2 + [BOX.ledger] * 2


@pytest.mark.parametrize(
    ("cluster", "ends"), [("tansu_cluster", False), ("5L6g3nShT-eMCtK--X86sw", True), (None, True)]
)
def test_which_brokers_end_transactions(monkeypatch, cluster, ends):
    monkeypatch.setattr(redrive, "admin_client", lambda _: None)
    monkeypatch.setattr(redrive, "require_broker", lambda *_: SimpleNamespace(cluster_id=cluster))
    assert redrive.ends_transactions(Settings()) is ends


def test_after_a_refusal_it_looks_at_what_others_put_back_meanwhile(producer):
    producer.refused = {b"3"}
    other = letter(6)
    key = str(OriginalId(other.origin, other.content)).encode()
    producer.committed.append((BOX.ledger, key, pack_attempts([Attempt(0, 99, "t", ("sink",))]), None))
    outcome = put_back(producer, 8)
    assert (outcome.put_back, len(outcome.refused)) == (6, 1)
    assert producer.log.count("init") > 1, "librdkafka's numbers have a gap after a refusal"
