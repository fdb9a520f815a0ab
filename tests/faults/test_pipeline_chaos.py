"""The whole pipeline under chaos: processors and sinks killed, stopped and frozen; afterwards everything is stored once."""

import itertools
import random
import signal
import threading
import time
from functools import partial

import pytest

from tests.support.chaos import GROUP, Flow, Workers, calm, judge, make_topics, settle
from tests.support.pipeline_chaos import SINK, Sinks, blows_fall, drain, judge_stored, progress
from tests.support.sinks import new_database
from tests.support.waiting import until

pytestmark = pytest.mark.integration

KILL, STOP, FREEZE = "kill", "stop", "freeze"
ENOUGH = 25_000
FROZEN_SECONDS = 5.0
"""Past the sessions of 3 s, so that the partitions have another owner when a zombie goes on."""


def strike(processes, how):
    """One of them is killed, stopped or frozen for a while; one takes its place, but for a frozen one."""
    victim = processes.running[0]
    if how == FREEZE:
        victim.send_signal(signal.SIGSTOP)
        thaw = threading.Timer(FROZEN_SECONDS, victim.send_signal, [signal.SIGCONT])
        thaw.start()
        processes.running.append(processes.running.pop(0))  # not the next victim
    else:
        processes.end(victim, signal.SIGKILL if how == KILL else signal.SIGTERM)
        processes.start()


def chaos(broker, server, logs, *, blows, seed=1, rate=2500, each=2):
    """Strike a processor and a sink at a time, each pair after both have moved on since the last.

    Returns what the processors left in Kafka, and what the sinks left in the database.
    """
    rng = random.Random(seed)
    servers = broker.bootstrap_servers
    make_topics(servers)
    with (
        new_database(server) as database,
        Flow(servers, rate=rate, repeated=0.01) as flow,
        Workers(servers, logs) as processors,
        Sinks(servers, database.url, logs) as sinks,
    ):
        for _ in range(each):
            processors.start()
            sinks.start()
        for at_processor, at_sink in blows:
            before = progress(servers, database)
            moved = partial(blows_fall, servers, database, processors, sinks, before)
            until(moved, 120, "both move on", pause=0.2)
            calm(broker, GROUP, SINK)
            time.sleep(rng.uniform(0.2, 1.5))
            strike(processors, at_processor)
            time.sleep(rng.uniform(0.0, 0.5))
            strike(sinks, at_sink)
        flow.until_sent(ENOUGH)
        flow.stop()
        settle(servers, processors, flow)
        for worker in list(processors.running):
            processors.end(worker, signal.SIGTERM)
        drain(servers, database, sinks)
        for sink in list(sinks.running):
            sinks.end(sink, signal.SIGTERM)
            assert sink.returncode == 0
        return flow.sent, judge(servers), judge_stored(servers, database)


BLOWS = [(KILL, FREEZE), (FREEZE, KILL)]


@pytest.mark.most_real
@pytest.mark.timeout(600)
def test_everything_is_stored_once_whoever_dies(fresh_broker, real_database_server, tmp_path):
    sent, kafka, stored = chaos(fresh_broker, real_database_server, tmp_path, blows=BLOWS)
    assert kafka.readings == sent >= ENOUGH
    assert kafka.lost_or_doubled == 0, kafka
    assert stored.repeated > 100
    assert stored.anomalies > 50
    assert not stored.wrong, stored.wrong


LONG_SECONDS = 300


def until_time_is_up(seed):
    """Blows of every kind in random order."""
    rng = random.Random(seed)
    deadline = time.monotonic() + LONG_SECONDS
    kinds = list(itertools.product([KILL, STOP, FREEZE], repeat=2))
    while time.monotonic() < deadline:
        yield rng.choice(kinds)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1])
def test_five_minutes_with_three_of_each(fresh_broker, real_database_server, tmp_path, seed):
    sent, kafka, stored = chaos(
        fresh_broker,
        real_database_server,
        tmp_path,
        blows=until_time_is_up(seed),
        seed=seed,
        each=3,
    )
    assert kafka.readings == sent > 100_000
    assert kafka.lost_or_doubled == 0, kafka
    assert not stored.wrong, stored.wrong
