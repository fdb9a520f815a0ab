"""Two workers that share the partitions, watched over HTTP and through what they leave in Kafka."""

import inspect
import re
import urllib.parse
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from processors.metrics import Metrics
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import DeadLetterReason
from schemas.kafka import partition_for_key
from schemas.readings import AnomalyState
from tests.support.chaos import DETECTOR
from tests.support.processing import (
    SECOND_US,
    Pipeline,
    Processor,
    fleet,
    owners,
    processors,
    totals,
    until_applied,
    until_shared,
)
from tests.support.waiting import until

pytestmark = pytest.mark.integration

PARTITIONS = 4
DEVICES = [f"device-{number}" for number in range(40)]
ODD = [
    "boiler room 3",
    "plant/hall 2/pump",
    "Gerät-Ω-温度",
    "100%",
    "50%25 open",
    "a?b=c&d#e;f+g",
    '{"id": "x"}',
    "back\\slash",
    "...",
    " ",
    "x" * 255,
]
TICKS = 150
ALARMED = "device-7"
BAD = [
    (b"broken", b"\0\0\0\0\1junk", DeadLetterReason.UNDECODABLE),
    (b"short", b"\0\0", DeadLetterReason.TOO_SHORT),
    (b"text", b"22.5 degrees", DeadLetterReason.BAD_MAGIC),
    (b"future", b"\0\0\0\x27\x0f", DeadLetterReason.UNKNOWN_SCHEMA),
    (b"empty", None, DeadLetterReason.NULL_VALUE),
    (None, b"\1no key", DeadLetterReason.BAD_MAGIC),
]


@pytest.fixture(scope="module")
def pipeline(broker):
    made = Pipeline(broker.bootstrap_servers, partitions=PARTITIONS).create_topics()
    readings = fleet([*DEVICES, *ODD], TICKS)
    made.newest = {reading.device_id: reading for reading in readings}
    last = made.newest[ALARMED]
    made.last = replace(last, time=last.time + SECOND_US, value=99.5)
    made.count = made.send(readings[:-100])
    made.count += made.send_raw((key, value) for key, value, _ in BAD)
    made.count += made.send([*readings[-100:], made.last])
    made.count += made.send(fleet(["fresh"], 3))
    return made


@pytest.fixture(scope="module")
def workers(pipeline, tmp_path_factory):
    with processors(pipeline, tmp_path_factory.mktemp("workers"), 2) as both:
        until_shared(both, PARTITIONS)
        until_applied(both, pipeline.count)
        yield both


def test_both_own_some_and_count_everything_once(pipeline, workers):
    first, second = owners(workers)
    assert first
    assert second
    assert first | second == set(range(PARTITIONS))
    assert not first & second
    sums = totals(workers)
    readings = pipeline.count - len(BAD)
    assert (sums["readings"], sums["dead_letters"], sums["late"], sums["repeated"]) == (
        readings,
        len(BAD),
        0,
        0,
    )
    assert sums["series"] == len(DEVICES) + len(ODD) + 1
    assert (sums["watched"], sums["warming"]) == (len(DEVICES) + len(ODD), 1)


def test_anomalies_are_the_engines_to_the_bit(pipeline, workers):
    until(lambda: committed_all(workers), 120, "a checkpoint has flushed the anomalies", pause=0.2)
    found = pipeline.anomalies_found()
    assert len(found) > 50
    assert found == pipeline.anomalies_expected()


def committed_all(workers):
    counts = [counts for worker in workers for counts in worker.partitions().values()]
    return all(count["next_offset"] == count["committed_offset"] for count in counts)


@pytest.mark.parametrize("asked", [0, 1])
def test_either_worker_answers_for_a_device(pipeline, workers, asked):
    """The one that has it not asks the one that has."""
    own = owners(workers)[asked]
    homes = {device: partition_for_key(device.encode(), PARTITIONS) in own for device in DEVICES[:12]}
    assert set(homes.values()) == {True, False}
    for device in homes:
        answer = workers[asked].device(device)
        assert answer.status == 200, answer
        assert answer.content_type == "application/json"
        assert answer.json["device_id"] == device
        (series,) = answer.json["series"]
        expected = pipeline.last if device == ALARMED else pipeline.newest[device]
        assert series["metric"] == "temperature"
        assert series["state"] == "WATCHED"
        assert series["last_value"] == expected.value
        assert datetime.fromisoformat(series["last_time"]) == datetime.fromtimestamp(expected.time / 1e6, UTC)
        assert 19 < series["mean"] < 21
        assert 0.5 < series["std"] < 2


