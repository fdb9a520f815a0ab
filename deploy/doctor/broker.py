"""Checks of Kafka: the broker, topics, groups, dead letters, the clock by the messages' times; and the schema registry."""

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from deploy.doctor.check import Context, Finding, check, fail, failure, ok, skipped, warn
from deploy.doctor.kafka_version import kafka_version
from deploy.reading import Place, ends_of, plain_consumer
from schemas.dead_letters import dlq_topic
from schemas.errors import SigmawatchError
from schemas.kafka import client_config, new_client, settled
from schemas.topics import TopicSpec, changelog_topic, check_topics, topic_specs

if TYPE_CHECKING:
    from schemas.settings import Settings

_MUCH_LAG = 1_000_000
_AHEAD_SECONDS = 5.0

_AROUND = re.compile(r"^\S+/(bootstrap|\d+): | \(after [^)]*\)$")
"""What librdkafka says around a reason."""


@check("broker")
def look_at_broker(context: Context) -> list[Finding]:
    """Whether a broker answers, which one it is, and what of TLS and passwords is odd."""
    settings = context.known
    told: list[KafkaError] = []
    admin = _admin(settings, error_cb=told.append)
    try:
        cluster = admin.list_topics(timeout=context.seconds)
    except KafkaException as error:
        admin.poll(0)  # what librdkafka was told on the way is said by callback
        return [_unreachable(settings, [error.args[0], *told])]
    brokers = ", ".join(str(one) for one in cluster.brokers.values())
    version = kafka_version(settings, context.seconds)
    speaks = f", speaks as Kafka {version} or newer" if version else ""
    found = [ok(f"{brokers} answers{speaks}; {len(cluster.topics)} topics")]
    replicas = settings.topics.replication_factor
    if replicas > len(cluster.brokers):
        found.append(
            fail(
                f"topics.replication_factor is {replicas}, the brokers are {len(cluster.brokers)}",
                "Lower it.",
            )
        )
    protocol = settings.kafka.options.get("security.protocol", "plaintext").lower()
    if protocol == "sasl_plaintext" and not _is_loopback(settings.kafka.bootstrap_servers):
        found.append(
            warn(
                "the password goes over the network in the clear",
                "Set kafka.options.security.protocol to sasl_ssl.",
            )
        )
    return found


@check("topics", needs=("broker",))
def look_at_topics(context: Context) -> list[Finding]:
    """The topics as `topics check` compares them."""
    settings = context.known
    specs = [spec for spec in topic_specs(settings) if spec.name != _changelog(settings)]
    return _compare(settings, specs, context.seconds) or [ok(f"all {len(specs)} are as they should be")]


@check("changelog", needs=("broker",))
def look_at_changelog(context: Context) -> list[Finding]:
    """The processor's state: compacted, and with as many partitions as the readings have."""
    settings = context.known
    name = _changelog(settings)
    specs = [spec for spec in topic_specs(settings) if spec.name == name]
    found = _compare(settings, specs, context.seconds)
    topics = _admin(settings).list_topics(timeout=context.seconds).topics
    readings = topics.get(settings.topics.readings)
    if name in topics and readings is not None and len(topics[name].partitions) != len(readings.partitions):
        found.append(
            fail(
                f"{name} has {len(topics[name].partitions)} partitions, {settings.topics.readings} has"
                f" {len(readings.partitions)}",
                "Start with another processor.group: its changelog gets as many.",
            )
        )
    policies = [one for one in found if "cleanup.policy" in one.found]
    rest = [one for one in found if one not in policies]
    lost = "Without compaction Kafka deletes the state: kafka-configs --alter --add-config cleanup.policy=compact."
    return [*(fail(one.found, lost) for one in policies), *rest] or [ok(f"{name} is compacted")]


@check("groups", needs=("topics",))
def look_at_groups(context: Context) -> list[Finding]:
    """The consumer groups of processor and sink: who is in them, and how far behind."""
    settings = context.known
    topics = settings.topics
    read = {
        settings.processor.group: [topics.readings],
        settings.sink.group: [topics.readings, topics.anomalies, topics.devices],
    }
    ends = ends_of(settings, [topics.readings, topics.anomalies, topics.devices])
    return [_group(settings, group, names, ends, context.seconds) for group, names in read.items()]


@check("dead letters", needs=("topics",))
def look_at_dead_letters(context: Context) -> Finding:
    """How many dead letters there are."""
    settings = context.known
    topics = settings.topics
    letters = [dlq_topic(name) for name in (topics.readings, topics.anomalies, topics.devices)]
    consumer = plain_consumer(settings)
    try:
        ends = ends_of(settings, letters)
        counts: dict[str, int] = {}
        for (topic, partition), end in ends.items():
            asked = TopicPartition(topic, partition)
            low, _ = settled(partial(consumer.get_watermark_offsets, asked, timeout=context.seconds))
            counts[topic] = counts.get(topic, 0) + max(0, end - low)
    finally:
        consumer.close()
    named = ", ".join(f"{count:,} in {topic}" for topic, count in sorted(counts.items()) if count)
    if not named:
        return ok("there are none")
    return warn(named, "`sigmawatch dlq list` says why; after a fix `sigmawatch dlq redrive` puts them back.")


