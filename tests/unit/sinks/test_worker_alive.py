import psycopg
import pytest
from pydantic import SecretStr

from schemas.testing import ManualClock
from sinks.notify.decide import Decider
from sinks.notify.routes import Routes
from sinks.notify.worker import NotifyOptions, NotifyWorker
from sinks.timescale.connection import connector
from sinks.timescale.worker import Worker, WorkerOptions
from tests.support.sinks import CODEC, running
from tests.support.waiting import until


def timescale(connect, clock: ManualClock) -> Worker:
    options = WorkerOptions("sink", {}, "readings", "anomalies", "devices", longest_wait=0.05)
    return Worker(options, CODEC, connect, lambda _: None, clock=clock.monotonic)


def notify(connect, clock: ManualClock) -> NotifyWorker:
    options = NotifyOptions("sink", {}, longest_wait=0.05)
    return NotifyWorker(options, CODEC, connect, Decider(Routes((), {})), {}, lambda _: None, clock)


@pytest.mark.parametrize("make", [timescale, notify])
def test_a_database_that_is_away_at_the_start_is_no_reason_for_a_restart(make) -> None:
    tries, clock = [0], ManualClock()
    nobody = connector(SecretStr("postgresql://nobody@127.0.0.1:1/none"))

    def connect() -> psycopg.Connection:
        tries[0] += 1
        return nobody()

    with running(make(connect, clock)) as sink:
        until(lambda: tries[0] > 1, what="the second try")
        clock.advance(3600.0)
        assert sink.alive
        assert not sink.ready
