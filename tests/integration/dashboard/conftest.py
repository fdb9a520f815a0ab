"""A browser for each file; a plant that stands still for most tests, a pipeline that runs for some."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from sinks.dashboard import DashboardSources
from sinks.queries.connection import Readers
from sinks.timescale.migrate import migrate
from tests.support.dashboards import dashboard_stack, running_browser, served
from tests.support.sinks import new_database

DEVICES = 10_000
MARKUP = '<img src=x onerror="window.hacked=1"> & <b>bold</b>'
READINGS = 200

NOT_HERE = ("/api/v1/notify/routes",)
"""What the page asks of servers that have more than the dashboard."""


@pytest.fixture(scope="module")
def browser():
    with running_browser() as chromium:
        yield chromium


@pytest.fixture
def open_page(browser):
    """Opens an address in a page of its own; at the end nothing may have gone wrong in any, nor left this machine."""
    contexts, troubles = [], []

    def ours(address):
        return address.startswith(("http://127.0.0.1:", "data:", "blob:"))

    def opened(url, *, expected=(), **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: None if ours(request.url) else troubles.append(request.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))

        def said(message):
            text = f"{message.text} {message.location.get('url')}"
            if message.type in {"error", "warning"} and not any(
                one in text for one in (*expected, *NOT_HERE)
            ):
                troubles.append(text)

        page.on("console", said)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def fill(url):
    """10,000 devices without readings; one with markup in all its names, readings of an hour and an open anomaly."""
    now = datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        connection.execute(
            """INSERT INTO devices (device_id, type, name, location, manufacturer, model, firmware, serial_number, units,
                                    attributes)
               SELECT format('oven-%%s', lpad(n::text, 5, '0')), CASE n %% 4 WHEN 0 THEN 'oven' ELSE 'heater' END,
                      'Number ' || n, CASE n %% 2 WHEN 0 THEN 'Hall A' ELSE 'Hall B' END, 'M', 'M', '1', 'S', '{}', '{}'
               FROM generate_series(1, %s) AS n""",
            (DEVICES - 1,),
        )
        connection.execute(
            """INSERT INTO devices (device_id, type, name, location, manufacturer, model, firmware, serial_number, units,
                                    attributes)
               VALUES (%s, %s, %s, %s, %s, %s, '1', 'S', jsonb_build_object(%s::text, %s::text),
                       jsonb_build_object(%s::text, %s::text))""",
            [MARKUP] * 10,
        )
        connection.execute(
            """INSERT INTO readings (device_id, metric, time, value, fault)
               SELECT %s, %s, %s::timestamptz - n * interval '1 second', 20 + sin(n / 7.0), NULL
               FROM generate_series(1, %s) AS n""",
            (MARKUP, MARKUP, now, READINGS),
        )
        connection.execute(
            """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, value, score, mean, std, lower,
                                      upper, readings, detected_at, severity, channel, expected, reason)
               VALUES (%s, %s, %s, 'level_shift', 'OPENED', %s, 20.5, 0.9, 20, 1, 18, 22, 9, %s, 'CRITICAL', 'jump', 20, %s)""",
            (
                UUID(int=1),
                MARKUP,
                MARKUP,
                now - timedelta(seconds=60),
                now,
                MARKUP,
            ),
        )


@pytest.fixture(scope="module")
def plant(real_database_server):
    """A dashboard over a database that stands still, without a simulation."""
    with new_database(real_database_server) as database:
        fill(database.url)
        readers = Readers(SecretStr(database.url))
        readers.open()
        try:
            with served(DashboardSources(connection=readers.connection)) as url:
                yield SimpleNamespace(url=url, database=database)
        finally:
            readers.close()


@pytest.fixture(scope="module")
def stack(broker, real_database_server, tmp_path_factory):
    """A pipeline with six devices that are read ten times a second: warm after seconds."""
    with (
        new_database(real_database_server) as database,
        dashboard_stack(
            broker.bootstrap_servers,
            database.url,
            tmp_path_factory.mktemp("dashboard"),
            *("--fleet", "environmental", "--devices", "6", "--interval", "100ms"),
            minimum_readings=30,
        ) as running,
    ):
        yield running
