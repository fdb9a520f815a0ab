"""The table of topics, and how differences read. Clusters: tests/integration/schemas."""

import logging

import pytest
from confluent_kafka.admin import AdminClient

from schemas.errors import TopicError
from schemas.settings import ProcessorSettings, Settings, TopicSettings
from schemas.topics import TopicDifference, TopicSpec, check_topics, create_topics, topic_specs

DAY_MS = 86_400_000


def test_the_table():
    table = {spec.name: spec for spec in topic_specs(Settings())}
    assert {name: spec.partitions for name, spec in table.items()} == {
        "readings": 8,
        "devices": 8,
        "anomalies": 8,
        "sigmawatch-processor-series-changelog": 8,
        "simulator.commands": 1,
        "simulator.replies": 1,
        "readings.dlq": 1,
        "devices.dlq": 1,
        "anomalies.dlq": 1,
        "readings.dlq.redriven": 1,
        "devices.dlq.redriven": 1,
        "anomalies.dlq.redriven": 1,
    }
    assert table["readings"].config == {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}
    assert table["devices"].config == {"cleanup.policy": "compact"}
    assert table["anomalies"].config["retention.ms"] == str(30 * DAY_MS)
    assert table["simulator.commands"].config == table["simulator.replies"].config
    assert table["simulator.commands"].config["retention.ms"] == str(DAY_MS // 24)
    assert table["readings.dlq"].config["retention.ms"] == str(30 * DAY_MS)
    assert table["readings.dlq.redriven"].config == {"cleanup.policy": "compact"}
    assert all(spec.purpose and spec.replication_factor == 1 for spec in table.values())


def test_names_and_sizes_come_from_the_settings():
    settings = Settings(
        topics=TopicSettings(
            readings="r",
            devices="d",
            anomalies="a",
            commands="c",
            replies="p",
            partitions=3,
            replication_factor=3,
        ),
        processor=ProcessorSettings(group="g"),
    )
    table = {spec.name: spec for spec in topic_specs(settings)}
    letters = {f"{name}.dlq{end}" for name in "rda" for end in ("", ".redriven")}
    assert set(table) == {"r", "d", "a", "c", "p", "g-series-changelog", *letters}
    assert table["g-series-changelog"].partitions == table["r"].partitions == 3
    assert all(
        spec.config["min.insync.replicas"] == "2" and spec.replication_factor == 3 for spec in table.values()
    )


def test_differences_read_well():
    assert str(TopicDifference("r", "topic", "present", "missing")) == "topic r is missing"
    assert str(TopicDifference("r", "partitions", "8", "1")) == "topic r: partitions is 1, expected 8"


def test_a_broker_that_is_not_there():
    silent = logging.getLogger("tests.librdkafka")
    silent.setLevel(logging.CRITICAL)
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "logger": silent})
    with pytest.raises(TopicError, match=r"r: .*Is the broker reachable"):
        create_topics(admin, [TopicSpec("r", 1)], timeout=0.2)
    with pytest.raises(TopicError, match="Is the broker reachable"):
        check_topics(admin, [TopicSpec("r", 1)], timeout=0.2)
