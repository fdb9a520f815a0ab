"""The batch consumer's licence: workers killed, stopped, frozen and added while readings flow, every offset accounted for."""

import random
import signal
import threading
import time

import pytest

from tests.support.chaos import GROUP, Flow, Workers, calm, committed, judge, make_topics, settle, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


KILL, STOP, FREEZE = "kill", "stop", "freeze"
FROZEN_SECONDS = 6.0
"""Past the session of 3 s, so that the partitions have another owner when the zombie goes on."""


def chaos(broker, logs, *, events, seed=1, controls=(), changelog_config=None, **processor):
    """Two workers; again and again one that works is killed, stopped or frozen for a while, and one is added.

    Each blow falls after the group has committed since the last one, and at a random moment between checkpoints: a
    blow at workers that are still rebalancing proves nothing.
    """
    rng = random.Random(seed)
    bootstrap = broker.bootstrap_servers
    make_topics(bootstrap, changelog_config)
    with Flow(bootstrap) as flow, Workers(bootstrap, logs, controls=controls, **processor) as workers:
        workers.start()
        workers.start()
        for event in events:
            before = sum(committed(bootstrap).values())
            until(lambda: sum(committed(bootstrap).values()) > before, 120, "the group commits")  # noqa: B023
            calm(broker, GROUP)
            time.sleep(rng.uniform(0.5, 2.5))
            victim = workers.running[0]
            if event == FREEZE:
                victim.send_signal(signal.SIGSTOP)
                thaw = threading.Timer(FROZEN_SECONDS, victim.send_signal, [signal.SIGCONT])
                thaw.start()
                workers.running.append(workers.running.pop(0))  # not the next victim
            else:
                workers.end(victim, signal.SIGKILL if event == KILL else signal.SIGTERM)
                workers.start()
        flow.stop()
        settle(bootstrap, workers, flow)
        for worker in list(workers.running):
            workers.end(worker, signal.SIGTERM)
    return judge(bootstrap)


BLOWS = [KILL, FREEZE, STOP, KILL]
LONG_ROUNDS = 5


def assert_nothing_lost_or_doubled(verdict):
    assert verdict.readings > 30_000
    assert verdict.repeated_anomalies > 0, (
        "no kill fell between a batch and its checkpoint: the chaos is too mild"
    )
    assert verdict.lost_or_doubled == 0, verdict


def test_no_reading_is_lost_or_doubled_by_kills_and_rebalances(fresh_broker, tmp_path):
    assert_nothing_lost_or_doubled(chaos(fresh_broker, tmp_path, events=BLOWS))


@pytest.mark.most_real
def test_the_chaos_is_strong_enough_to_notice_a_commit_before_the_checkpoint(fresh_broker, tmp_path):
    kills = [blow for blow in BLOWS if blow == KILL]  # the others let the worker finish its checkpoint
    verdict = chaos(fresh_broker, tmp_path, events=kills, controls=["commit_on_apply"])
    assert verdict.lost_or_doubled > 0, verdict


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_many_blows_in_any_order(fresh_broker, tmp_path):
    blows = [KILL, FREEZE, KILL, KILL, STOP, KILL] * LONG_ROUNDS
    random.Random(1).shuffle(blows)
    assert_nothing_lost_or_doubled(chaos(fresh_broker, tmp_path, events=blows))
