"""The ingest service over a Kafka that is a list."""

import threading

from fastapi.testclient import TestClient

from producers.clock import SystemClock
from producers.ingest.app import ingest_app
from producers.ingest.metrics import IngestMetrics
from producers.ingest.sender import Sender
from schemas.dead_letters import TimeBounds
from schemas.errors import PublishError
from schemas.settings import IngestSettings

TOKEN = "a-long-enough-token"


class Kafka:
    """What it acknowledged; a publisher and a courier in one."""

    def __init__(self):
        self.readings = []
        self.answers = threading.Event()
        self.answers.set()
        self.given_up = threading.Event()

    def send(self, found, _now_us):
        self.readings += found

    def flush(self, timeout=None):
        while not self.answers.wait(0.01):
            if self.given_up.is_set():
                raise PublishError("gave up waiting")

    def give_up(self):
        self.given_up.set()

    def close(self, timeout=0.0):
        pass


class Service:
    def __init__(self, **chosen):
        self.kafka = Kafka()
        self.settings = IngestSettings(**{"rate_limit": "off", "max_body_bytes": 65_536, **chosen})
        metrics = IngestMetrics()
        self.sender = Sender(
            self.kafka, lambda: self.kafka, SystemClock(), metrics, max_pending=self.settings.max_pending
        )
        self.app = ingest_app(self.settings, self.sender, SystemClock(), TimeBounds(), metrics)
        self.http = TestClient(self.app, base_url="http://127.0.0.1")
        self.sender.start()
