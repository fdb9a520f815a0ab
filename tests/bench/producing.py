"""Encoding and producing, beside confluent-kafka alone producing the very same bytes; and 100,000 devices on one core.

`make bench`, or `python -m tests.bench.producing [--readings 500000] [--rounds 5] [--json]`. The rivals get keys and values
that are encoded already; one of them waits for nothing but the flush, the other one counts acknowledgements in a callback, as
the simulator must. All use one configuration, on one broker, in turns, each run into a topic of its own.

A rate is of the wall clock, and means something on a machine that does nothing else. CPU seconds hold on a busy one as well:
of the whole process (librdkafka's threads are in it), and of the producing thread, which is what limits the rate where
there is a core for each. A run that left anything else in Kafka than the expected bytes, in their order, voids the whole.
"""

import argparse
import gc
import hashlib
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from producers.batches import ReadingBatch
from producers.clock import MAX_SPEED, SystemClock
from producers.devices.catalogue import load_catalogue
from producers.devices.fleets import load_fleet, spread_fleet
from producers.encode import ReadingEncoder
from producers.outputs.kafka import KafkaOutput
from producers.publish import ReadingPublisher
from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.schedule import Schedule
from producers.simulation.simulator import Simulator
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.kafka import PRODUCER_DEFAULTS, Publisher, client_config, partition_for_key
from schemas.settings import KafkaSettings, Settings, TopicSettings
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITIONS = 4
TARGET = 0.7
START = 1_790_000_000_000_000
NOW_MS = time.time_ns() // 1_000_000  # younger than what a topic retains
CODEC = Codec(Catalogue())

_SECOND = 1_000_000
_INTERVAL_US = 5 * _SECOND
_POLL_EVERY = 500  # as the publisher
_COMPARED = 1000  # values that are decoded and compared with what was to be said

ALONE, COUNTING, OURS = "confluent-kafka alone", "confluent-kafka, counting", "Sigmawatch"


@dataclass(frozen=True)
class Cost:
    """Of one run: wall clock seconds, CPU seconds of the process, CPU seconds of the producing thread."""

    wall: float
    cpu: float
    thread: float

    @classmethod
    def now(cls):
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.perf_counter(), used.ru_utime + used.ru_stime, time.thread_time())

    def since(self, begun):
        return Cost(self.wall - begun.wall, self.cpu - begun.cpu, self.thread - begun.thread)


class Load:
    """The readings of one run, as columns, and as keys and values."""

    def __init__(self, readings, devices):
        self.fleet = fleet_of(devices)
        self.batches: list[ReadingBatch] = []
        position = START
        while sum(map(len, self.batches)) < readings:
            self.batches.append(self.fleet.between(position, position + _SECOND))
            position += _SECOND
        keys = self.fleet.table.keys
        encoder = ReadingEncoder(self.fleet.table, CODEC)
        self.messages = [
            ([keys[series] for series in batch.series.tolist()], encoder.encode(batch))
            for batch in self.batches
        ]
        self.count = sum(map(len, self.batches))

    def partitions(self):
        """The messages by partition, in their order."""
        parts = [[] for _ in range(PARTITIONS)]
        place = {
            key: partition_for_key(key, PARTITIONS) for key in dict.fromkeys(key for keys, _ in self.messages for key in keys)
        }  # fmt: skip
        for keys, values in self.messages:
            for key, value in zip(keys, values, strict=True):
                parts[place[key]].append((key, value))
        return parts

    def first(self, count):
        """Its first readings, as (device, metric, time, value, fault)."""
        batch, table = ReadingBatch.joined(self.batches).rows(0, count), self.fleet.table
        rows = zip(
            batch.series.tolist(),
            batch.time.tolist(),
            batch.value.tolist(),
            batch.fault.tolist(),
            strict=True,
        )
        for series, at, value, fault in rows:
            name = None if fault < 0 else table.faults[fault]
            yield table.device_ids[series], table.metrics[series], at, value, name


def fleet_of(devices):
    return DeviceFleet(spread_fleet(load_fleet("mixed"), devices), load_catalogue(), 1, _INTERVAL_US)


def settings_of(bootstrap, topic):
    topics = TopicSettings(readings=topic, devices=f"{topic}-devices")
    return Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap), topics=topics)


def make_topics(settings):
    admin = AdminClient(client_config(settings.kafka))
    names = (settings.topics.readings, settings.topics.devices)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result()


# The rivals and ours: each returns what it cost, connected before the clock starts.


