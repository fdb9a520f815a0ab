"""The batch consumer's licence: workers killed, stopped, frozen and added while readings flow, every offset accounted for."""

import random
import signal
import threading

import pytest

from tests.support.chaos import (
    GROUP,
    MOVING_AVERAGE,
    STANDARD,
    Flow,
    Workers,
    calm,
    committed,
    judge,
    make_topics,
    settle,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


KILL, STOP, FREEZE = "kill", "stop", "freeze"
FROZEN_SECONDS = 6.0
"""Past the session of 3 s, so that the partitions have another owner when the zombie goes on."""
WARM = 8000
"""Readings until the series raise anomalies."""
AHEAD = (100, 400)
"""Readings that the victim is ahead of its checkpoint when the blow falls: several anomalies are among them."""
ENOUGH = 20_000


def chaos(broker, logs, *, events, preset=MOVING_AVERAGE, seed=1):
    """Two workers; again and again one that works is killed, stopped or frozen for a while, and one is added.

    Each blow falls after the group has committed since the last one, at a worker amid its work between two checkpoints:
    a blow at workers that are still rebalancing proves nothing.
    """
    rng = random.Random(seed)
    bootstrap = broker.bootstrap_servers
    make_topics(bootstrap)
    with Flow(bootstrap, rate=2500) as flow, Workers(bootstrap, logs, preset=preset) as workers:
        workers.start()
        workers.start()
        flow.until_sent(WARM)
        for event in events:
            before = sum(committed(bootstrap).values())
            until(lambda: sum(committed(bootstrap).values()) > before, 120, "the group commits", pause=0.2)  # noqa: B023
            calm(broker, GROUP)
            victim = workers.running[0]
            workers.until_ahead(victim, rng.randrange(*AHEAD))
            if event == FREEZE:
                victim.send_signal(signal.SIGSTOP)
                thaw = threading.Timer(FROZEN_SECONDS, victim.send_signal, [signal.SIGCONT])
                thaw.start()
                workers.running.append(workers.running.pop(0))  # not the next victim
            else:
                workers.end(victim, signal.SIGKILL if event == KILL else signal.SIGTERM)
                workers.start()
        flow.until_sent(ENOUGH)
        flow.stop()
        settle(bootstrap, workers, flow)
        for worker in list(workers.running):
            workers.end(worker, signal.SIGTERM)
    return judge(bootstrap, preset)


BLOWS = [KILL, FREEZE, STOP, KILL]
FEW_BLOWS = [KILL, FREEZE, STOP]
"""On the embedded broker, whose groups take long to form anew."""
LONG_ROUNDS = 5


def assert_nothing_lost_or_doubled(verdict, preset):
    assert verdict.readings >= ENOUGH
    assert verdict.anomalies > 50
    assert verdict.lost_or_doubled == 0, verdict
    if (
        preset == MOVING_AVERAGE
    ):  # the other one raises so few that none may lie between a checkpoint and a blow
        assert verdict.repeated_anomalies > 0, "no kill fell between a batch and its checkpoint"


def test_no_reading_is_lost_or_doubled_by_kills_and_rebalances(fresh_broker, tmp_path):
    embedded = fresh_broker.name == "tansu"
    blows, preset = (FEW_BLOWS, STANDARD) if embedded else (BLOWS, MOVING_AVERAGE)
    assert_nothing_lost_or_doubled(chaos(fresh_broker, tmp_path, events=blows, preset=preset), preset)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("preset", [MOVING_AVERAGE, STANDARD])
def test_many_blows_in_any_order(fresh_broker, tmp_path, preset):
    blows = [KILL, FREEZE, KILL, KILL, STOP, KILL] * LONG_ROUNDS
    random.Random(1).shuffle(blows)
    assert_nothing_lost_or_doubled(chaos(fresh_broker, tmp_path, events=blows, preset=preset), preset)