def test_a_fresh_series_is_warming(workers):
    for worker in workers:
        (series,) = worker.device("fresh").json["series"]
        assert (series["state"], series["readings"], series["open_anomalies"]) == ("WARMING", 3, [])


def test_an_open_anomaly_is_shown_until_it_clears(pipeline, workers):
    for worker in workers:
        (series,) = worker.device(ALARMED).json["series"]
        (shown,) = series["open_anomalies"]
        assert shown["value"] == 99.5
        assert datetime.fromisoformat(shown["opened_at"]) == datetime.fromtimestamp(
            pipeline.last.time / 1e6, UTC
        )
        assert shown["lower"] < shown["mean"] < shown["upper"] < shown["value"]
        distance = (shown["value"] - shown["mean"]) / shown["std"]
        assert shown["score"] == pytest.approx(1 - 2 ** -(distance / DETECTOR["k"]))
        assert (shown["channel"], shown["kind"], shown["severity"]) == ("window", "deviation", "CRITICAL")
        assert shown["reason"].startswith("temperature 99.5 is ")
        expected = [a for a, state in pipeline.anomalies_expected() if state is AnomalyState.OPENED]
        assert shown["anomaly_id"] in map(str, expected)
    (series,) = workers[0].device(DEVICES[0]).json["series"]
    assert series["open_anomalies"] == []


@pytest.mark.parametrize("device", ODD)
def test_odd_device_ids_have_pages_too(workers, device):
    for worker in workers:
        answer = worker.device(device)
        assert answer.status == 200, answer
        assert answer.json["device_id"] == device
        assert answer.json["series"][0]["readings"] == TICKS


@pytest.mark.parametrize("path", ["/devices/nobody", "/devices/" + urllib.parse.quote("weder/noch", safe="")])
def test_an_unknown_device_is_not_found(workers, path):
    for worker in workers:
        answer = worker.get(path)
        assert answer.status == 404
        assert "no series of device" in answer.json["error"]


def test_metrics_are_all_there_without_device_ids(pipeline, workers):
    declared = re.findall(r'"(sigmawatch_processor_\w+)"', inspect.getsource(Metrics))
    assert len(declared) >= 10
    sampled = set()
    for worker in workers:
        answer = worker.get("/metrics")
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert set(declared) <= {
            name.removesuffix("_total") for name in re.findall(r"^# TYPE (\w+) ", answer.text, re.MULTILINE)
        }
        sampled |= set(re.findall(r"^(sigmawatch_processor_\w+)(?:{.*})? \S+$", answer.text, re.MULTILINE))
        assert not [name for name in (*DEVICES, *ODD[:4]) if f'"{name}"' in answer.text]
    for name in declared:
        assert any(name + ending in sampled for ending in ("", "_total", "_count")), f"{name} has no value"
    count = sum(sample(worker, "sigmawatch_processor_readings_total") for worker in workers)
    assert count >= pipeline.count
    assert sum(sample(worker, "sigmawatch_processor_partitions_count") for worker in workers) == PARTITIONS


def sample(worker, name):
    (value,) = re.findall(rf"^{name} (\S+)$", worker.get("/metrics").text, re.MULTILINE)
    return float(value)


def test_lag_falls_to_zero(workers):
    def lags():
        texts = [worker.get("/metrics").text for worker in workers]
        return [
            re.findall(r'^sigmawatch_processor_lag_readings{partition="(\d+)"} (\S+)$', t, re.MULTILINE)
            for t in texts
        ]

    found = lags()
    assert sorted(int(number) for some in found for number, _ in some) == list(range(PARTITIONS))
    assert {float(lag) for some in found for _, lag in some} == {0.0}


