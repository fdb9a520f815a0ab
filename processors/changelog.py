r"""What the changelog of the series table holds, and what of it a restore believes.

Keys are text: `s:<writer>:<device>\0<metric>` for a series' state, `m:<writer>` for a checkpoint's marker.
A *writer* is one ownership of a partition, a fresh random id each time a worker gets it. So two owners never
write the same key: a late write of a worker that has lost the partition (a zombie) lies beside the owner's record,
and compaction, which keeps the last record of a key, cannot put the stale state in place of the good one.
A restore takes, of all records of a series, the one with the highest last offset: a state is a function of the
partition's readings, so whoever wrote the highest wrote the truth. An owner deletes the keys of earlier
writers that it has superseded, after a checkpoint that covers its own has closed. (docs/decisions/0004)
"""

import json
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from processors.engine.deadlines import NO_CLOCK, ClockTime
from processors.engine.series_index import SeriesName
from schemas.errors import SigmawatchError


class RecordKind(StrEnum):
    """What a changelog key names."""

    STATE = "s"
    MARKER = "m"


class ChangelogKey(NamedTuple):
    """A parsed key; `name` is None for a marker."""

    writer: str
    name: SeriesName | None


def new_writer() -> str:
    """An id for one ownership of a partition."""
    return secrets.token_hex(6)


def state_key(writer: str, name: SeriesName) -> bytes:
    """Key of a series' state."""
    return f"{RecordKind.STATE}:{writer}:{name.device_id}\0{name.metric}".encode()


def marker_key(writer: str) -> bytes:
    """Key of an ownership's marker."""
    return f"{RecordKind.MARKER}:{writer}".encode()


def parse_key(key: bytes | None) -> ChangelogKey:
    """Take a key apart.

    Raises:
        SigmawatchError: no key of ours.
    """
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        text = ""
    kind, _, rest = text.partition(":")
    writer, _, series = rest.partition(":")
    device_id, nul, metric = series.partition("\0")
    if kind == RecordKind.MARKER and writer and not series:
        return ChangelogKey(writer, None)
    if kind == RecordKind.STATE and writer and nul:
        return ChangelogKey(writer, SeriesName(device_id, metric))
    raise SigmawatchError(
        f"changelog key {key!r} is none of ours", "Give the processor group a topic of its own."
    )


@dataclass(frozen=True, slots=True)
class Marker:
    """Closes a checkpoint: all states up to `next_offset` (exclusive) lie before it in the changelog."""

    next_offset: int
    dead_letters: int
    """Records of the partition below `next_offset` that were no readings, since the group began."""
    clock: ClockTime = NO_CLOCK
    """What the partition's clock showed then."""
    storms: Any = None
    """Its storms then, as `StormWatch.dump` gives them."""

    def pack(self) -> bytes:
        """As a changelog value: JSON, for people with a console consumer."""
        fields = {"next_offset": self.next_offset, "dead_letters": self.dead_letters}
        return json.dumps(fields | {"clock": list(self.clock), "storms": self.storms}).encode()

    @classmethod
    def unpack(cls, value: bytes) -> "Marker":
        """The marker in a changelog value.

        Raises:
            SigmawatchError: no marker of ours.
        """
        try:
            fields = json.loads(value)
            clock = ClockTime(*(int(part) for part in fields.get("clock", ())))
            return cls(int(fields["next_offset"]), int(fields["dead_letters"]), clock, fields.get("storms"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SigmawatchError(
                f"changelog marker {value!r} is none of ours", "Give the processor group a topic of its own."
            ) from None


@dataclass(slots=True)
class Holdings:
    """Which writers' keys the changelog holds, so that superseded ones can be deleted."""

    states: dict[SeriesName, set[str]] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)

    def seen(self, key: ChangelogKey, deleted: bool) -> None:
        """A record (or its deletion) was read or written."""
        holders = self.markers if key.name is None else self.states.setdefault(key.name, set())
        if deleted:
            holders.discard(key.writer)
        else:
            holders.add(key.writer)

    def supersede(self, writer: str, names: list[SeriesName]) -> list[bytes]:
        """Note that `writer` wrote the states of `names` and a marker; returns the keys that are obsolete now."""
        obsolete = [marker_key(other) for other in self.markers if other != writer]
        self.markers = {writer}
        for name in names:
            holders = self.states.get(name)
            if holders is not None:
                obsolete += [state_key(other, name) for other in holders if other != writer]
            self.states[name] = {writer}
        return obsolete
