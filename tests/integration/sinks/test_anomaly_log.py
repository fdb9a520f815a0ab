"""The anomaly log on a real broker."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.kafka import Publisher
from sinks.anomaly_log import AnomalyLog, AnomalyLogOptions
from sinks.dead_letters import dead_letter_office
from sinks.kafka import consumer_defaults
from sinks.logs import Counts
from tests.support.sinks import CODEC, SHORT_SESSION, Topics, anomaly, running
from tests.support.waiting import until

pytestmark = pytest.mark.integration


def log_of(topics: Topics, path: Path, **options: Any) -> AnomalyLog:
    consumer = {
        "bootstrap.servers": topics.bootstrap_servers,
        **consumer_defaults(topics.group),
        **SHORT_SESSION,
    }
    return AnomalyLog(
        AnomalyLogOptions(topics.group, consumer, path, topics.anomalies, **options),
        CODEC,
        dead_letter_office(lambda: Publisher({"bootstrap.servers": topics.bootstrap_servers}), topics.group),
    )


def numbers(*paths: Path) -> list[int]:
    lines = [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]
    return sorted(int(line["device_id"].removeprefix("device-")) for line in lines)


def test_every_anomaly_is_one_line_over_restarts(topics: Topics, tmp_path: Path) -> None:
    path = tmp_path / "anomalies.jsonl"
    topics.send_anomalies([anomaly(n) for n in range(20)])
    topics.send(topics.anomalies, [(b"k", b"rubbish")])
    with running(log_of(topics, path)) as log:
        until(lambda: log.counts == Counts(stored=20, dead_letters=1), what="first part")
        assert log.ready
        assert log.alive
    topics.send_anomalies([anomaly(n) for n in range(20, 30)])
    with running(log_of(topics, path)):
        until(lambda: len(numbers(path)) >= 30, what="second part")
    assert numbers(path) == list(range(30))
    (letter,) = topics.read_all(f"{topics.anomalies}.dlq", 1)
    assert letter.value() == b"rubbish"


def test_lines_that_rotation_threw_away_do_not_come_back(topics: Topics, tmp_path: Path) -> None:
    path = tmp_path / "anomalies.jsonl"
    topics.send_anomalies([anomaly(n) for n in range(40)])
    with running(log_of(topics, path)) as log:
        until(lambda: log.counts.stored == 40, what="first part")
    path.unlink()  # the user's own housekeeping
    topics.send_anomalies([anomaly(n) for n in range(40, 60)])
    with running(log_of(topics, path)) as log:
        until(lambda: log.counts.stored >= 20, what="second part")
    assert numbers(path) == list(range(40, 60))


def test_a_recreated_topic_is_read_from_its_start(topics: Topics, tmp_path: Path) -> None:
    path = tmp_path / "anomalies.jsonl"
    topics.send_anomalies([anomaly(n) for n in range(10)])
    with running(log_of(topics, path)) as log:
        until(lambda: log.counts.stored == 10, what="first life")
    topics.delete(topics.anomalies)
    topics.create(topics.anomalies)
    topics.send_anomalies([anomaly(n) for n in range(100, 130)])
    with running(log_of(topics, path)) as log:
        until(lambda: log.counts.stored >= 30, what="second life")
    assert numbers(path) == [*range(10), *range(100, 130)]
