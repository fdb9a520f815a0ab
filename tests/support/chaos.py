"""Chaos: readings flow while workers are killed, stopped, frozen and added."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.embedded import free_port
from processors.engine.batch import ReadingBatch
from processors.engine.partition import PartitionEngine
from processors.engine.record import pack
from processors.partition import Partition
from processors.profiles import profile_book
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from schemas.settings import load_settings
from tests.support.waiting import NotInTimeError, until

CODEC = Codec(Catalogue())
PARTITIONS = 4
MOVING_AVERAGE, STANDARD = "moving-average", "standard"
DETECTOR = {"window": 60.0, "panes": 6, "k": 4.0, "minimum_readings": 15}
"""Settings of the processor's window, in either preset."""
GROUP = "chaos"
CHANGELOG = f"{GROUP}-series-changelog"


def detector(preset):
    """Settings of a processor with that preset, by their keys."""
    return {"processor.preset": preset, **{f"processor.{name}": value for name, value in DETECTOR.items()}}


@cache
def book_of(preset):
    """The profiles that these settings come to, where nothing is known of the devices."""
    return profile_book(load_settings(None, detector(preset), {}))


def make_topics(servers, changelog_config=None):
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic(name, PARTITIONS, 1) for name in ("readings", "anomalies", "devices")]
    topics += [NewTopic(f"{name}.dlq", 1, 1) for name in ("readings", "anomalies", "devices")]
    topics.append(
        NewTopic(CHANGELOG, PARTITIONS, 1, config={"cleanup.policy": "compact", **(changelog_config or {})})
    )
    for future in admin.create_topics(topics).values():
        future.result()


