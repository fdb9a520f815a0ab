"""What was put back, and who still waits for what. Pure.

The *original* of letters is the message as it first stood on its topic. Each redrive is an *attempt*: a copy of the
original at a new offset, for the consumers that had given it up. A letter of a copy belongs to the same original, found by
where the copy was put. A consumer waits for another attempt when it gave up the newest one that was for it.

The record of an original, on `<topic>.dlq.redriven`: its id as key, its attempts as JSON. It is written in the
transaction that puts the copy back, so that there is never one without the other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.letters.letter import Letter, Place, parse_place


@dataclass(frozen=True, slots=True)
class Attempt:
    """A copy: where it stands, when it was put there (ISO-8601), for which consumers."""

    partition: int
    offset: int
    at: str
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OriginalId:
    """An original: where it stood first, and the digest of what it says."""

    place: Place
    content: str

    def __str__(self) -> str:
        return f"{self.place}#{self.content}"


def parse_original(text: str) -> OriginalId | None:
    """The id that a text is, None where it is none."""
    place_text, _, content = text.rpartition("#")
    place = parse_place(place_text)
    return OriginalId(place, content) if place is not None and content else None


@dataclass(slots=True)
class Ledger:
    """The attempts of every original, and which original a copy is of."""

    attempts: dict[str, tuple[Attempt, ...]] = field(default_factory=dict)
    _copies: dict[tuple[Place, str], OriginalId] = field(default_factory=dict)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of the ledger's topic; one that is none of ours is passed over."""
        original = parse_original((key or b"").decode("utf-8", "replace"))
        attempts = unpack_attempts(value)
        if original is None or not attempts:
            return
        self.attempts[str(original)] = attempts
        for attempt in attempts:
            place = Place(original.place.topic, attempt.partition, attempt.offset)
            self._copies[place, original.content] = original

    def original_of(self, letter: Letter) -> OriginalId | None:
        """The first message that a letter is about; None where it came from none of Kafka."""
        if letter.origin is None or not letter.origin.in_kafka:
            return None
        content = letter.content
        return self._copies.get((letter.origin, content)) or OriginalId(letter.origin, content)

    def attempts_of(self, original: OriginalId) -> tuple[Attempt, ...]:
        """The attempts of an original, the first one first."""
        return self.attempts.get(str(original), ())

    def number_of(self, original: OriginalId, origin: Place) -> int:
        """Which attempt a message is: 0 for the original itself."""
        for number, attempt in enumerate(self.attempts_of(original), 1):
            if (attempt.partition, attempt.offset) == (origin.partition, origin.offset):
                return number
        return 0


def pack_attempts(attempts: Sequence[Attempt]) -> bytes:
    """The value of a record of the ledger."""
    rows = [
        {"partition": one.partition, "offset": one.offset, "at": one.at, "for": list(one.consumers)}
        for one in attempts
    ]
    return json.dumps({"attempts": rows}, separators=(",", ":")).encode()


def unpack_attempts(value: bytes | None) -> tuple[Attempt, ...]:
    """The attempts of a record; none where it is not one of ours."""
    try:
        content: Any = json.loads(value or b"{}")
        return tuple(
            Attempt(int(one["partition"]), int(one["offset"]), str(one["at"]), tuple(map(str, one["for"])))
            for one in content["attempts"]
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()


def waiting_consumers(given_up: Mapping[str, int], attempts: Sequence[Attempt]) -> frozenset[str]:
    """Those for which an original must be put back again.

    Args:
        given_up: consumer -> the newest attempt that it gave up, 0 for the original.
        attempts: of the original, the first one first.
    """
    return frozenset(
        consumer
        for consumer, number in given_up.items()
        if not any(consumer in attempt.consumers for attempt in attempts[number:])
    )
