"""The processor killed at each step of its checkpoint, and frozen amid one while another takes over."""

import math
import os
import signal
import time
from pathlib import Path

import pytest

from schemas.failpoints import VARIABLE
from tests.support.chaos import (
    CHANGELOG,
    PARTITIONS,
    STANDARD,
    Flow,
    Workers,
    committed,
    judge,
    make_topics,
    read_all,
    settle,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

STEPS = [
    "processor.before_anomalies",
    "processor.after_anomalies",
    "processor.amid_states",
    "processor.after_states",
    "processor.after_marker",
    "processor.after_commit",
]


@pytest.mark.most_real
def test_killed_at_any_step_of_a_checkpoint_nothing_is_lost_or_doubled(fresh_broker, tmp_path):
    servers = fresh_broker.bootstrap_servers
    make_topics(servers)
    with (
        Flow(servers, rate=3000) as flow,
        Workers(servers, tmp_path, preset=STANDARD, checkpoint_interval=0.7) as workers,
    ):
        for step in STEPS:
            worker = workers.start({**os.environ, VARIABLE: f"{step}:2"})
            assert worker.wait(120) == -signal.SIGKILL, f"the worker did not pass {step} twice"
            workers.running.remove(worker)
        flow.stop()
        workers.start()
        settle(servers, workers, flow)
        workers.end(workers.running[0], signal.SIGTERM)
    verdict = judge(servers, STANDARD)
    assert verdict.lost_or_doubled == 0, verdict
    assert verdict.anomalies > 50


@pytest.mark.most_real
def test_the_judge_notices_a_commit_before_the_checkpoint(fresh_broker, tmp_path):
    """Killed as a checkpoint begins, when the offsets of many batches are committed and their states are nowhere."""
    servers = fresh_broker.bootstrap_servers
    make_topics(servers)
    with (
        Flow(servers, rate=3000) as flow,
        Workers(servers, tmp_path, controls=["commit_on_apply"]) as workers,
    ):
        worker = workers.start({**os.environ, VARIABLE: "processor.before_anomalies:2"})
        assert worker.wait(120) == -signal.SIGKILL
        workers.running.remove(worker)
        flow.stop()
        workers.start()
        settle(servers, workers, flow)
        workers.end(workers.running[0], signal.SIGTERM)
    verdict = judge(servers)
    assert verdict.unaccounted_offsets > 0, verdict


EAGER_COMPACTION = {
    "segment.ms": "300",
    "min.cleanable.dirty.ratio": "0.0001",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "300",
    "delete.retention.ms": "100",
}


def zombie(servers, logs, *, controls=()):
    """A worker frozen amid a checkpoint writes its stale states after the next owner's; then all is compacted.

    It dies behind them: given time, it would read on in the readings, and write the same states as the owner.
    """
    make_topics(servers, EAGER_COMPACTION)
    with (
        Flow(servers, rate=3000) as flow,
        Workers(servers, logs, controls=controls, checkpoint_interval=1.0) as workers,
    ):
        frozen = workers.start(
            {**os.environ, VARIABLE: "processor.after_anomalies:3:SIGSTOP,processor.after_states:3"}
        )
        until(lambda: is_stopped(frozen), 120, "the worker freezes amid its checkpoint")
        workers.running.remove(frozen)
        before = sum(committed(servers).values())
        owner = workers.start()
        until(
            lambda: sum(committed(servers).values()) > before + 20_000, 120, "another takes over and commits"
        )
        flow.stop()
        settle(servers, workers, flow)
        workers.end(owner, signal.SIGTERM)
        newest = record_count(servers)
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(120) == -signal.SIGKILL, "the zombie did not come to write its states"
        assert record_count(servers) > newest
        compact(servers)
    return judge(servers)


def is_stopped(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def record_count(servers):
    """Where the changelog ends, over all partitions."""
    return sum(messages[-1].offset() for messages in read_all(servers, CHANGELOG, PARTITIONS).values())


NUDGE_SECONDS = 5.0


def compact(servers):
    """Wait until the broker has compacted the changelog to its end.

    The segment that is written to is never compacted, so a nudge closes it; a cleaner that is late gets time before the
    next, or else it would never be done on a busy machine.
    """
    nudged = -math.inf

    def compacted():
        nonlocal nudged
        if time.monotonic() - nudged > NUDGE_SECONDS:
            nudge(servers)
            nudged = time.monotonic()
        log = read_all(servers, CHANGELOG, PARTITIONS)
        # A partition keeps the newest record of each key, and behind them the nudge that closed their segment.
        return all(len(found) <= len({m.key() for m in found}) + 1 for found in log.values())

    until(compacted, 300, "the changelog is compacted")


def nudge(servers):
    """A segment is closed when something is appended to it: a marker of a writer that never was, at offset 0."""
    from confluent_kafka import Producer  # noqa: PLC0415

    producer = Producer({"bootstrap.servers": servers})
    for partition in range(PARTITIONS):
        producer.produce(CHANGELOG, b'{"next_offset": 0, "dead_letters": 0}', b"m:nudge", partition)
    producer.flush(10)
    producer.close()


def skip_without_compaction(broker):
    if broker.name == "tansu":
        pytest.skip("the embedded broker never compacts a log; Apache Kafka does")


@pytest.mark.most_real
def test_a_zombies_late_states_do_not_survive_compaction(fresh_broker, tmp_path):
    skip_without_compaction(fresh_broker)
    verdict = zombie(fresh_broker.bootstrap_servers, tmp_path)
    assert verdict.lost_or_doubled == 0, verdict


@pytest.mark.most_real
def test_compaction_is_strong_enough_to_notice_keys_without_writers(fresh_broker, tmp_path):
    skip_without_compaction(fresh_broker)
    verdict = zombie(fresh_broker.bootstrap_servers, tmp_path, controls=["one_key_a_series"])
    assert verdict.wrong_states > 0, verdict
