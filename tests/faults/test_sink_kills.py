"""The sink killed at each step of its transaction, stopped and woken as a zombie: every reading is stored once."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from schemas.readings import AnomalyState, Device, Reading
from tests.support.chaos import read_all
from tests.support.sink_processes import start_sink
from tests.support.sinks import (
    CODEC,
    Database,
    Topics,
    anomaly,
    database,
    readings_of,
    topics,
)
from tests.support.waiting import until

__all__ = ["database", "topics"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

MAKER = "sinks.service.timescale_sink"
LOG_MAKER = "sinks.service.log_sink"


def start(topics: Topics, log: Path, fail_point: str = "", maker: str = MAKER, **settings: str):
    """A sink in a process of its own."""
    chosen = {
        "SINK__GROUP": topics.group,
        "SINK__BATCH_READINGS": "400",
        "SINK__BATCH_INTERVAL": "100ms",
        **settings,
    }
    return start_sink(maker, topics, log, fail_point, **chosen)


@contextmanager
def sink(topics: Topics, log: Path, fail_point: str = "", **settings: str) -> Iterator[subprocess.Popen]:
    process = start(topics, log, fail_point, **settings)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def dies(process: subprocess.Popen, log: Path) -> None:
    """Wait until the fail point has killed it."""
    try:
        assert process.wait(120) == -signal.SIGKILL, log.read_text()
    finally:
        process.kill()
        process.wait()


def rows(database: Database) -> list[tuple[str, str, int, float]]:
    return database.query(
        "SELECT device_id, metric, (extract(epoch from time) * 1000000)::int8, value FROM readings ORDER BY 1, 2, 3"
    )


def expected(readings: list[Reading]) -> list[tuple[str, str, int, float]]:
    return sorted((r.device_id, r.metric, r.time, r.value) for r in readings)


def accounted(database: Database) -> int:
    try:
        return sum(map(sum, database.totals().values()))
    except psycopg.errors.UndefinedTable:
        return 0


POINTS = [
    "sink.before_fence",
    "sink.after_fence:2",
    "sink.after_copy",
    "sink.after_staging",
    "sink.after_anomalies",
    "sink.after_devices",
    "sink.before_commit:2",
    "sink.after_commit",
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_step(database: Database, topics: Topics, tmp_path: Path, point: str) -> None:
    readings = readings_of(10, 100)
    repeated = [replace(reading, value=-1.0) for reading in readings[:300]]
    bad = CODEC.encode_reading(replace(readings[0], value=float("nan")))
    topics.send_readings(readings[:500])
    topics.send(topics.readings, [(b"a", bad), (b"b", b"rubbish")])
    topics.send_readings(repeated)
    topics.send_readings(readings[500:])
    topics.send_anomalies([anomaly(1), anomaly(2), anomaly(1, AnomalyState.CLEARED)])
    topics.send(
        topics.devices,
        [(b"p", CODEC.encode_device(Device("p", "pump", name))) for name in ("old", "new")],
        partition=1,
    )
    log = tmp_path / "sink.log"
    url = {"DATABASE__URL": database.url}

    dies(start(topics, log, point, **url), log)
    with sink(topics, log, **url):
        until(lambda: accounted(database) >= 1307, what="all is dealt with")

    assert rows(database) == expected(readings)
    stored, updated, duplicates, dead = database.totals()[topics.readings]
    assert (stored, updated, duplicates, dead) == (1000, 0, 300, 2)
    assert database.totals()[topics.anomalies] == (2, 1, 0, 0)
    assert database.query("SELECT anomaly_id::text, state FROM anomalies ORDER BY 1") == [
        ("00000000-0000-0000-0000-000000000001", "CLEARED"),
        ("00000000-0000-0000-0000-000000000002", "OPENED"),
    ]
    assert database.query("SELECT name FROM devices") == [("new",)]
    (letters,) = read_all(topics.bootstrap_servers, f"{topics.readings}.dlq", 1).values()
    places = {
        (dict(m.headers())["__connect.errors.partition"], dict(m.headers())["__connect.errors.offset"])
        for m in letters
    }
    assert len(places) == 2
    assert {m.value() for m in letters} == {bad, b"rubbish"}


@pytest.mark.parametrize("point", ["sink.before_fence:3", "sink.after_commit:2", "sink.before_commit:2"])
def test_a_zombie_wakes_up(database: Database, topics: Topics, tmp_path: Path, point: str) -> None:
    """One sink stops in its tracks and loses its partitions to another; then it goes on where it was.

    Stopped in the middle of a transaction it holds the fences, until the server ends its session.
    """
    readings = readings_of(10, 400)
    url = {"DATABASE__URL": database.url}
    log = tmp_path / "sink.log"
    topics.send_readings(readings[:1000])
    with sink(topics, log, f"{point}:SIGSTOP", **url) as zombie:
        until(lambda: _stopped(zombie.pid), what="the first sink stops")
        topics.send_readings(readings[1000:2000])
        with sink(topics, log, **url):
            until(lambda: accounted(database) == 2000, 120, "the second takes over")
            zombie.send_signal(signal.SIGCONT)
            topics.send_readings(readings[2000:])
            until(lambda: accounted(database) >= 4000, what="both alive")
            assert zombie.poll() is None, log.read_text()
            # Tansu forgets a group's other members when one leaves in the middle of a rebalance.
            until(lambda: log.read_text().count("partitions assigned") >= 4, what="both have partitions")
        topics.send_readings(readings_of(10, 10, start=1000))
        until(lambda: accounted(database) >= 4100, what="the woken one alone")
    assert rows(database) == expected(readings + readings_of(10, 10, start=1000))
    assert database.totals()[topics.readings] == (4100, 0, 0, 0)


def _stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


@pytest.mark.parametrize("point", ["log.before_append", "log.after_append", "log.after_sync"])
def test_the_anomaly_log_killed_at_each_step(topics: Topics, tmp_path: Path, point: str) -> None:
    first = [anomaly(number) for number in range(1, 40)]
    second = [anomaly(number) for number in range(40, 80)]
    file, log = tmp_path / "anomalies.jsonl", tmp_path / "sink.log"
    settings = {"LOG_SINK__PATH": str(file), "LOG_SINK__GROUP": topics.group}
    topics.send_anomalies(first)

    dies(start(topics, log, point, LOG_MAKER, **settings), log)
    if file.exists() and file.stat().st_size:  # what a crash of the machine leaves of a line
        with file.open("ab") as out:
            out.write(file.read_bytes()[:50])
    topics.send_anomalies(second)
    process = start(topics, log, "", LOG_MAKER, **settings)
    try:
        until(lambda: file.read_bytes().count(b"\n") >= 79, what="all lines")
    finally:
        process.terminate()
        assert process.wait(120) == 0, log.read_text()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(line["device_id"] for line in lines) == sorted(a.device_id for a in first + second)
