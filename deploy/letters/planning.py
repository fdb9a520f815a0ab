"""A plan for a redrive from what Kafka holds: reads letters, and what was put back; changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from deploy.clients import admin_client, codec_of
from deploy.letters.plan import DEFAULT_TIMES, Gathering, Plan, Selection
from deploy.letters.reading import (
    Letterbox,
    Ranges,
    Verdicts,
    existing_topics,
    newest_offsets,
    read_ledger,
    read_letters,
)
from schemas.dead_letters import DeadLetterReason

if TYPE_CHECKING:
    from schemas.settings import Settings

_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a redrive: see `plan.Selection` and `plan.Gathering.plan`."""

    selection: Selection = field(default_factory=Selection)
    unreadable_too: bool = False
    max_times: int = DEFAULT_TIMES


def make_plan(
    settings: "Settings",
    box: Letterbox,
    ranges: Ranges,
    wish: Wish,
    tell: Callable[[int], None] = lambda _done: None,
) -> Plan:
    """What is to be put back of the letters in these ranges; reads them, and changes nothing.

    Raises:
        UnreachableError: the broker does not answer.
        RegistryUnavailableError: the schema registry does not.
    """
    if all(start >= end for start, end in ranges.values()):
        return Plan()
    existing = existing_topics(settings)
    verdict = Verdicts(settings, codec_of(settings))
    keyed = {settings.topics.devices}
    gathering = Gathering(
        read_ledger(settings, [box], existing),
        wish.selection,
        lambda letter: verdict(letter) is DeadLetterReason.OK,
        keyed,
    )
    for letter in read_letters(settings, ranges, tell):
        gathering.take(letter)
    wanted = gathering.wanted_keys()
    newest = newest_offsets(settings, wanted, existing) if wanted else {}
    return gathering.plan(
        existing,
        lambda topic, partition, key: newest.get((topic, partition, key)),
        unreadable_too=wish.unreadable_too,
        max_times=wish.max_times,
    )


def older_than_retention(settings: "Settings", box: Letterbox, plan: Plan, now_ms: int) -> int:
    """How many of a plan's messages are older than their topic keeps them: Kafka may delete them minutes later."""
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined] # noqa: PLC0415

    resource = ConfigResource(ResourceType.TOPIC, box.topic)
    try:
        answer = admin_client(settings).describe_configs([resource], request_timeout=_ANSWER_SECONDS)
        told = {name: entry.value for name, entry in answer[resource].result().items()}
    except KafkaException:  # the right to ask may be missing; it is a hint
        return 0
    keeps_ms = int(told.get("retention.ms") or -1)
    if keeps_ms < 0 or "delete" not in (told.get("cleanup.policy") or "delete"):
        return 0
    return sum(task.timestamp_ms is not None and task.timestamp_ms < now_ms - keeps_ms for task in plan.tasks)
