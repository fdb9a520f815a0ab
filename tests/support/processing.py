"""Processor workers on topics of their own: for tests that watch workers from outside, as their users do."""

import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from deploy.embedded import free_port
from schemas.kafka import Publisher, client_config
from schemas.readings import Device, Reading
from schemas.settings import Settings, load_settings
from schemas.topics import create_topics, topic_specs
from tests.support.chaos import CODEC, MOVING_AVERAGE, detector, read_all, undisturbed
from tests.support.waiting import until

START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000


def fleet(
    devices: Iterable[str],
    ticks: int,
    *,
    seed: int = 1,
    first_tick: int = 0,
    outliers: float = 0.01,
    metric: str = "temperature",
) -> list[Reading]:
    """A reading a second of each device, noise around 20, now and then one far off."""
    rng = random.Random(seed)
    names = list(devices)
    return [
        Reading(
            name,
            metric,
            START_US + tick * SECOND_US,
            20 + rng.gauss(0, 1) + (25 if rng.random() < outliers else 0),
            None,
        )
        for tick in range(first_tick, first_tick + ticks)
        for name in names
    ]


@dataclass(frozen=True)
class Answer:
    """What a page said."""

    status: int
    text: str
    content_type: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Pipeline:
    """Topics and a processor group of one test, on a broker that it may share with others."""

    servers: str
    options: Mapping[str, str] = field(default_factory=dict)
    """librdkafka's options, for every client."""
    partitions: int = 4
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def readings(self) -> str:
        return f"readings-{self.name}"

    @property
    def anomalies(self) -> str:
        return f"anomalies-{self.name}"

    @property
    def group(self) -> str:
        return f"processor-{self.name}"

    def overrides(self, **processor: Any) -> dict[str, Any]:
        """Settings of a worker; `processor` are those of its section."""
        return {
            "kafka.bootstrap_servers": self.servers,
            "kafka.options": dict(self.options),
            "topics.readings": self.readings,
            "topics.anomalies": self.anomalies,
            "topics.devices": f"devices-{self.name}",
            "topics.partitions": self.partitions,
            "processor.group": self.group,
            **detector(MOVING_AVERAGE),
            "processor.checkpoint_interval": 1.0,
            "processor.session_timeout": 3.0,
            "processor.heartbeat": 0.5,
            **{f"processor.{name}": value for name, value in processor.items()},
        }

    @property
    def settings(self) -> Settings:
        return load_settings(None, self.overrides(), {})

    def create_topics(self) -> "Pipeline":
        """Make all topics; returns itself."""
        config = {key: value for key, value in client_config(self.settings.kafka).items() if key != "logger"}
        create_topics(AdminClient(config), topic_specs(self.settings))
        return self

    def send(self, readings: Iterable[Reading]) -> int:
        """Publish readings and wait for the broker; how many."""
        return self.send_raw(
            (reading.device_id.encode(), CODEC.encode_reading(reading)) for reading in readings
        )

    def send_raw(self, messages: Iterable[tuple[bytes | None, bytes | None]]) -> int:
        """Publish (key, value) pairs and wait for the broker; how many."""
        count = 0
        with Publisher(client_config(self.settings.kafka)) as publisher:
            for key, value in messages:
                publisher.send(self.readings, key, value)
                count += 1
            publisher.flush(60)
        return count

    def read(self, topic: str, partitions: int | None = None) -> dict[int, list[Message]]:
        """All that is in a topic."""
        return read_all(self.servers, topic, partitions or self.partitions, options=self.options)

    def anomalies_found(self) -> dict[tuple[Any, Any], bytes]:
        """Messages of the anomalies topic by (anomaly_id, state); the same one twice must be the same bytes."""
        found: dict[tuple[Any, Any], bytes] = {}
        for messages in self.read(self.anomalies).values():
            for message in messages:
                value = message.value()
                assert value is not None
                anomaly = CODEC.decode_anomaly(value)
                assert message.key() == anomaly.device_id.encode()
                key = (anomaly.anomaly_id, anomaly.state)
                assert found.setdefault(key, value) == value
        return found

    def anomalies_expected(self) -> dict[tuple[Any, Any], bytes]:
        """What the pure engine makes of the recorded log."""
        return undisturbed(self.read(self.readings))[0]


