"""Making and checking topics on real brokers."""

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from schemas.errors import TopicError
from schemas.settings import ProcessorSettings, Settings, TopicSettings
from schemas.topics import TopicSpec, check_topics, create_topics, topic_specs

pytestmark = pytest.mark.integration


def settings(prefix, partitions=3):
    return Settings(
        topics=TopicSettings(
            readings=f"{prefix}-readings",
            devices=f"{prefix}-devices",
            anomalies=f"{prefix}-anomalies",
            commands=f"{prefix}-commands",
            replies=f"{prefix}-replies",
            partitions=partitions,
        ),
        processor=ProcessorSettings(group=f"{prefix}-group"),
    )


def test_create_then_check(admin):
    specs = topic_specs(settings("fresh"))
    assert {str(difference) for difference in check_topics(admin, specs)} == {
        f"topic {spec.name} is missing" for spec in specs
    }
    assert not {spec.name for spec in specs} & admin.list_topics(timeout=10).topics.keys()  # asking made none
    made = create_topics(admin, specs)
    assert (set(made.created), made.existing) == ({spec.name for spec in specs}, ())
    assert check_topics(admin, specs) == []


def test_a_second_time_makes_only_what_is_missing(admin):
    specs = topic_specs(settings("again"))
    create_topics(admin, specs[:3])
    made = create_topics(admin, specs)
    assert set(made.existing) == {spec.name for spec in specs[:3]}
    assert set(made.created) == {spec.name for spec in specs[3:]}
    assert create_topics(admin, specs).created == ()


def test_differences_are_named(admin):
    create_topics(admin, [TopicSpec("odd", 1, {"cleanup.policy": "compact", "retention.ms": "1000"})])
    wanted = TopicSpec("odd", 4, {"cleanup.policy": "delete", "retention.ms": "1000"}, replication_factor=3)
    assert {str(difference) for difference in check_topics(admin, [wanted])} == {
        "topic odd: partitions is 1, expected 4",
        "topic odd: replication factor is 1, expected 3",
        "topic odd: cleanup.policy is compact, expected delete",
    }


def test_a_property_that_the_broker_does_not_tell_is_no_difference(admin):
    create_topics(admin, [TopicSpec("bare", 1)])
    resource = ConfigResource(ResourceType.TOPIC, "bare")
    told = admin.describe_configs([resource])[resource].result()
    found = check_topics(admin, [TopicSpec("bare", 1, {"retention.ms": "12345"})])
    assert [difference.what for difference in found] == (["retention.ms"] if "retention.ms" in told else [])


def test_what_the_broker_refuses_is_named_and_the_rest_is_made(admin, broker):
    if broker.name == "tansu":
        pytest.skip("Tansu takes any replication factor")
    with pytest.raises(TopicError, match=r"thrice: .*replication factor"):
        create_topics(admin, [TopicSpec("once", 1), TopicSpec("thrice", 1, replication_factor=3)])
    assert create_topics(admin, [TopicSpec("once", 1)]).existing == ("once",)
