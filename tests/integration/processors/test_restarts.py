"""A worker that is started again: with other settings, without the broker, with a broker that does not answer."""

import time

import pytest
from confluent_kafka import KafkaException

from processors.waiting import wait_for_topics
from schemas.errors import TopicError
from schemas.settings import load_settings
from tests.support.chaos import Flow, Workers, committed, judge, make_topics, settle
from tests.support.processing import Pipeline, fleet, processors, totals, until_applied
from tests.support.waiting import until

pytestmark = pytest.mark.integration

DEVICES = [f"device-{number}" for number in range(20)]
PAUSE_SECONDS = 6.0
"""Longer than the workers' session of 3 s, so that the group falls apart."""


@pytest.mark.most_real
def test_another_window_keeps_the_counters(broker, tmp_path):
    pipeline = Pipeline(broker.bootstrap_servers, partitions=2).create_topics()
    count = pipeline.send(fleet(DEVICES, 100, outliers=0.02))
    with processors(pipeline, tmp_path) as (before,):
        until_applied([before], count)
        counted = totals([before])
        before.stop()
    assert counted["episodes"] > 20
    with processors(pipeline, tmp_path, window=90.0, panes=3) as (after,):
        until_applied([after], count)
        now = totals([after])
        for name in ("readings", "late", "repeated", "episodes", "series", "next_offset", "dead_letters"):
            assert now[name] == counted[name], name
        assert (now["watched"], now["warming"]) == (0, len(DEVICES))
        (series,) = after.device(DEVICES[0]).json["series"]
        assert (series["state"], series["window_readings"], series["mean"]) == ("WARMING", 0, None)
        assert series["readings"] == 100

        count += pipeline.send(fleet(DEVICES, 100, first_tick=100, outliers=0, seed=2))
        until_applied([after], count)
        now = totals([after])
        assert now["readings"] == count
        assert now["watched"] == len(DEVICES)


@pytest.mark.timeout(600)
def test_a_broker_that_restarts_is_waited_for(fresh_broker, tmp_path):
    if fresh_broker.name != "kafka":
        pytest.skip(f"{fresh_broker.name}: a restart of it loses its log, or cannot be ordered from here")
    servers = fresh_broker.bootstrap_servers
    make_topics(servers)
    with Flow(servers, rate=2000) as flow, Workers(servers, tmp_path) as workers:
        workers.start()
        workers.start()
        until(lambda: sum(committed(servers).values()) > 0, 120, "the group commits", pause=0.2)
        fresh_broker.restart()
        before = sum(committed(servers).values())
        until(lambda: sum(committed(servers).values()) > before, 180, "the group commits again", pause=0.2)
        fresh_broker.kill()
        fresh_broker.restart()
        before = sum(committed(servers).values())
        until(
            lambda: sum(committed(servers).values()) > before,
            180,
            "the group commits after a crash, too",
            pause=0.2,
        )
        flow.stop()
        settle(servers, workers, flow)  # the same two processes are alive
    verdict = judge(servers)
    assert verdict.readings == flow.sent
    assert verdict.lost_or_doubled == 0, verdict


@pytest.mark.most_real
@pytest.mark.timeout(600)
def test_a_broker_that_freezes_is_waited_for(fresh_broker, tmp_path):
    if not hasattr(fresh_broker, "pause"):
        pytest.skip(f"{fresh_broker.name}: it cannot be paused from here")
    servers = fresh_broker.bootstrap_servers
    make_topics(servers)
    with Flow(servers, rate=2000) as flow, Workers(servers, tmp_path) as workers:
        workers.start()
        workers.start()
        until(lambda: sum(committed(servers).values()) > 0, 120, "the group commits", pause=0.2)
        fresh_broker.pause()
        time.sleep(PAUSE_SECONDS)
        fresh_broker.resume()
        until(lambda: answers(servers), 120, "the broker answers", pause=0.2)
        before = sum(committed(servers).values())
        until(lambda: sum(committed(servers).values()) > before, 180, "the group commits again", pause=0.2)
        flow.stop()
        settle(servers, workers, flow)
    verdict = judge(servers)
    assert verdict.readings == flow.sent
    assert verdict.lost_or_doubled == 0, verdict


def answers(servers):
    try:
        return committed(servers)
    except KafkaException:
        return None


@pytest.mark.most_real
def test_a_worker_waits_for_its_topics(broker, tmp_path):
    """The order of starting does not matter."""
    pipeline = Pipeline(broker.bootstrap_servers, partitions=2)
    with processors(pipeline, tmp_path) as (worker,):
        until(lambda: "topics create" in worker.log.read_text(), 120, "it says what it waits for")
        pipeline.create_topics()
        count = pipeline.send(fleet(DEVICES, 5))
        until_applied([worker], count)
        worker.stop()


def test_a_worker_waits_for_its_broker_and_can_be_stopped_meanwhile(tmp_path):
    with processors(Pipeline("127.0.0.1:1"), tmp_path) as (worker,):
        until(lambda: "does not answer" in worker.log.read_text(), 120, "it says what it waits for")
        worker.stop()


def test_topics_of_different_sizes_are_refused(broker, tmp_path):
    pipeline = Pipeline(broker.bootstrap_servers, partitions=2).create_topics()
    other = Pipeline(broker.bootstrap_servers, partitions=3).create_topics()
    settings = load_settings(None, {**pipeline.overrides(), "topics.readings": other.readings}, {})
    with pytest.raises(TopicError, match=r"3 partitions and .* has 2 partitions"):
        wait_for_topics(settings)