class Processor:
    """A worker process; its pages are asked over HTTP."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        **processor: Any,
    ) -> None:
        self.port = free_port()
        self.log = log
        overrides = pipeline.overrides(web_port=self.port, **processor)
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.processor_main", json.dumps(overrides)],
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
            )

    def get(self, path: str, timeout: float = 10.0) -> Answer:
        """Ask for a page.

        Raises:
            OSError: nobody answers.
        """
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.read().decode(), answer.headers.get_content_type())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), error.headers.get_content_type())

    def device(self, device_id: str) -> Answer:
        """The page of a device."""
        return self.get("/devices/" + urllib.parse.quote(device_id, safe=""))

    def partitions(self) -> dict[int, dict[str, int]]:
        """What it owns, by partition; empty while it does not answer."""
        assert self.process.poll() is None, (
            f"ended with {self.process.returncode}: {self.log.read_text()[-3000:]}"
        )
        try:
            answer = self.get("/partitions")
        except OSError:
            return {}
        assert answer.status == 200, answer
        return {int(number): counts for number, counts in answer.json.items()}

    def stop(self) -> None:
        """Let it end in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0, self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End it as a crash would; also one that was frozen or has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def processors(
    pipeline: Pipeline, folder: Path, count: int = 1, **processor: Any
) -> Iterator[list[Processor]]:
    """Workers that are killed at the end; those that the test adds to the list as well."""
    workers = [Processor(pipeline, folder / f"worker-{number}.log", **processor) for number in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def owners(workers: Sequence[Processor]) -> list[set[int]]:
    """Which partitions each worker owns."""
    return [set(worker.partitions()) for worker in workers]


def until_shared(workers: Sequence[Processor], partitions: int, seconds: float = 150) -> None:
    """Wait until every worker owns some partitions, and each partition has one owner."""

    def shared() -> bool:
        owned = owners(workers)
        return all(owned) and sorted(number for some in owned for number in some) == list(range(partitions))

    until(shared, seconds, lambda: f"the workers share the partitions; {owners(workers)}", pause=0.1)


def applied(workers: Sequence[Processor]) -> int:
    """How many offsets of the log the workers have applied."""
    return sum(counts["next_offset"] for worker in workers for counts in worker.partitions().values())


def until_applied(workers: Sequence[Processor], count: int, seconds: float = 150) -> None:
    """Wait until the workers have applied the log up to `count` offsets."""

    def found() -> str:
        return f"{count} offsets are applied; {[worker.partitions() for worker in workers]}"

    until(lambda: applied(workers) == count, seconds, found, pause=0.1)


def all_committed(worker: Processor) -> bool:
    """Whether all that the worker has applied is in a checkpoint, and so its anomalies are in their topic."""
    return all(counts["next_offset"] == counts["committed_offset"] for counts in worker.partitions().values())


def announce(
    pipeline: Pipeline, devices: Iterable[Device], raw: Iterable[tuple[bytes, bytes | None]] = ()
) -> None:
    """Publish device records, as a producer does before their readings, and (key, value) pairs; None is a tombstone."""
    topic = pipeline.settings.topics.devices
    with Publisher(client_config(pipeline.settings.kafka)) as publisher:
        for record in devices:
            publisher.send(topic, record.device_id.encode(), CODEC.encode_device(record))
            publisher.flush(60)  # a batch each: what the embedded broker's ListOffsets is wrong about
        for key, value in raw:
            publisher.send(topic, key, value)
        publisher.flush(60)


def rules_changes(worker: Processor, outcome: str) -> float:
    """How often other rules or models have come into force, or were refused."""
    line = f'sigmawatch_processor_rules_changes_total{{outcome="{outcome}"}} '
    said = worker.get("/metrics").text.splitlines()
    return next((float(one.removeprefix(line)) for one in said if one.startswith(line)), 0.0)


def totals(workers: Sequence[Processor]) -> dict[str, int]:
    """Sums of what /partitions says."""
    sums: dict[str, int] = {}
    for worker in workers:
        for counts in worker.partitions().values():
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return sums
