from threading import Event

import psycopg
import pytest
from pydantic import SecretStr

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import RegistryUnavailableError
from schemas.readings import Anomaly
from schemas.testing import ManualClock
from sinks.anomalies import AnomalyReader
from sinks.notify.decide import Decider
from sinks.notify.routes import Routes
from sinks.notify.worker import NotifyOptions, NotifyWorker
from sinks.timescale.connection import connector
from sinks.timescale.worker import Worker, WorkerOptions
from tests.support.sink_columns import FakeMessage
from tests.support.sinks import CODEC, anomaly, running
from tests.support.waiting import until


class Message(FakeMessage):
    """One in the first partition of a topic."""

    def topic(self) -> str:
        return "topic"

    def partition(self) -> int:
        return 0


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


def test_waiting_for_a_registry_is_no_reason_for_a_restart() -> None:
    """Each pause counts as a turn of the loop; the consumers of anomalies and of readings tell of theirs alike."""
    pauses = []

    def away(_: bytes) -> Anomaly:
        if len(pauses) > 2:
            return anomaly(1)
        raise RegistryUnavailableError("away")

    codec = Codec(Catalogue())
    codec.decode_anomaly = away  # type: ignore[method-assign]
    reader = AnomalyReader(codec, "sink", Event(), 0.01, lambda: pauses.append(None))
    (found,) = reader.read([Message(0, b"x")], {("topic", 0): 0})
    assert found.anomaly is not None
    assert len(pauses) == 3
