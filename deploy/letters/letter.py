"""A message of a dead-letter topic: where it came from, who gave it up and why. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from schemas.dead_letters import ERROR_HEADERS, Headers, dlq_topic, without_our_headers

_NO_PLACE = -1
_ORIGINAL = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>\d{1,9})@(?P<offset>\d{1,18})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a message stands; partition and offset are -1 where its source has none, as MQTT."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return self.topic if self.partition < 0 else f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def in_kafka(self) -> bool:
        """Whether it names a message of Kafka."""
        return self.partition >= 0 and self.offset >= 0


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        place: where the letter itself stands.
        origin: where the message was read; None where the headers do not say it.
        reason: name of a `DeadLetterReason`, or what another program wrote.
        message: the reason in words.
        consumer: the group that gave it up.
        stage: what was being done, in Kafka Connect's words.
        key, value: the original's bytes.
        headers: all headers, as they are.
        timestamp_ms: the original's; None where the letter has none.
    """

    place: Place
    origin: Place | None
    reason: str
    message: str
    consumer: str
    stage: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None

    @property
    def content(self) -> str:
        """Digest of key and value: tells apart the messages of two lives of a topic."""
        digest = blake2b(digest_size=8)
        for part in (self.key, self.value):
            digest.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    @property
    def original_headers(self) -> Headers:
        """Those that the original had when it was sent."""
        return without_our_headers(self.headers)

    @property
    def can_go_back(self) -> bool:
        """Whether its original was a message of the topic that this dead-letter topic belongs to."""
        origin = self.origin
        return origin is not None and origin.in_kafka and dlq_topic(origin.topic) == self.place.topic


def letter_of(message: Any) -> Letter:
    """A message of a dead-letter topic (confluent_kafka's) as a letter; whatever its headers say, it is one."""
    headers = [(str(name), as_bytes(value) or b"") for name, value in message.headers() or ()]
    said = {
        name.removeprefix(ERROR_HEADERS): value.decode("utf-8", "backslashreplace")
        for name, value in headers
        if name.startswith(ERROR_HEADERS)
    }
    kind, timestamp = message.timestamp()
    return Letter(
        place=Place(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)),
        origin=_origin(said),
        reason=said.get("exception.class.name", "UNKNOWN"),
        message=said.get("exception.message", "no reason is given"),
        consumer=said.get("connector.name", ""),
        stage=said.get("stage", ""),
        key=as_bytes(message.key()),
        value=as_bytes(message.value()),
        headers=headers,
        timestamp_ms=timestamp if kind else None,
    )


def parse_place(text: str) -> Place | None:
    """`readings.dlq/0@17` as a place, None where it is none."""
    match = _ORIGINAL.fullmatch(text.strip())
    return Place(match["topic"], int(match["partition"]), int(match["offset"])) if match else None


def as_bytes(value: Any) -> bytes | None:
    """A key, value or header as bytes, whatever confluent_kafka gives."""
    return value.encode() if isinstance(value, str) else value


def newest(letters: Iterable[Letter], count: int) -> list[Letter]:
    """The `count` latest letters, the latest first."""
    return sorted(letters, key=lambda letter: (letter.timestamp_ms or 0, letter.place), reverse=True)[:count]


def _origin(said: dict[str, str]) -> Place | None:
    if "topic" not in said:
        return None
    return Place(said["topic"], _number(said.get("partition", "")), _number(said.get("offset", "")))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else _NO_PLACE
