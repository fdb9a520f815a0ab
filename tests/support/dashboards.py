"""The whole pipeline behind a dashboard, and a browser before it: broker, simulator, processor, sink, page."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest
from fastapi import APIRouter
from playwright.sync_api import Browser, sync_playwright
from pydantic import SecretStr

from deploy.control_client import ControlClient
from deploy.embedded import free_port
from deploy.quality.scoring import Quality
from deploy.quality.stored import run_quality
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import WebSettings, load_settings
from schemas.web.app import new_app, serve
from sinks.dashboard import (
    OPEN_PATHS,
    DashboardSources,
    FaultQuality,
    PartitionFigures,
    PipelineFigures,
    QualityFigures,
    mount_dashboard,
)
from sinks.queries.connection import Readers
from sinks.service import timescale_sink
from tests.support.processing import Pipeline, Processor, processors
from tests.support.simulators import Simulators
from tests.support.sinks import running
from tests.support.waiting import until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def browser_path() -> str | None:
    """A Chromium of this machine: CHROME, or one on the path."""
    named = os.environ.get("CHROME")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium: install one, or name it in CHROME")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class DashboardStack:
    """A running pipeline with its dashboard."""

    url: str
    database_url: str
    control: ControlClient

    def execute(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """A statement to the database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def served(sources: DashboardSources, *routers: APIRouter, **settings: Any) -> Iterator[str]:
    """A dashboard with these routes beside it, on a port of its own; its address."""
    web = WebSettings(**{"rate_limit": "off", **settings})
    app = new_app("Sigmawatch", web, open_paths=OPEN_PATHS)
    mount_dashboard(app, sources)
    for router in routers:
        app.include_router(router)
    stop, ports, listening = threading.Event(), list[int](), threading.Event()

    def note(port: int) -> None:
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=lambda: serve(app, web, stop, on_listening=note))
    thread.start()
    try:
        assert listening.wait(60)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def dashboard_stack(
    bootstrap_servers: str, database_url: str, folder: Path, *simulate: str, port: int = 0, **processor: Any
) -> Iterator[DashboardStack]:
    """All of it, with faults only where they are injected; ready when the first readings are stored.

    Args:
        bootstrap_servers: of a broker.
        database_url: of an empty database.
        folder: for logs.
        simulate: options of `sigmawatch simulate`.
        port: of the page.
        processor: settings of the processor's section.
    """
    pipeline = Pipeline(bootstrap_servers, partitions=2).create_topics()
    settings = load_settings(
        None,
        {
            **pipeline.overrides(),
            "sink.group": f"sink-{pipeline.name}",
            "sink.batch_interval": 0.2,
            "database.url": database_url,
        },
        {},
    )
    control_port = free_port()
    readers = Readers(SecretStr(database_url))
    with ExitStack() as stack:
        sink = timescale_sink(settings, Codec(Catalogue()))
        stack.enter_context(running(sink))
        (worker,) = stack.enter_context(
            processors(pipeline, folder, checkpoint_interval=2.0, preset="standard", **processor)
        )
        simulators = Simulators(pipeline, folder)
        simulator = simulators.simulate(
            "--control", "--control-port", str(control_port), "--anomaly-rate", "0", *simulate
        )
        stack.callback(simulator.process.wait)
        stack.callback(simulator.process.terminate)
        control = stack.enter_context(ControlClient(f"http://127.0.0.1:{control_port}"))
        readers.open()
        stack.callback(readers.close)
        began = datetime.now(UTC)
        sources = DashboardSources(
            connection=readers.connection,
            control=control.call,
            quality=lambda _: _quality(database_url, began),
            pipeline=lambda: _pipeline(worker),
            readings_topic=pipeline.readings,
        )
        url = stack.enter_context(served(sources, port=port))
        made = DashboardStack(url, database_url, control)
        until(lambda: made.execute("SELECT to_regclass('readings') IS NOT NULL") == [(True,)])
        until(lambda: made.execute("SELECT EXISTS (SELECT FROM readings)") == [(True,)], what=simulator.said)
        yield made


def _pipeline(worker: Processor) -> PipelineFigures:
    partitions = [
        PartitionFigures(
            partition=number,
            next_offset=counts["next_offset"],
            committed_offset=counts["committed_offset"],
            lag=None,
            series=counts["series"],
            warming=counts["warming"],
            watched=counts["watched"],
            open=counts["open"],
            dead_letters=counts["dead_letters"],
        )
        for number, counts in sorted(worker.partitions().items())
    ]
    return PipelineFigures(1, partitions)


def _quality(database_url: str, began: datetime) -> QualityFigures:
    end = datetime.now(UTC) + timedelta(seconds=5)
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = run_quality(connection, *(round(time.timestamp() * 1e6) for time in (began, end)))
    if found is None:
        return QualityFigures(began, end, 0, 0, 0, 0, None, None, 0, None, ())
    return replace(_figures(found.quality, began, end), devices=found.devices, warming=found.warming)


def _figures(quality: Quality, begin: datetime, end: datetime) -> QualityFigures:
    delays = [delay for score in quality.faults.values() for delay in score.delays_s]
    return QualityFigures(
        begin,
        end,
        devices=0,
        warming=0,
        events=quality.events,
        detected=quality.detected,
        recall=quality.recall,
        precision=quality.precision,
        false_alarms=quality.false_alarms,
        median_delay_s=median(delays) if delays else None,
        faults=[
            FaultQuality(name, score.events, score.detected, score.median_delay_s)
            for name, score in quality.faults.items()
        ],
    )


__all__ = [
    "DashboardStack",
    "browser_path",
    "dashboard_stack",
    "running_browser",
    "served",
]
