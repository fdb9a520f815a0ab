"""`sigmawatch doctor` on real brokers and databases."""

import time
import uuid
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.doctor import Context, Status, all_checks
from deploy.doctor.running import run_checks
from schemas.dead_letters import DeadLetterReason, dead_letter_headers
from schemas.kafka import Publisher
from schemas.settings import load_settings
from schemas.topics import TopicSpec, changelog_topic, create_topics, topic_specs
from sinks.timescale.migrate import migrate
from tests.support.sinks import Database, new_role

pytestmark = pytest.mark.integration

OF_KAFKA = ("broker", "topics", "changelog", "groups", "dead letters", "clock of messages")
OF_DATABASE = ("database", "migrations", "rights", "database space", "clock of the database")


def examine(settings, names, seconds=15.0):
    chosen = [one for one in all_checks() if one.name in names]
    return {one.name: one for one in run_checks(chosen, Context(settings, seconds=seconds), limit=120)}


def statuses(reports):
    return {name: str(report.status) for name, report in reports.items()}


def test_a_cluster_before_and_after_it_is_set_up(broker):
    name = uuid.uuid4().hex[:8]
    overrides = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        **{f"topics.{one}": f"{one}-{name}" for one in ("readings", "anomalies", "devices")},
        "topics.partitions": 2,
        "processor.group": f"processor-{name}",
        "sink.group": f"sink-{name}",
    }
    settings = load_settings(None, overrides, {})
    bare = examine(settings, OF_KAFKA)
    expected = dict.fromkeys(OF_KAFKA, "skipped") | {"broker": "ok", "topics": "fail", "changelog": "fail"}
    assert statuses(bare) == expected
    if broker.name != "tansu":
        assert "speaks as Kafka" in bare["broker"].findings[0].found
    assert "topics create" in bare["topics"].findings[0].remedy

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    create_topics(admin, topic_specs(settings))
    ahead_ms = round(time.time() * 1000) + 600_000  # ten minutes; Kafka takes an hour
    with Publisher({"bootstrap.servers": broker.bootstrap_servers}) as publisher:
        publisher.send(settings.topics.readings, b"d", b"rubbish", partition=0, timestamp_ms=ahead_ms)
        place = (settings.topics.readings, 0, 0)
        headers = dead_letter_headers(
            *place, DeadLetterReason.BAD_MAGIC, stage="VALUE_CONVERTER", consumer="g"
        )
        publisher.send(f"{settings.topics.readings}.dlq", b"d", b"rubbish", headers=headers)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": settings.sink.group})
    consumer.commit(offsets=[TopicPartition(settings.topics.readings, 0, 0)], asynchronous=False)
    consumer.close()
    found = examine(settings, OF_KAFKA)
    assert statuses(found) == {
        "broker": "ok",
        "topics": "ok",
        "changelog": "ok",
        "groups": "warn",
        "dead letters": "warn",
        "clock of messages": "warn",
    }
    processor, sink = found["groups"].findings
    assert processor.status is Status.SKIPPED
    assert "0 members, 1 messages behind" in sink.found
    assert f"1 in {settings.topics.readings}.dlq" in found["dead letters"].findings[0].found
    assert "ahead" in found["clock of messages"].findings[0].found


@pytest.mark.most_real
def test_a_changelog_that_is_not_compacted_fails(broker):
    name = uuid.uuid4().hex[:8]
    overrides = {"kafka.bootstrap_servers": broker.bootstrap_servers, "processor.group": f"processor-{name}"}
    settings = load_settings(None, overrides, {})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    create_topics(
        admin, [TopicSpec(changelog_topic(settings.processor.group), 8, {"cleanup.policy": "delete"})]
    )
    report = examine(settings, ("broker", "changelog"))["changelog"]
    assert report.status is Status.FAIL
    assert "compact" in report.findings[0].remedy


def test_a_database_before_and_after_it_is_migrated(database: Database):
    settings = load_settings(None, {"database.url": database.url}, {})
    assert statuses(examine(settings, OF_DATABASE)) == {
        "database": "ok",
        "migrations": "fail",
        "rights": "skipped",
        "database space": "ok",
        "clock of the database": "ok",
    }
    with psycopg.connect(database.url, autocommit=True) as connection:
        migrate(connection)
    found = examine(settings, OF_DATABASE)
    assert statuses(found) == dict.fromkeys(OF_DATABASE, "ok")
    assert "may read and write, and migrate" in found["rights"].findings[0].found


def test_a_role_that_may_only_read_is_said(plain_database: Database):
    with psycopg.connect(plain_database.url, autocommit=True) as connection:
        migrate(connection)
    with new_role(plain_database, "LOGIN PASSWORD 'known-to-the-test'") as role:
        url = _as_role(plain_database.url, role, "known-to-the-test")
        settings = load_settings(None, {"database.url": url}, {})
        plain_database.query(f"GRANT SELECT ON schema_migration TO {role}")
        nothing = examine(settings, ("database", "migrations", "rights"))
        assert nothing["rights"].status is Status.FAIL
        plain_database.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        reads = examine(settings, ("database", "migrations", "rights", "database space"))
        assert reads["rights"].status is Status.WARN
        assert "db roles" in reads["rights"].findings[0].remedy
        assert reads["database space"].status is not Status.FAIL


def _as_role(url: str, role: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}").geturl()