def test_live_and_ready(workers):
    for worker, owned in zip(workers, owners(workers), strict=True):
        assert worker.get("/livez").status == 200
        ready = worker.get("/readyz")
        assert ready.status == 200
        assert ready.json == {"status": "ok", "partitions": sorted(owned)}


def test_dead_letters_are_the_originals_with_connects_headers(pipeline, workers):
    """Where a rebalance fell between a batch and its checkpoint a letter is there twice, with the same place."""
    until(lambda: committed_all(workers), 120, "a checkpoint has flushed the dead letters", pause=0.2)
    log = {
        (number, m.offset()): m
        for number, messages in pipeline.read(pipeline.readings).items()
        for m in messages
    }
    reasons = {(key, value): reason for key, value, reason in BAD}
    places = set()
    for letter in pipeline.read(f"{pipeline.readings}.dlq", 1)[0]:
        headers = {name.removeprefix("__connect.errors."): value.decode() for name, value in letter.headers()}
        place = int(headers["partition"]), int(headers["offset"])
        places.add(place)
        original = log[place]
        assert headers["topic"] == pipeline.readings
        assert (letter.key(), letter.value()) == (original.key(), original.value())
        reason = reasons[letter.key(), letter.value()]
        assert headers["exception.class.name"] == reason.name
        assert headers["exception.message"].startswith(reason.text)
        assert headers["connector.name"] == pipeline.group
        assert headers["stage"] == "VALUE_CONVERTER"
    assert len(places) == len(BAD)


@pytest.mark.most_real
def test_a_third_takes_over_from_a_killed_one(broker, tmp_path):
    """What the killed one had, checkpointed or not, is with the survivors; readings flow on all the while."""
    pipeline = Pipeline(broker.bootstrap_servers, partitions=PARTITIONS).create_topics()
    count = pipeline.send(fleet(DEVICES, 60))
    with processors(pipeline, tmp_path, 2) as workers:
        until_shared(workers, PARTITIONS)
        until_applied(workers, count)
        count += pipeline.send(fleet(DEVICES, 60, first_tick=60, seed=2))
        victim = workers.pop(0)
        victim.kill()
        workers.append(Processor(pipeline, tmp_path / "third.log"))
        count += pipeline.send(fleet(DEVICES, 60, first_tick=120, seed=3))
        until_shared(workers, PARTITIONS)
        until_applied(workers, count)
        sums = totals(workers)
        assert (sums["readings"], sums["series"]) == (count, len(DEVICES))
        for worker in workers:
            assert worker.device(DEVICES[0]).json["series"][0]["readings"] == 180
        for worker in workers:
            worker.stop()
    found = pipeline.anomalies_found()
    assert len(found) > 50
    assert found == pipeline.anomalies_expected()


@pytest.mark.most_real
def test_not_ready_until_the_partitions_are_there_and_while_they_move(broker, tmp_path):
    pipeline = Pipeline(broker.bootstrap_servers, partitions=PARTITIONS).create_topics()
    pipeline.send(fleet(DEVICES, 20))

    def ready(worker):
        try:
            return worker.get("/readyz")
        except OSError:
            return None

    with processors(pipeline, tmp_path) as workers:
        first = workers[0]
        seen = []
        until(lambda: seen.append(ready(first)) or (seen[-1] and seen[-1].status == 200), 120, "ready")
        assert seen[-1].json["partitions"] == list(range(PARTITIONS)), "ready, but without partitions"
        workers.append(Processor(pipeline, tmp_path / "second.log"))
        moving = until(
            lambda: (answer := ready(first)) and answer.status == 503 and answer,
            120,
            "not ready while it moves",
            pause=0.01,
        )
        assert moving.json["status"] == "rebalancing"
        until_shared(workers, PARTITIONS)
        assert {worker.get("/readyz").status for worker in workers} == {200}


def test_anomalies_have_the_wire_format(pipeline, workers):
    assert workers
    codec = Codec(Catalogue())
    for value in pipeline.anomalies_found().values():
        assert codec.encode_anomaly(codec.decode_anomaly(value)) == value
