"""What is on its way to the MQTT broker, and up to where a partition's messages have arrived."""

from collections import deque
from dataclasses import dataclass, field

from schemas.mqtt.publishing import Message
from sinks.reader import TopicAndPartition


@dataclass(slots=True)
class _Place:
    """A message of Kafka's: its offset, and how many messages of it are not acknowledged."""

    offset: int
    missing: int


@dataclass(slots=True)
class Flight:
    """Messages in the order of Kafka's, from `add` until the MQTT broker has them; does no I/O."""

    waiting: deque[tuple[Message, _Place]] = field(default_factory=deque)
    _sent: dict[int, tuple[Message, _Place]] = field(default_factory=dict)
    _places: dict[TopicAndPartition, deque[_Place]] = field(default_factory=dict)

    def add(self, key: TopicAndPartition, offset: int, messages: list[Message]) -> None:
        """Take what is published of a message; nothing for one that is passed over."""
        place = _Place(offset, len(messages))
        self._places.setdefault(key, deque()).append(place)
        self.waiting.extend((message, place) for message in messages)

    @property
    def in_flight(self) -> int:
        """Messages that are sent and not acknowledged."""
        return len(self._sent)

    def __len__(self) -> int:
        return len(self.waiting) + len(self._sent)

    def sent(self, packet: int) -> None:
        """The first of those waiting was sent under a packet id."""
        self._sent[packet] = self.waiting.popleft()

    def acknowledged(self, packet: int) -> None:
        """The broker has one."""
        found = self._sent.pop(packet, None)
        if found is not None:
            found[1].missing -= 1

    def topic_of(self, packet: int) -> str:
        """The topic of one that was sent."""
        return self._sent[packet][0].topic if packet in self._sent else ""

    def put_back(self) -> None:
        """The connection is lost: what was not acknowledged is to be sent again, in its order."""
        self.waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def arrived(self) -> dict[TopicAndPartition, int]:
        """Next offsets of the partitions of which more has arrived since the last call."""
        moved = {}
        for key, places in self._places.items():
            while places and places[0].missing == 0:
                moved[key] = places.popleft().offset + 1
        return moved

    def clear(self) -> None:
        """Forget all of it; it is read again."""
        self.waiting.clear()
        self._sent.clear()
        self._places.clear()
