"""`sigmawatch up` on servers of the user's own, and on an embedded Apache Kafka."""

import psycopg
import pytest

from deploy.embedded import kafka_available
from tests.integration.deploy.conftest import LIVELY, assert_exact
from tests.support.sinks import database

__all__ = ["database"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.most_real
def test_servers_of_ones_own_with_what_is_in_them_already(stack, fresh_broker, database):
    own = {"SIGMAWATCH_DATABASE__URL": database.url}
    servers = ("--bootstrap-servers", fresh_broker.bootstrap_servers)
    first = assert_exact(stack.run("up", "--duration", "3", "--json", *servers, *LIVELY, **own))
    assert first["readings"]["produced"] == 900
    # What was sent meanwhile is caught up with first, and not counted.
    stack.run("simulate", "--duration", "2", *servers, *LIVELY)
    second = stack.run("up", "--duration", "3", "--json", "--workers", "2", *servers, *LIVELY, **own)
    assert "catching up first with 600 readings" in second.err
    assert assert_exact(second)["readings"]["produced"] == 900
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (2400,)
    assert not (stack.state / "postgres").exists()


def test_on_apache_kafka(stack):
    if reason := kafka_available():
        pytest.skip(f"Apache Kafka cannot be had: {reason}")
    verdict = assert_exact(stack.run("up", "--broker", "kafka", "--duration", "3", "--json", *LIVELY))
    assert verdict["readings"] == {"produced": 900, "processed": 900, "stored": 900}
