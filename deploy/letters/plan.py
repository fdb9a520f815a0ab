"""What a redrive does: which originals are put back, which are not and why. Pure."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.letters.history import Attempt, Ledger, OriginalId, waiting_consumers
from deploy.letters.letter import Letter, Place

DEFAULT_TIMES = 3


class Held(StrEnum):
    """Why an original stays where it is; the text is for people."""

    DONE = "put back before"
    NOT_OURS = "not from a topic of Kafka, or from another one than its dead letters say"
    NO_TOPIC = "its topic is gone"
    FAILS = "would fail again: this version cannot read it either (--all puts it back even so)"
    TIMES = "came back too often (--max-times)"
    NEWER = "a newer message of the same key is on the topic, which it must not undo"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; what is empty or None excludes nothing.

    Attributes:
        reasons: names of reasons, in capitals.
        consumers: groups.
        since_ms, until_ms: of the letter's timestamp, since <= timestamp < until.
        first, last: offsets of the letter in its topic, both included.
    """

    reasons: frozenset[str] = frozenset()
    consumers: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    first: int | None = None
    last: int | None = None

    def has(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        time, offset = letter.timestamp_ms or 0, letter.place.offset
        return (
            (not self.reasons or letter.reason.upper() in self.reasons)
            and (not self.consumers or letter.consumer in self.consumers)
            and (self.since_ms is None or time >= self.since_ms)
            and (self.until_ms is None or time < self.until_ms)
            and (self.first is None or offset >= self.first)
            and (self.last is None or offset <= self.last)
        )


@dataclass(slots=True)
class Original:
    """One original, gathered from its letters.

    Attributes:
        id: it.
        letter: place of a letter that has its bytes.
        key: the message's, where it decides what is newer; else None.
        given_up: consumer -> the newest attempt that it gave up.
        chosen: whether one of its letters is selected.
        readable: whether this version can read it.
        timestamp_ms: of the original.
    """

    id: OriginalId
    letter: Place
    key: bytes | None = None
    given_up: dict[str, int] = field(default_factory=dict)
    chosen: bool = False
    readable: bool = True
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """An original to put back: the letter that has its bytes, its attempts so far, and for whom."""

    original: OriginalId
    letter: Place
    attempts: tuple[Attempt, ...]
    consumers: frozenset[str]
    timestamp_ms: int | None = None


@dataclass(slots=True)
class Plan:
    """What is to be done: tasks by the original's place, and how many originals are held back, by why."""

    tasks: list[Task] = field(default_factory=list)
    held: Counter[Held] = field(default_factory=Counter)
    letters: int = 0
    """Letters that were selected."""


class Gathering:
    """Letters become originals, a letter at a time; keeps no bytes.

    Args:
        ledger: what was put back.
        selection: which letters are meant.
        readable: whether this version can read a letter's message; asked for selected letters only.
        keyed: topics of which only the newest message of a key counts.
    """

    def __init__(
        self,
        ledger: Ledger,
        selection: Selection,
        readable: Callable[[Letter], bool],
        keyed: Container[str] = (),
    ) -> None:
        self._ledger = ledger
        self._selection = selection
        self._readable = readable
        self._keyed = keyed
        self.originals: dict[str, Original] = {}
        self.letters = 0
        self.strangers = 0
        """Selected letters that came from no topic of Kafka's."""

    def take(self, letter: Letter) -> None:
        """Take a letter."""
        chosen = self._selection.has(letter)
        self.letters += chosen
        identity = self._ledger.original_of(letter) if letter.can_go_back else None
        if identity is None or letter.origin is None:
            self.strangers += chosen
            return
        original = self.originals.get(str(identity))
        if original is None:
            key = letter.key if identity.place.topic in self._keyed else None
            original = Original(identity, letter.place, key, timestamp_ms=letter.timestamp_ms)
            self.originals[str(identity)] = original
        number = self._ledger.number_of(identity, letter.origin)
        original.given_up[letter.consumer] = max(number, original.given_up.get(letter.consumer, 0))
        if chosen and not original.chosen:
            original.chosen, original.readable = True, self._readable(letter)

    def wanted_keys(self) -> set[tuple[str, int, bytes]]:
        """(topic, partition, key) of which the newest offset is asked."""
        return {
            (one.id.place.topic, one.id.place.partition, one.key)
            for one in self.originals.values()
            if one.chosen and one.key is not None
        }

    def plan(
        self,
        topics: Container[str],
        newest: Callable[[str, int, bytes], int | None] = lambda _topic, _partition, _key: None,
        *,
        unreadable_too: bool = False,
        max_times: int = DEFAULT_TIMES,
    ) -> Plan:
        """What is to be done.

        Args:
            topics: those that there are.
            newest: (topic, partition, key) -> offset of the key's newest message.
            unreadable_too: put back as well what would fail again.
            max_times: attempts that an original gets at most.
        """
        plan = Plan(letters=self.letters)
        plan.held[Held.NOT_OURS] = self.strangers
        for one in sorted(self._chosen(), key=lambda original: original.id.place):
            attempts = self._ledger.attempts_of(one.id)
            consumers = waiting_consumers(one.given_up, attempts)
            held = None
            if not consumers:
                held = Held.DONE
            elif one.id.place.topic not in topics:
                held = Held.NO_TOPIC
            elif _is_outdated(one, attempts, newest):
                held = Held.NEWER
            elif len(attempts) >= max_times:
                held = Held.TIMES
            elif not one.readable and not unreadable_too:
                held = Held.FAILS
            if held is not None:
                plan.held[held] += 1
            else:
                plan.tasks.append(Task(one.id, one.letter, attempts, consumers, one.timestamp_ms))
        plan.held = +plan.held
        return plan

    def _chosen(self) -> Iterable[Original]:
        return (one for one in self.originals.values() if one.chosen)


def _is_outdated(
    original: Original, attempts: Iterable[Attempt], newest: Callable[[str, int, bytes], int | None]
) -> bool:
    if original.key is None:
        return False
    place = original.id.place
    own = max([place.offset, *(one.offset for one in attempts if one.partition == place.partition)])
    latest = newest(place.topic, place.partition, original.key)
    return latest is not None and latest > own


def held_texts(held: Mapping[Held, int]) -> dict[str, int]:
    """How many originals are held back, by why in words."""
    return {str(why): count for why, count in held.items() if count}