def alone(load, settings, callback=None):
    """A loop around `produce`, with what its documentation says must be around it."""
    topic = settings.topics.readings
    producer = Producer({**PRODUCER_DEFAULTS, **client_config(settings.kafka)})
    producer.list_topics(topic, timeout=10)
    begun = Cost.now()
    produce, poll = producer.produce, producer.poll
    for keys, values in load.messages:
        for row, (key, value) in enumerate(zip(keys, values, strict=True)):
            if not row % _POLL_EVERY:
                poll(0)
            while True:
                try:
                    produce(topic, value, key, -1, callback, None, NOW_MS)
                except BufferError:
                    poll(0.1)
                else:
                    break
    producer.flush()
    cost = Cost.now().since(begun)
    producer.close()
    return cost


def counting(load, settings):
    """The same, with the least that knows whether all arrived."""
    acknowledged, refused = 0, []

    def report(error, message):
        nonlocal acknowledged
        if error is None:
            acknowledged += 1
        else:
            refused.append(message)

    cost = alone(load, settings, report)
    return cost if acknowledged == load.count and not refused else None


def ours(load, settings):
    """What the simulator does behind the fleet: from columns to acknowledged messages."""
    with Publisher(client_config(settings.kafka)) as publisher:
        readings = ReadingPublisher(publisher, CODEC, settings.topics.readings, load.fleet.table)
        publisher._producer.list_topics(settings.topics.readings, timeout=10)
        readings._encoder.encode(
            ReadingBatch.joined(load.batches)
        )  # once for each series, not for each reading
        begun = Cost.now()
        for batch in load.batches:
            readings.publish(batch, NOW_MS * 1000)
        readings.flush()
        cost = Cost.now().since(begun)
    return cost if readings.delivery.total() == load.count else None


# What is in Kafka


