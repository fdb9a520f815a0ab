"""The topics: one table of names, partitions and configuration; making them and comparing a cluster with it.

`topic_specs(settings)` is the table, filled in with the settings' names. What is not said in a topic's
configuration is left to the cluster.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget to export some
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.dead_letters import dlq_topic, redriven_topic
from schemas.errors import TopicError
from schemas.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

_DAY_MS = 86_400_000
_WEEK = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)}
_MONTH = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}
_COMPACT = {"cleanup.policy": "compact"}
# Read as it comes, and never again; an hour is for people who look.
_HOUR = {"cleanup.policy": "delete", "retention.ms": str(_DAY_MS // 24)}
# A dead letter is its original and some headers: whatever the readings' topic took must fit.
_DEAD_LETTERS = {**_MONTH, "max.message.bytes": str(2 * 1024 * 1024)}

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One row of the table; `config` has Kafka's topic properties, `purpose` is for people."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    purpose: str = ""
    replication_factor: int = 1


def changelog_topic(group: str) -> str:
    """The changelog of the processor's series table, by the name that Faust gives it."""
    return f"{group}-series-changelog"


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """The table for these settings."""
    topics = settings.topics
    partitions, copies = topics.partitions, topics.replication_factor
    # With three copies a write counts when two have it, so that the loss of one broker loses no reading.
    safety = {"min.insync.replicas": "2"} if copies >= 3 else {}
    rows: list[tuple[str, int, Mapping[str, str], str]] = [
        (topics.readings, partitions, _WEEK, "what devices measure, keyed by device"),
        (topics.devices, partitions, _COMPACT, "what does not change of each device"),
        (topics.anomalies, partitions, _MONTH, "episodes opened and cleared, keyed by device"),
        (
            changelog_topic(settings.processor.group),
            partitions,
            _COMPACT,
            "the processor's state, by its checkpoints",
        ),
        # One partition: the workers carry out commands in one order.
        (topics.commands, 1, _HOUR, "commands to the workers of a simulated fleet"),
        (topics.replies, 1, _HOUR, "what the workers answer"),
        *(
            (dlq_topic(name), 1, _DEAD_LETTERS, f"what of {name} could not be processed")
            for name in (topics.readings, topics.devices, topics.anomalies)
        ),
        *(
            (redriven_topic(name), 1, _COMPACT, f"which dead letters of {name} were put back")
            for name in (topics.readings, topics.devices, topics.anomalies)
        ),
    ]
    return [
        TopicSpec(name, count, {**config, **safety}, purpose, copies) for name, count, config, purpose in rows
    ]


@dataclass(frozen=True, slots=True)
class TopicsResult:
    """What `create_topics` made and what was there already (not compared: `check_topics` does)."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """Where a cluster is not as the table says; `what` is "topic", "partitions", "replication factor" or a property."""

    topic: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        if self.what == "topic":
            return f"topic {self.topic} is missing"
        return f"topic {self.topic}: {self.what} is {self.found}, expected {self.expected}"


def create_topics(
    admin: AdminClient, specs: Sequence[TopicSpec], timeout: float = _TIMEOUT_SECONDS
) -> TopicsResult:
    """Make the topics that are missing and wait until they are there; a second call makes nothing.

    Blocks, up to about twice `timeout` seconds.

    Raises:
        TopicError: the broker refuses one (the others may have been made), or does not answer in time.
    """
    new = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=spec.replication_factor,
            config=dict(spec.config),
        )
        for spec in specs
    ]
    answers = admin.create_topics(new, operation_timeout=timeout, request_timeout=timeout)
    created, existing, refused = [], [], []
    for spec in specs:
        error = _error(answers[spec.name], timeout)
        if error is None:
            created.append(spec.name)
        elif error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            existing.append(spec.name)
        else:
            refused.append(f"{spec.name}: {error.str()}")
    if refused:
        raise TopicError(
            f"topics not created: {'; '.join(refused)}", "Is the broker reachable, and are you allowed to?"
        )
    _wait_until_listed(admin, set(created), timeout)
    return TopicsResult(tuple(created), tuple(existing))


def _wait_until_listed(admin: AdminClient, names: set[str], timeout: float) -> None:
    """A controller's yes comes before the brokers know: who writes at once would be told that there is no topic."""
    deadline = time.monotonic() + timeout
    while not names <= _list(admin, timeout).keys():
        if time.monotonic() > deadline:
            raise TopicError(f"topics made, but not listed after {timeout:g} s: {', '.join(sorted(names))}")
        time.sleep(0.05)


def check_topics(
    admin: AdminClient, specs: Sequence[TopicSpec], timeout: float = _TIMEOUT_SECONDS
) -> list[TopicDifference]:
    """Compare a cluster with the table; nothing is changed, and no topic comes to be by being asked for. Blocks.

    A property that the broker does not tell (some tell only what was set) is not compared.

    Raises:
        TopicError: the broker does not answer in time, or refuses to.
    """
    found = _list(admin, timeout)
    differences = []
    for spec in specs:
        if spec.name not in found:
            differences.append(TopicDifference(spec.name, "topic", "present", "missing"))
            continue
        partitions = found[spec.name].partitions
        copies = min((len(partition.replicas) for partition in partitions.values()), default=0)
        for what, expected, actual in (
            ("partitions", spec.partitions, len(partitions)),
            ("replication factor", spec.replication_factor, copies),
        ):
            if expected != actual:
                differences.append(TopicDifference(spec.name, what, str(expected), str(actual)))
    missing = {difference.topic for difference in differences if difference.what == "topic"}
    return differences + _config_differences(
        admin, [spec for spec in specs if spec.name not in missing], timeout
    )


def _list(admin: AdminClient, timeout: float) -> dict[str, Any]:
    try:
        topics = admin.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise TopicError(
            f"topics cannot be listed: {error.args[0].str()}", "Is the broker reachable?"
        ) from error
    return {name: topic for name, topic in topics.items() if topic.error is None}


def _config_differences(
    admin: AdminClient, specs: Sequence[TopicSpec], timeout: float
) -> list[TopicDifference]:
    if not specs:
        return []
    resources = {spec.name: ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs}
    answers = admin.describe_configs(list(resources.values()), request_timeout=timeout)
    differences = []
    for spec in specs:
        answer = answers[resources[spec.name]]
        error = _error(answer, timeout)
        if error is not None:
            raise TopicError(f"topic {spec.name}: its configuration cannot be read: {error.str()}")
        told = {name: entry.value for name, entry in answer.result().items()}
        for name, expected in spec.config.items():
            actual = told.get(name)
            if actual is not None and not _same(name, actual, expected):
                differences.append(TopicDifference(spec.name, name, expected, actual))
    return differences


def _same(name: str, left: str, right: str) -> bool:
    if name == "cleanup.policy":  # a list, in any order
        return set(left.replace(" ", "").split(",")) == set(right.replace(" ", "").split(","))
    return left == right


def _error(answer: "Future[Any]", timeout: float) -> KafkaError | None:
    try:
        answer.result(timeout + 5.0)  # the client has its own timeout; this is for one that forgets it
    except KafkaException as error:
        inner = error.args[0]
        assert isinstance(inner, KafkaError)
        return inner
    except TimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 -- confluent_kafka's way to name local errors
    return None
