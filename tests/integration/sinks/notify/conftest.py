"""Notify workers on a real broker and database, with real receivers."""

import time
import uuid
from dataclasses import replace

import pytest
from pydantic import SecretStr

from schemas.kafka import Publisher
from schemas.readings import Anomaly, AnomalySeverity, AnomalyState
from sinks.dead_letters import dead_letter_office
from sinks.kafka import consumer_defaults
from sinks.notify.decide import Decider
from sinks.notify.deliveries import Patience
from sinks.notify.routes_file import parse_routes
from sinks.notify.targets import Target
from sinks.notify.worker import NotifyOptions, NotifyWorker
from sinks.timescale.connection import connector
from tests.support.receivers import Mailbox, Webhooks
from tests.support.sinks import CODEC, SHORT_SESSION, Topics, anomaly


@pytest.fixture
def webhooks():
    with Webhooks() as server:
        yield server


@pytest.fixture
def mailbox():
    with Mailbox() as server:
        yield server


@pytest.fixture
def alarm():
    """Makes anomalies of now."""

    def make(number: int, **fields) -> Anomaly:
        now = time.time_ns() // 1000
        values = {
            "anomaly_id": uuid.uuid5(uuid.NAMESPACE_OID, str(number)),
            "kind": "spike",
            "severity": AnomalySeverity.WARNING,
            "opened_at": now,
            "detected_at": now,
        }
        return anomaly(number, **(values | fields))

    return make


@pytest.fixture
def over():
    """What clears an anomaly."""

    def make(opened: Anomaly) -> Anomaly:
        return replace(opened, state=AnomalyState.CLEARED, cleared_at=time.time_ns() // 1000)

    return make


@pytest.fixture
def notifier(topics: Topics):
    """Makes workers."""

    def make(url: str, text: str, **options) -> NotifyWorker:
        routes = parse_routes(text.encode(), "routes.yaml", {})
        consumer = {
            "bootstrap.servers": topics.bootstrap_servers,
            **consumer_defaults(topics.group),
            **SHORT_SESSION,
        }
        values = {"patience": Patience(0.05, 0.2, 60.0), "longest_wait": 0.5, "lease_seconds": 10.0} | options
        return NotifyWorker(
            NotifyOptions(topics.group, consumer, topics.anomalies, **values),
            CODEC,
            connector(SecretStr(url)),
            Decider(routes),
            {name: Target(name, target, 5.0) for name, target in routes.targets.items()},
            dead_letter_office(
                lambda: Publisher({"bootstrap.servers": topics.bootstrap_servers}), topics.group
            ),
        )

    return make
