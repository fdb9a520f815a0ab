"""Names of what is read from Kafka, and how much came of it."""

from dataclasses import dataclass
from typing import NamedTuple


class LogId(NamedTuple):
    """One partition of one topic in one of its lives.

    `topic_id` is Kafka's UUID of the topic as text: a topic that was deleted and made again is another log, whose
    offsets say nothing about the first one's.
    """

    topic: str
    topic_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of messages; each is counted in exactly one of the four.

    Attributes:
        stored: made a new row.
        updated: changed a row.
        duplicates: changed nothing.
        dead_letters: could not be processed and went to the dead-letter topic.
    """

    stored: int = 0
    updated: int = 0
    duplicates: int = 0
    dead_letters: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.stored + other.stored,
            self.updated + other.updated,
            self.duplicates + other.duplicates,
            self.dead_letters + other.dead_letters,
        )

    @property
    def messages(self) -> int:
        """All of them."""
        return self.stored + self.updated + self.duplicates + self.dead_letters
