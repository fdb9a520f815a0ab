"""Letters for people and for programs. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from deploy.letters.dissect import Dissection
from deploy.letters.history import Attempt
from deploy.letters.letter import Letter, Place, newest
from deploy.showing import iso, plain
from schemas.dead_letters import DeadLetterReason

_ROW_BYTES = 16
_SHOWN_VALUE = 120


@dataclass(slots=True)
class Group:
    """Letters of one topic, reason and consumer.

    Attributes:
        count: letters.
        waiting: of them, those whose original is to be put back yet, as far as it came from Kafka.
        first_ms, last_ms: their earliest and latest timestamp, None where none has one.
    """

    topic: str
    reason: str
    consumer: str
    count: int = 0
    waiting: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def take(self, letter: Letter, *, waits: bool) -> None:
        """Count a letter."""
        self.count += 1
        self.waiting += waits
        if letter.timestamp_ms is not None:
            times = [time for time in (self.first_ms, letter.timestamp_ms) if time is not None]
            self.first_ms = min(times)
            self.last_ms = max(letter.timestamp_ms, self.last_ms or 0)


@dataclass(slots=True)
class Listing:
    """Groups by (topic, reason, consumer), and the newest letters; takes letters one by one and keeps few."""

    examples: int
    groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)

    def take(self, letter: Letter, *, waits: bool) -> None:
        """Take a letter."""
        key = letter.place.topic, letter.reason, letter.consumer
        group = self.groups.setdefault(key, Group(*key))
        group.take(letter, waits=waits)
        self.letters.append(letter)
        if len(self.letters) > 2 * self.examples + 100:
            self.letters = newest(self.letters, self.examples)

    @property
    def newest(self) -> list[Letter]:
        """The latest letters, the latest first."""
        return newest(self.letters, self.examples)

    @property
    def sorted_groups(self) -> list[Group]:
        """The largest first."""
        return sorted(self.groups.values(), key=lambda one: (-one.count, one.topic, one.reason, one.consumer))


@dataclass(frozen=True, slots=True)
class Shown:
    """A letter with all that is known of it."""

    letter: Letter
    dissection: Dissection
    verdict: DeadLetterReason
    attempts: Sequence[Attempt]
    number: int
    """Which attempt the letter is about, 0 for the original itself."""
    first: Place | None
    """Where the original stood."""


def group_json(group: Group) -> dict[str, Any]:
    """A group for programs."""
    return {
        "topic": group.topic,
        "reason": group.reason,
        "consumer": group.consumer,
        "letters": group.count,
        "waiting": group.waiting,
        "first": when(group.first_ms),
        "last": when(group.last_ms),
    }


def letter_json(letter: Letter) -> dict[str, Any]:
    """A letter for programs, without its bytes."""
    return {
        "letter": str(letter.place),
        "origin": None if letter.origin is None else str(letter.origin),
        "reason": letter.reason,
        "message": letter.message,
        "consumer": letter.consumer,
        "stage": letter.stage,
        "time": when(letter.timestamp_ms),
        "key": shown_text(letter.key),
    }


def shown_json(shown: Shown) -> dict[str, Any]:
    """A letter for programs, whole."""
    letter, found = shown.letter, shown.dissection
    fault = found.fault
    return {
        **letter_json(letter),
        "headers": [[name, shown_text(value)] for name, value in letter.headers],
        "key_base16": None if letter.key is None else letter.key.hex(),
        "value_base16": None if letter.value is None else letter.value.hex(),
        "schema_id": found.schema_id,
        "record": found.record or None,
        "fields": [
            {"path": one.path, "start": one.start, "end": one.end, "value": plain(one.path, one.value)}
            for one in found.fields
        ],
        "fault": None
        if fault is None
        else {"at": fault.at, "field": fault.path or None, "what": fault.what, "reason": fault.reason.name},
        "now": shown.verdict.name,
        "original": None if shown.first is None else str(shown.first),
        "attempt": shown.number,
        "put_back": [
            {"to": f"{one.partition}@{one.offset}", "at": one.at, "for": list(one.consumers)}
            for one in shown.attempts
        ],
    }


def shown_lines(shown: Shown) -> Iterable[str]:
    """A letter for people, as lines of rich markup."""
    letter, found = shown.letter, shown.dissection
    yield f"[bold]{_safe(str(letter.place))}[/bold]"
    yield _row("from", str(letter.origin) if letter.origin else "not said")
    if shown.number and shown.first is not None:
        yield _row("ancestor", f"{shown.first}, of which this is attempt {shown.number}")
    yield _row("time", when(letter.timestamp_ms) or "none")
    yield f"  {'reason':<10} [red]{_safe(letter.reason)}[/red]  {_safe(letter.message)}"
    yield _row(
        "given up", f"by {letter.consumer or 'nobody that says so'}, stage {letter.stage or 'not said'}"
    )
    for attempt in shown.attempts:
        readers = ", ".join(filter(None, attempt.consumers)) or "all"
        yield _row("put back", f"{attempt.at} to {attempt.partition}@{attempt.offset}, for {readers}")
    yield _row("key", shown_text(letter.key) or ("none" if letter.key is None else "empty"))
    for name, raw in letter.original_headers:
        yield _row("header", f"{name}: {shown_text(raw)}")
    yield _row("value", _size_text(found))
    for one in found.fields:
        at_fault = found.fault is not None and found.fault.path == one.path and found.fault.at == one.start
        style = "red" if at_fault else "cyan"
        value = plain(one.path, one.value)
        text = _cut(value if isinstance(value, str) else json.dumps(value))
        span = f"{one.start}-{one.end}"
        yield f"    [dim]{span:>9}[/dim]  {_safe(one.path)}  [{style}]{escape(text)}[/{style}]"
    if found.fault is not None:
        where = f" in {found.fault.path}" if found.fault.path else ""
        yield f"  {'fault':<10} [red]byte {found.fault.at}{_safe(where)}: {_safe(found.fault.what)}[/red]"
    yield _row("now", _verdict_text(shown))
    if letter.value:
        yield from (f"    {line}" for line in hex_dump(letter.value, found.fault.at if found.fault else None))


def hex_dump(data: bytes, mark: int | None = None) -> Iterable[str]:
    """Lines of 16 bytes with their offset and their ASCII, as rich markup; the byte at `mark` stands out."""
    for start in range(0, len(data), _ROW_BYTES):
        row = data[start : start + _ROW_BYTES]
        cells = [f"{byte:02x}" for byte in row]
        if mark is not None and start <= mark < start + len(row):
            cells[mark - start] = f"[bold red]{cells[mark - start]}[/bold red]"
        gap = "   " * (_ROW_BYTES - len(row))
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"[dim]{start:08x}[/dim]  {' '.join(cells)}{gap}  {escape(text)}"
        if mark is not None and start <= mark < start + len(row):
            yield " " * (10 + 3 * (mark - start)) + f"[red]^^ byte {mark}[/red]"


def when(timestamp_ms: int | None) -> str | None:
    """A Kafka timestamp as ISO-8601."""
    return None if timestamp_ms is None else iso(timestamp_ms * 1000)


def shown_text(raw: bytes | None) -> str | None:
    """Bytes as text, what is no UTF-8 as escapes; without control characters."""
    if raw is None:
        return None
    return printable(raw.decode("utf-8", "backslashreplace"))


def _row(name: str, text: str | None) -> str:
    return f"  {name:<10} {_safe(text or '')}"


def _safe(text: str) -> str:
    return escape(printable(text))


def printable(text: str) -> str:
    """Text without control characters, which could do anything to a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 3] + "..."


def _size_text(found: Dissection) -> str:
    if found.size is None:
        return "none (a tombstone)"
    name = f" ({found.record})" if found.record else ""
    schema = "" if found.schema_id is None else f", schema {found.schema_id}{name}"
    return f"{found.size} bytes{schema}"


def _verdict_text(shown: Shown) -> str:
    if shown.verdict is not DeadLetterReason.OK:
        return f"this version would give it up as well: {shown.verdict.name}"
    if not shown.letter.can_go_back:
        return "this version can read it; it came from no topic of Kafka's, so it cannot be put back"
    return "this version can read it: `sigmawatch dlq redrive` puts it back"