@dataclass
class Flow:
    """Readings of `devices` devices at `rate` a second, from a thread; now and then a message that is none.

    Each device is read once a second of event time; one reading in a hundred is far off.
    """

    servers: str
    devices: int = 300
    rate: int = 4000
    seed: int = 7
    repeated: float = 0.0
    """Which part of the readings is sent once more, some time later."""
    sent: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def until_sent(self, count):
        """Wait until so many were sent, however slow the machine is."""
        until(lambda: self.sent >= count, 180, lambda: f"{count} are sent, now {self.sent}")

    def __enter__(self):
        self._producer = Producer(
            {
                "bootstrap.servers": self.servers,
                "enable.idempotence": True,
                "linger.ms": 20,
                "partitioner": "murmur2",
            }
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(60) == 0
        self._producer.close()

    def _run(self):
        rng = random.Random(self.seed)
        start = 1_700_000_000_000_000
        tick = 0
        again = []
        began = time.monotonic()
        while not self._stop.is_set():
            for device in range(self.devices):
                outlier = rng.random() < 0.01
                reading = Reading(
                    f"device-{device}",
                    "temperature",
                    start + tick * 1_000_000,
                    20 + rng.gauss(0, 1) + 25 * outlier,
                    "spike" if outlier else None,
                )
                message = reading.device_id.encode(), CODEC.encode_reading(reading)
                self._send(*message)
                if self.repeated and rng.random() < self.repeated:
                    again.append(message)
            if tick % 5 == 0:
                for message in again:
                    self._send(*message)
                again.clear()
            if tick % 7 == 0:
                self._send(b"broken", b"\0\0\0\0\1junk")
            tick += 1
            ahead = self.sent / self.rate - (time.monotonic() - began)
            if ahead > 0:
                self._stop.wait(ahead)

    def _send(self, key, value):
        while True:
            try:
                self._producer.produce("readings", value, key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self._producer.poll(0)
        self.sent += 1


class Processes:
    """Processes of one kind, with logs of their own; killed at the end, also those that are frozen."""

    name = "process"

    def __init__(self, logs: Path):
        self._logs = logs
        self.running: list[subprocess.Popen] = []
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.running:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()

    def _arguments(self) -> list[str]:
        """What the interpreter is told, of the next process."""
        raise NotImplementedError

    def start(self, environment=None):
        self._count += 1
        with (self._logs / f"{self.name}-{self._count}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", *self._arguments()], stdout=log, stderr=log, env=environment
            )
        self.running.append(worker)
        return worker

    def end(self, worker, how):
        """Send a signal and wait for the end."""
        worker.send_signal(how)
        worker.wait(90)
        self.running.remove(worker)


class Workers(Processes):
    """Processor workers as processes."""

    name = "worker"

    def __init__(self, servers, logs: Path, *, preset=MOVING_AVERAGE, controls=(), **processor):
        super().__init__(logs)
        self._servers = servers
        self._preset = preset
        self._controls = controls
        self._processor = processor
        self._port = 0

    def start(self, environment=None):
        worker = super().start(environment)
        worker.port = self._port
        return worker

    def until_ahead(self, worker, readings):
        """Wait until a worker has applied so many readings since its last checkpoint: then a blow at it tells."""
        until(
            lambda: self._ahead(worker) > readings,
            what=f"a worker is {readings} readings ahead of its checkpoint",
        )

    def _ahead(self, worker):
        """0 while it does not answer, and between a rebalance's beginning and its end."""
        assert worker.poll() is None, f"a worker ended by itself with {worker.returncode}"
        with suppress(OSError), urlopen(f"http://127.0.0.1:{worker.port}/partitions", timeout=10) as page:
            return sum(one["next_offset"] - one["committed_offset"] for one in json.load(page).values())
        return 0

    def _arguments(self):
        self._port = free_port()
        settings = {
            "kafka.bootstrap_servers": self._servers,
            "topics.partitions": PARTITIONS,
            "processor.group": GROUP,
            **detector(self._preset),
            "processor.checkpoint_interval": 3.0,
            "processor.session_timeout": 3.0,
            "processor.heartbeat": 1.0,
            "processor.web_port": self._port,
            **{f"processor.{name}": value for name, value in self._processor.items()},
        }
        return ["tests.support.processor_main", json.dumps(settings), *self._controls]


def read_all(servers, topic, partitions, options=None, patience=90.0):
    """Every record of a topic, by partition, in order.

    The end is where the consumer says so: that comes with a fetch's answer and is right on every broker, while
    Tansu's answer to the question for the latest offset is not.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"read-{time.time_ns()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            **(options or {}),
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found = defaultdict(list)
    ended = set()
    last = time.monotonic()
    try:
        while len(ended) < partitions:
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    found[message.partition()].append(message)
                    ended.discard(message.partition())
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    continue
                last = time.monotonic()
            if time.monotonic() - last > patience:
                raise NotInTimeError(f"{topic}: nothing for {patience} s, and only {ended} at their ends")
    finally:
        consumer.close()
    return found


def committed(servers, group=GROUP):
    """Committed offsets of the readings, by partition; asked again while a broker that came back is still settling."""
    wanted = [TopicPartition("readings", number) for number in range(PARTITIONS)]
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                return {tp.partition: max(tp.offset, 0) for tp in consumer.committed(wanted, 20)}
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
    finally:
        consumer.close()


CALM_SECONDS = 4.0
"""Longer than the sessions of 3 s: by then a killed member was noticed, and the group has formed anew."""


def calm(broker, *groups):
    """Wait, on the embedded broker, until the groups have stood for a while.

    A group of Tansu 0.6 whose leader dies between joining and handing out the partitions never forms again, not even
    when everybody has gone; Apache Kafka drops the dead leader, and is struck at any moment.
    """
    if broker.name != "tansu":
        return
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    since = time.monotonic()

    def stands():
        nonlocal since
        answers = admin.describe_consumer_groups(list(groups)).values()
        if any(answer.result(10).state is not ConsumerGroupState.STABLE for answer in answers):
            since = time.monotonic()
        return time.monotonic() - since > CALM_SECONDS

    until(stands, 120, f"{', '.join(groups)} stand for {CALM_SECONDS} s", pause=0.2)


def undisturbed(log, preset=MOVING_AVERAGE):
    """What one undisturbed worker makes of the log: anomalies as bytes by (id, state), and the end states."""
    anomalies, engines = {}, {}
    for number, messages in log.items():
        stamps = np.array([message.timestamp()[1] for message in messages], np.int64)
        offsets = np.array([message.offset() for message in messages], np.int64)
        columns = decode_readings([message.value() for message in messages], stamps, CODEC, TimeBounds())
        engine = PartitionEngine(book_of(preset))
        for anomaly in engine.apply(ReadingBatch(offsets, stamps, columns)).anomalies:
            anomalies[(anomaly.anomaly_id, anomaly.state)] = CODEC.encode_anomaly(anomaly)
        engines[number] = engine
    return anomalies, engines


def state_of(engine, name):
    """All that an engine knows of a series: what people are shown, and what a checkpoint writes."""
    number = engine.index.get(name)
    if number is None:
        return None
    return engine.view(name), pack(engine.states, np.array([number]), {number: engine.faults_of(number)})


@dataclass
class Verdict:
    """What chaos left behind."""

    readings: int
    anomalies: int
    missing_anomalies: int = 0
    foreign_anomalies: int = 0
    changed_anomalies: int = 0
    repeated_anomalies: int = 0
    wrong_states: int = 0
    unaccounted_offsets: int = 0
    missing_dead_letters: int = 0

    @property
    def lost_or_doubled(self):
        """Everything that must be 0; repeated anomalies have the same id and content and may be."""
        return (
            self.missing_anomalies
            + self.foreign_anomalies
            + self.changed_anomalies
            + self.wrong_states
            + self.unaccounted_offsets
            + self.missing_dead_letters
        )


def judge(servers, preset=MOVING_AVERAGE):
    """Compare what the workers left in Kafka with what one undisturbed worker makes of the same log."""
    log = read_all(servers, "readings", PARTITIONS)
    expected, engines = undisturbed(log, preset)
    verdict = Verdict(sum(len(messages) for messages in log.values()), len(expected))

    seen = defaultdict(int)
    for messages in read_all(servers, "anomalies", PARTITIONS).values():
        for message in messages:
            anomaly = CODEC.decode_anomaly(message.value())
            key = (anomaly.anomaly_id, anomaly.state)
            seen[key] += 1
            if key not in expected:
                verdict.foreign_anomalies += 1
            elif expected[key] != message.value():
                verdict.changed_anomalies += 1
    verdict.missing_anomalies = len(expected.keys() - seen.keys())
    verdict.repeated_anomalies = sum(count - 1 for count in seen.values())

    letters = {
        (headers["__connect.errors.partition"], headers["__connect.errors.offset"])
        for messages in read_all(servers, "readings.dlq", 1).values()
        for message in messages
        for headers in [dict(message.headers())]
        if headers["__connect.errors.connector.name"] == GROUP.encode()
    }
    broken = sum(message.key() == b"broken" for messages in log.values() for message in messages)
    verdict.missing_dead_letters = abs(broken - len(letters))

    offsets = committed(servers)
    changelog = read_all(servers, CHANGELOG, PARTITIONS)
    for number, messages in log.items():
        restored = Partition(book_of(preset))
        for message in changelog[number]:
            restored.restored(message.key(), message.value())
        end = messages[-1].offset() + 1
        counts = restored.engine.counts()
        applied = counts["readings"] + counts["late"] + counts["repeated"] + restored.dead_letters
        verdict.unaccounted_offsets += abs(end - offsets[number]) + abs(len(messages) - applied)
        # as the broker may leave the log: the last record of a key, no deleted ones
        compacted = Partition(book_of(preset))
        for key, value in {message.key(): message.value() for message in changelog[number]}.items():
            if value is not None:
                compacted.restored(key, value)
        for name in engines[number].index.names:
            wanted = state_of(engines[number], name)
            verdict.wrong_states += any(
                wanted != state_of(found.engine, name) for found in (restored, compacted)
            )
    return verdict


def settle(servers, workers, flow):
    """Wait until everything that flowed is committed."""

    def done():
        for worker in workers.running:
            assert worker.poll() is None, f"a worker ended by itself with {worker.returncode}"
        return sum(committed(servers).values()) == flow.sent

    until(done, 180, "the workers commit all that was sent", pause=0.2)
