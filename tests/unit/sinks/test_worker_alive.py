import psycopg
from pydantic import SecretStr

from sinks.timescale.connection import connector
from sinks.timescale.worker import Worker, WorkerOptions
from tests.support.sinks import CODEC, running
from tests.support.waiting import until


def test_a_database_that_is_away_at_the_start_is_no_reason_for_a_restart() -> None:
    tries, now = [0], [0.0]
    nobody = connector(SecretStr("postgresql://nobody@127.0.0.1:1/none"))

    def connect() -> psycopg.Connection:
        tries[0] += 1
        return nobody()

    options = WorkerOptions("sink", {}, "readings", "anomalies", "devices", longest_wait=0.05)
    with running(Worker(options, CODEC, connect, lambda _: None, clock=lambda: now[0])) as worker:
        until(lambda: tries[0] > 1, what="the second try")
        now[0] += 3600.0
        assert worker.alive
        assert not worker.ready