def stored(settings, count):
    """The messages of the topic by partition, in their order; gives up where there are more, or nothing comes."""
    config = client_config(settings.kafka, **{"group.id": "bench", "enable.partition.eof": True})
    consumer = Consumer(config)
    topic = settings.topics.readings
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    parts = [[] for _ in range(PARTITIONS)]
    ended, deadline = set(), time.monotonic() + 120
    while len(ended) < PARTITIONS and sum(map(len, parts)) <= count and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.2):
            if message.error() is None:
                parts[message.partition()].append((message.key(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return parts


def digest(parts):
    """One hash of all keys and values, in their order within each partition."""
    sums = [hashlib.blake2b(digest_size=16) for _ in parts]
    for part, messages in zip(sums, parts, strict=True):
        for key, value in messages:
            part.update(len(key).to_bytes(4) + key + len(value).to_bytes(4) + value)
    return [part.hexdigest() for part in sums]


def says_the_readings(load, parts):
    """Whether the first values mean what the fleet said; they are in Kafka, whatever partition they are in."""
    found = {CODEC.decode_reading(value) for part in parts for _, value in part[:_COMPARED]}
    said = {(one.device_id, one.metric, one.time, one.value, one.fault) for one in found}
    return said >= set(load.first(_COMPARED // PARTITIONS))


# The two tables


def compare(bootstrap, options):
    """Rivals and ours in turns; None where a run went wrong."""
    load = Load(options.readings, options.devices)
    expected = load.partitions()
    want, count = digest(expected), load.count
    if not says_the_readings(load, expected):
        return None
    runs: dict[str, Callable] = {ALONE: alone, COUNTING: counting, OURS: ours}
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):
        for name, run in runs.items():
            settings = settings_of(bootstrap, f"produced-{number}-{list(runs).index(name)}")
            make_topics(settings)
            gc.collect()
            cost = run(load, settings)
            if cost is None or digest(stored(settings, count)) != want:
                return None
            if number:  # the first round compiles, and warms the broker
                costs[name].append(cost)
    rows = {name: _row(count, found) for name, found in costs.items()}
    ratios = {
        rival: {
            what: statistics.median(
                getattr(theirs, what) / getattr(mine, what)
                for theirs, mine in zip(costs[rival], costs[OURS], strict=True)
            )
            for what in ("wall", "cpu", "thread")
        }
        for rival in (ALONE, COUNTING)
    }
    return {"readings": count, "devices": options.devices, "rounds": options.rounds, "rows": rows, "ratios": ratios}  # fmt: skip


def one_core(bootstrap, options):
    """Many devices: the fleet alone, with encoding, and the whole simulator; None where a run went wrong."""
    fleet = fleet_of(options.many_devices)
    rate = fleet.rate
    seconds = max(1, round(options.readings / rate))
    position = START
    fleet.between(position, position + _SECOND)  # compiles
    position += _SECOND

    def step(take):
        nonlocal position
        count, begun = 0, Cost.now()
        for _ in range(seconds):
            batch = fleet.between(position, position + _SECOND)
            position += _SECOND
            count += len(batch)
            take(batch)
        return count, Cost.now().since(begun)

    encoder = ReadingEncoder(fleet.table, CODEC)
    encoder.encode(fleet.between(position, position + _SECOND))
    position += _SECOND
    found = {"fleet": step(lambda _: None), "fleet, encoded": step(encoder.encode)}
    whole = simulated(fleet, settings_of(bootstrap, "many"), position, seconds)
    if whole is None:
        return None
    found["fleet, encoded, produced"] = whole
    rows = {name: _row(count, [cost]) for name, (count, cost) in found.items()}
    return {"devices": options.many_devices, "readings_per_second": rate, "rows": rows}


def simulated(fleet, settings, start, seconds):
    """The simulator itself, behind the device records; readings and cost."""
    make_topics(settings)
    begun: list[Cost] = []

    def first(_time_us):
        if not begun:
            begun.append(Cost.now())

    with Publisher(client_config(settings.kafka)) as publisher:
        output = KafkaOutput(publisher, CODEC, settings.topics, fleet.table)
        schedule = Schedule(start, start + seconds * _SECOND, MAX_SPEED)
        summary = Simulator(fleet, output, lambda _now: schedule, SystemClock(), chores=[first]).run(Event())
        cost = Cost.now().since(begun[0])
    parts = stored(settings, summary.produced)
    same = {number: len(part) for number, part in enumerate(parts) if part} == dict(summary.by_partition)
    keys = {key for part in parts for key, _ in part}
    known = {device.device_id.encode() for device in fleet.devices}
    return (summary.produced, cost) if same and summary.produced and keys <= known else None


def _row(count, costs):
    """Medians of some runs of `count` readings."""
    return {
        "readings_per_second": statistics.median(count / cost.wall for cost in costs),
        "cpu_s_per_million": statistics.median(cost.cpu / count * 1e6 for cost in costs),
        "thread_cpu_s_per_million": statistics.median(cost.thread / count * 1e6 for cost in costs),
    }


def show(result):
    compared, many = result["producing"], result["many"]
    print(
        f"{compared['readings']:,} readings of {compared['devices']:,} devices, {PARTITIONS} partitions, "
        f"broker {result['broker']}, medians of {compared['rounds']} rounds"
    )
    _show_rows(compared["rows"])
    for rival, ratio in compared["ratios"].items():
        print(
            f"  {OURS} by {rival}: {ratio['wall']:.2f} of its rate; by CPU {ratio['cpu']:.2f}, "
            f"by the producing thread's {ratio['thread']:.2f} (target {TARGET})"
        )
    print(
        f"{many['devices']:,} devices, {many['readings_per_second']:,.0f} readings a second of virtual time"
    )
    _show_rows(many["rows"])
    cpu = many["rows"]["fleet, encoded, produced"]["cpu_s_per_million"]
    print(f"  in real time they take {many['readings_per_second'] * cpu / 1e6:.0%} of one core")


def _show_rows(rows):
    print(f"  {'':27}{'readings/s':>12}{'CPU s/million':>16}{'of them the thread':>20}")
    for name, row in rows.items():
        print(
            f"  {name:27}{row['readings_per_second']:12,.0f}{row['cpu_s_per_million']:16.2f}"
            f"{row['thread_cpu_s_per_million']:20.2f}"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readings", type=int, default=500_000)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--many-devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", choices=servers.BROKERS, default=_best_broker())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.running_broker(options.broker, Path(folder)) as broker,
    ):
        compared = compare(broker.bootstrap_servers, options)
        many = one_core(broker.bootstrap_servers, options) if compared else None
    if compared is None or many is None:
        sys.exit("void: a run did not leave in Kafka what it should")
    result = {"broker": options.broker, "target": TARGET, "producing": compared, "many": many}
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


def _best_broker():
    """Apache Kafka, where this machine can run it."""
    return next(name for name in ("kafka", "kafka-container", "tansu") if servers.why_not(name) is None)


if __name__ == "__main__":
    main()
