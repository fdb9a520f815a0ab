"""A pipeline with the default names, run to its end, for the tools to look at; a broker of each kind for all of them."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.support import servers
from tests.support.processing import Pipeline, fleet, processors, until_applied
from tests.support.sinks import new_database
from tests.support.waiting import until

PARTITIONS = 3
BAD = {b"broken": b"\0\0\0\0\1junk", b"text": b"22.5 degrees"}


def pytest_generate_tests(metafunc):
    if "finished" in metafunc.fixturenames:
        metafunc.parametrize(
            "finished", servers.chosen_brokers(metafunc.config), indirect=True, scope="package"
        )


class DefaultNames(Pipeline):
    """The names that nobody chose: what an operator's tools are given."""

    readings, anomalies, group = "readings", "anomalies", "sigmawatch-processor"

    def overrides(self, **processor):
        made = super().overrides(**processor)
        return {**made, "topics.devices": "devices"}


@contextmanager
def sink(settings, log):
    """A database sink in a process."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.sink_main", json.dumps(settings)], stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="package")
def finished(request, tmp_path_factory, real_database_server):
    """The pipeline, at rest: everything sent is processed, stored and committed, and nobody is in the groups."""
    folder = tmp_path_factory.mktemp("console")
    with (
        servers.running_broker(request.param, folder / "broker") as broker,
        new_database(real_database_server) as database,
    ):
        pipeline = DefaultNames(broker.bootstrap_servers, partitions=PARTITIONS).create_topics()
        pipeline.broker = broker
        pipeline.sent = fleet([f"device-{number}" for number in range(20)], 100, outliers=0.02)
        pipeline.count = pipeline.send(pipeline.sent) + pipeline.send_raw(BAD.items())
        stored = {**pipeline.overrides(), "database.url": database.url, "sink.batch_interval": 0.1}
        with processors(pipeline, folder) as (worker,), sink(stored, folder / "sink.log"):
            until_applied([worker], pipeline.count)
            until(lambda: rows(database) == len(pipeline.sent), 150, "all is stored")
            worker.stop()
        pipeline.expected = pipeline.anomalies_expected()
        yield pipeline


def rows(database):
    from psycopg.errors import UndefinedTable  # noqa: PLC0415

    try:
        return database.query("SELECT count(*) FROM readings")[0][0]
    except UndefinedTable:
        return 0
