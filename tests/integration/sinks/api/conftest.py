"""The API over a filled database; without a broker unless a test has one."""

import logging
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import ApiSettings, DatabaseSettings, KafkaSettings, Settings, TopicSettings
from schemas.web.app import serve
from sinks.api.app import query_api, query_app
from tests.integration.sinks.queries.conftest import fill
from tests.support.sinks import new_database, topics
from tests.support.waiting import until

__all__ = ["topics"]

logging.getLogger("librdkafka").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def filled(real_database_server):
    """A database with the small plant of the queries' tests."""
    with new_database(real_database_server) as database:
        fill(database.url)
        yield database


def settings_for(url, kafka="127.0.0.1:9", topics=None, **api):
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=kafka),
        database=DatabaseSettings(url=SecretStr(url)),
        topics=topics or TopicSettings(),
        api=ApiSettings(**({"port": 0} | api)),
    )


@pytest.fixture(scope="session")
def client(filled):
    """A client of the API, once it knows the devices."""
    settings = settings_for(filled.url, rate_limit="off")
    with query_api(settings, Codec(Catalogue())) as api:
        until(api.fleet.ready.is_set, what=lambda: api.fleet.trouble)
        until(lambda: api.fleet.device("oven-0").last_seen)
        api.quality = lambda begin, end: {"overall": {"from": begin, "to": end}} if begin.year > 2000 else {}
        app = query_app(settings, api)
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
            yield made


@contextmanager
def served(settings):
    """The API on a port of its own: its address, what it stands on, and its end."""
    stop, found, listening = threading.Event(), [], threading.Event()

    def told(port):
        found.append(port)
        listening.set()

    with query_api(settings, Codec(Catalogue())) as api:
        api.stop = stop
        thread = threading.Thread(
            target=serve, args=(query_app(settings, api), settings.api, stop), kwargs={"on_listening": told}
        )
        thread.start()
        try:
            assert listening.wait(120)
            yield SimpleNamespace(address=f"http://127.0.0.1:{found[0]}", api=api)
        finally:
            began = time.monotonic()
            stop.set()
            thread.join(120)
            assert not thread.is_alive(), f"not ended after {time.monotonic() - began:.0f} s"
