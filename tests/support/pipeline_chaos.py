"""Chaos for the whole pipeline: processors and sinks as processes, and what must be in the database afterwards."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from psycopg.errors import UndefinedTable

from schemas.readings import AnomalyState
from tests.support.chaos import CODEC, PARTITIONS, Processes, committed, read_all, undisturbed
from tests.support.waiting import until

SINK = "chaos-sink"
TOPICS = {"readings": PARTITIONS, "anomalies": PARTITIONS, "devices": PARTITIONS}
SHOWN = 20
"""How many differences a verdict names."""


class Sinks(Processes):
    """Database sinks as processes."""

    name = "sink"

    def __init__(self, servers, url, logs):
        super().__init__(logs)
        self._servers = servers
        self._url = url

    def _arguments(self):
        settings = {
            "kafka.bootstrap_servers": self._servers,
            "kafka.options": {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"},
            "topics.partitions": PARTITIONS,
            "sink.group": SINK,
            "sink.batch_readings": 2000,
            "sink.batch_interval": 0.2,
            "database.url": self._url,
        }
        return ["tests.support.sink_main", json.dumps(settings)]


def accounts(database):
    """(topic, partition) -> (next offset, stored, updated, duplicates, dead letters), as the sink keeps them."""
    try:
        rows = database.query(
            """SELECT topic, partition, next_offset, stored, updated, duplicates, dead_letters
               FROM sink_offset WHERE sink = %s""",
            [SINK],
        )
    except UndefinedTable:
        return {}
    return {(topic, partition): tuple(counts) for topic, partition, *counts in rows}


def position(database, topic="readings"):
    """How far the sink has come in a topic, over all partitions."""
    return sum(counts[0] for (name, _), counts in accounts(database).items() if name == topic)


def drain(servers, database, sinks):
    """Wait until the sinks have dealt with all that is in Kafka."""
    ends = {topic: sum(map(len, read_all(servers, topic, count).values())) for topic, count in TOPICS.items()}

    def done():
        for sink in sinks.running:
            assert sink.poll() is None, f"a sink ended by itself with {sink.returncode}"
        return all(position(database, topic) == end for topic, end in ends.items())

    until(done, 180, f"the sinks store all of {ends}", pause=0.2)


@dataclass
class Stored:
    """How the database differs from what the log says must be there; every list must be empty."""

    readings: int
    repeated: int
    anomalies: int
    missing_rows: list = field(default_factory=list)
    foreign_rows: list = field(default_factory=list)
    wrong_values: list = field(default_factory=list)
    missing_anomalies: list = field(default_factory=list)
    foreign_anomalies: list = field(default_factory=list)
    wrong_anomalies: list = field(default_factory=list)
    unaccounted: list = field(default_factory=list)
    missing_dead_letters: list = field(default_factory=list)

    @property
    def wrong(self):
        """All differences by kind, shortened."""
        return {
            name: found[:SHOWN] for name, found in vars(self).items() if isinstance(found, list) and found
        }


def judge_stored(servers, database):
    """Compare the database with the log."""
    log = read_all(servers, "readings", PARTITIONS)
    rows, dead, repeated = expected_rows(log)
    episodes = expected_episodes(log)
    verdict = Stored(len(rows), sum(repeated.values()), len(episodes))
    stored = {
        (device, metric, time): value
        for device, metric, time, value in database.query(
            "SELECT device_id, metric, (extract(epoch FROM time) * 1000000)::int8, value FROM readings"
        )
    }
    verdict.missing_rows = sorted(rows.keys() - stored.keys())
    verdict.foreign_rows = sorted(stored.keys() - rows.keys())
    verdict.wrong_values = sorted(key for key in rows.keys() & stored.keys() if rows[key] != stored[key])

    found = stored_episodes(database)
    verdict.missing_anomalies = sorted(episodes.keys() - found.keys())
    verdict.foreign_anomalies = sorted(found.keys() - episodes.keys())
    verdict.wrong_anomalies = [
        (episodes[key], found[key]) for key in episodes.keys() & found.keys() if episodes[key] != found[key]
    ]

    counted = accounts(database)
    for number, messages in log.items():
        end, new = messages[-1].offset() + 1, len(messages) - repeated[number] - dead[number]
        wanted = (end, new, 0, repeated[number], dead[number])
        if counted.get(("readings", number)) != wanted:
            verdict.unaccounted.append(("readings", number, wanted, counted.get(("readings", number))))
    for topic in ("anomalies", "devices"):
        for number, messages in read_all(servers, topic, PARTITIONS).items():
            wanted = (messages[-1].offset() + 1, len(messages))
            next_offset, *fates = counted.get((topic, number), (0, 0))
            if (next_offset, sum(fates)) != wanted:
                verdict.unaccounted.append((topic, number, wanted, counted.get((topic, number))))

    letters = Counter(
        (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
        for messages in read_all(servers, "readings.dlq", 1).values()
        for message in messages
        for headers in [dict(message.headers())]
        if headers["__connect.errors.connector.name"] == SINK.encode()
    )
    places = {(n, m.offset()) for n, messages in log.items() for m in messages if m.key() == b"broken"}
    verdict.missing_dead_letters = sorted(places ^ letters.keys())
    return verdict


def expected_rows(log):
    """Rows that the readings make; dead letters and repeated readings by partition."""
    rows, dead, repeated = {}, defaultdict(int), defaultdict(int)
    for number, messages in log.items():
        for message in messages:
            if message.key() == b"broken":
                dead[number] += 1
                continue
            reading = CODEC.decode_reading(message.value())
            key = (reading.device_id, reading.metric, reading.time)
            if key in rows:
                repeated[number] += 1
            else:
                rows[key] = reading.value
    return rows, dead, repeated


FIELDS = (
    *("value", "score", "mean", "std", "lower", "upper", "readings", "fault"),
    *("severity", "channel", "expected", "reason", "storm_id"),
)


def expected_episodes(log):
    """The final state of each episode, by id."""
    found = {}
    for (anomaly_id, state), message in undisturbed(log)[0].items():
        if state is AnomalyState.CLEARED or anomaly_id not in found:
            anomaly = CODEC.decode_anomaly(message)
            times = (anomaly.opened_at, anomaly.cleared_at, anomaly.detected_at)
            numbers = tuple(getattr(anomaly, name) for name in FIELDS)
            found[anomaly_id] = (
                anomaly.device_id,
                anomaly.metric,
                anomaly.kind,
                state.value,
                *times,
                *numbers,
            )
    return found


def stored_episodes(database):
    """The rows of the anomalies table likewise; an id that is there twice fails."""
    times = ", ".join(
        f"(extract(epoch FROM {name}) * 1000000)::int8" for name in ("opened_at", "cleared_at", "detected_at")
    )
    rows = database.query(
        f"SELECT anomaly_id, device_id, metric, kind, state, {times}, {', '.join(FIELDS)} FROM anomalies"
    )
    assert len({row[0] for row in rows}) == len(rows), "an episode has two rows"
    return {row[0]: row[1:] for row in rows}


def blows_fall(servers, database, processors, sinks, before):
    """Whether both have moved on since `before`."""
    now = progress(servers, database)
    assert all(worker.poll() is None for worker in (*processors.running, *sinks.running)), (
        "one ended by itself"
    )
    return all(new > old for new, old in zip(now, before, strict=True))


def progress(servers, database):
    """How far the processors have committed, and how far the sinks have stored."""
    return sum(committed(servers).values()), position(database)