@check("clock of messages", needs=("topics",))
def look_at_message_times(context: Context) -> Finding:
    """Whether the newest readings' timestamps lie in this machine's future: then the clocks differ."""
    newest = _newest_timestamp_ms(context.known, context.seconds)
    if newest is None:
        return skipped(f"there are no messages in {context.known.topics.readings}")
    ahead = newest / 1000 - time.time()
    if ahead > _AHEAD_SECONDS:
        return warn(
            f"the newest reading's timestamp is {ahead:.0f} s ahead of this machine's clock",
            "Set the clocks by NTP: here, and where readings are produced.",
        )
    return ok(f"the newest reading was written {max(0.0, -ahead):,.0f} s ago by this machine's clock")


@check("registry")
def look_at_registry(context: Context) -> list[Finding]:
    """The schema registry, where there is one."""
    settings = context.known
    if settings.schema_registry.url is None:
        return [skipped("no schema registry is set: schemas have fixed ids")]
    from schemas.registry import check_schemas  # noqa: PLC0415 - slow to import

    results = check_schemas(settings)
    bad = [one for one in results if not one.fine]
    if bad:
        return [fail(str(one), "Run `sigmawatch schemas register`.") for one in bad]
    return [ok(f"{settings.schema_registry.url}: all {len(results)} schemas are there")]


def _admin(settings: "Settings", **more: Any) -> Any:
    # What goes wrong is a finding; librdkafka's own lines would stand between the rows.
    return new_client(AdminClient, {**client_config(settings.kafka), "log_level": 0, **more})


def _changelog(settings: "Settings") -> str:
    return changelog_topic(settings.processor.group)


def _compare(settings: "Settings", specs: list[TopicSpec], seconds: float) -> list[Finding]:
    findings = []
    for difference in check_topics(_admin(settings), specs, seconds):
        if difference.what == "topic":
            findings.append(fail(str(difference), "Make it with `sigmawatch topics create`."))
        else:
            findings.append(
                warn(str(difference), "Change the topic, or the setting topics.* if it is meant to be so.")
            )
    return findings


def _unreachable(settings: "Settings", errors: list[KafkaError]) -> Finding:
    """What a broker that does not answer lets one guess."""
    servers = settings.kafka.bootstrap_servers
    codes = {error.code() for error in errors}
    texts = " ".join(str(error.str()) for error in errors)
    # The first is "transport failure"; the callback's have the reason.
    said = _AROUND.sub("", str((errors[1:] or errors)[0].str()))
    remedy = "Is it running? Name it with --bootstrap-servers."
    if KafkaError._AUTHENTICATION in codes:  # noqa: SLF001
        remedy = "Are sasl.mechanism, sasl.username and sasl.password of kafka.options right?"
    elif KafkaError._SSL in codes or "ssl" in texts.lower():  # noqa: SLF001
        remedy = (
            "Is kafka.options.ssl.ca.location the authority of its certificate, and does this port speak TLS?"
        )
    elif KafkaError._RESOLVE in codes:  # noqa: SLF001
        remedy = "The host's name is not known here: is it spelt right?"
    elif "ApiVersion" in texts or "closed by peer" in texts.lower():
        remedy = "Something listens, and is no Kafka, or wants TLS: kafka.options.security.protocol ssl or sasl_ssl."
    return fail(f"{servers} does not answer: {said}", remedy)


def _is_loopback(servers: str) -> bool:
    return all(
        one.strip().rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") for one in servers.split(",")
    )


def _group(
    settings: "Settings", group: str, topics: list[str], ends: dict[Place, int], seconds: float
) -> Finding:
    admin = _admin(settings)
    try:
        described = admin.describe_consumer_groups([group], request_timeout=seconds)[group].result()
        asked = [ConsumerGroupTopicPartitions(group)]
        (future,) = admin.list_consumer_group_offsets(asked, request_timeout=seconds).values()
        committed = {
            (one.topic, one.partition): one.offset
            for one in future.result().topic_partitions
            if one.offset >= 0
        }
    except KafkaException as error:
        # A group that never was: Kafka 4 says so, older ones describe an empty one.
        if "not found" in str(error.args[0].str()).lower():
            return skipped(f"{group} has not read anything yet")
        return failure(SigmawatchError(f"{group}: {error.args[0].str()}", "Is it allowed to be described?"))
    members = len(described.members)
    if not members and not committed:
        return skipped(f"{group} has not read anything yet")
    lag = sum(max(0, end - committed.get(place, 0)) for place, end in ends.items() if place[0] in topics)
    text = f"{group}: {members} members, {lag:,} messages behind"
    if not members:
        return warn(
            text, "Nobody is in it: start the part, `sigmawatch process` or `sigmawatch sink timescale`."
        )
    if lag > _MUCH_LAG:
        return warn(text, "If it grows: start more of them, up to the number of partitions.")
    return ok(text)


def _newest_timestamp_ms(settings: "Settings", seconds: float) -> int | None:
    """Timestamp of the newest reading among the partitions' last ones, as far as they come in time."""
    consumer = plain_consumer(settings)
    try:
        topic = settings.topics.readings
        numbers = consumer.list_topics(timeout=seconds).topics[topic].partitions
        places = []
        for number in numbers:
            asked = TopicPartition(topic, number)
            low, high = settled(partial(consumer.get_watermark_offsets, asked, timeout=seconds))
            if high > low:
                # One earlier: behind the last one there may be the end of a transaction, which is no message.
                places.append(TopicPartition(topic, number, max(low, high - 2)))
        consumer.assign(places)
        ended: set[int] = set()
        newest: int | None = None
        deadline = time.monotonic() + seconds
        while len(ended) < len(places) and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                if message.error() is not None:
                    ended.add(int(message.partition()))
                elif message.timestamp()[0]:
                    newest = max(newest or 0, message.timestamp()[1])
        return newest
    finally:
        consumer.close()
