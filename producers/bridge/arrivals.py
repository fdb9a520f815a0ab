"""Messages on their way through the bridge, and the journal that keeps times of arrival through a crash.

A reading whose rule names no time is of the time at which its message arrived. A message that the broker delivers
again, because it saw no acknowledgement, must keep its first time: else it makes a second reading. While the
bridge lives it knows its messages; for the case that it is killed, the journal has the times of those that are not
acknowledged. It is written before a message goes to Kafka, and what is acknowledged is struck out once the
acknowledgement has left. It is not synced: it survives a kill, not a power cut. What remains: where an acknowledgement itself
is lost on the network, a message makes a second reading; the other choice could lose one.
"""

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from producers.bridge.decode import RuleReader
from schemas.errors import ConfigError

Key = tuple[int, bytes]
"""Packet id and digest of topic and payload: what is the same when a message is delivered again."""

_COMPACT_BYTES = 1_000_000


@dataclass(slots=True, eq=False)
class Arrival:
    """A message.

    Attributes:
        topic: where it was published.
        payload: its bytes; of one that is too large only the first of them.
        size: how many bytes it had.
        time_us: when it arrived first.
        packet: its packet id; 0 for one of QoS 0, which is not acknowledged.
        connection: number of the connection on which it may be acknowledged.
        rule: reads it; None where it is not to be read.
        parts: the topic's named parts.
        key: see `Key`; of no meaning for QoS 0.
        fate: what became of it, for the metrics.
        readings: how many it gave.
    """

    topic: str
    payload: bytes
    size: int
    time_us: int
    packet: int
    connection: int
    rule: RuleReader | None = None
    parts: dict[str, str] = field(default_factory=dict)
    key: Key = (0, b"")
    fate: str = ""
    readings: int = 0


def key_of(packet: int, topic: str, payload: bytes) -> Key:
    """The key of a message."""
    digest = blake2b(payload, digest_size=8, person=b"arrival")
    digest.update(b"\0" + topic.encode(errors="replace"))
    return packet, digest.digest()


class ArrivalJournal:
    """Times of arrival of messages that are not acknowledged, in a file of lines `+ packet digest time` and `- packet digest`.

    Args:
        path: the file; None keeps nothing through a crash.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open: dict[Key, int] = {}
        self._descriptor = -1
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open = _read(path)
            self._begin_file()
        except OSError as error:
            raise ConfigError(
                f"bridge.journal: {path} cannot be written: {error.strerror}", "Choose another file."
            ) from error

    def recall(self, key: Key) -> int | None:
        """When a message that is delivered again arrived first, if that is known."""
        return self._open.get(key)

    def keep_only(self, keys: Collection[Key]) -> None:
        """Strike all others: the broker has delivered again all that it will, or has lost our session."""
        self.strike([key for key in self._open if key not in keys])

    def note(self, arrivals: Iterable[tuple[Key, int]]) -> None:
        """Keep times, before the messages go to Kafka."""
        new = dict(arrivals)
        self._open |= new
        self._write("".join(f"+ {packet} {digest.hex()} {time}\n" for (packet, digest), time in new.items()))

    def strike(self, keys: Iterable[Key]) -> None:
        """Drop times, after the messages were acknowledged."""
        gone = list(keys)
        for key in gone:
            self._open.pop(key, None)
        self._write("".join(f"- {packet} {digest.hex()}\n" for packet, digest in gone))

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, text: str) -> None:
        if self._descriptor < 0 or not text:
            return
        os.write(self._descriptor, text.encode())
        if os.fstat(self._descriptor).st_size > _COMPACT_BYTES:
            self._begin_file()

    def _begin_file(self) -> None:
        """Write the file anew, whole or not at all."""
        assert self._path is not None
        self.close()
        new = self._path.with_name(self._path.name + ".new")
        lines = (f"+ {packet} {digest.hex()} {time}\n" for (packet, digest), time in self._open.items())
        new.write_text("".join(lines))
        new.replace(self._path)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)


def _read(path: Path) -> dict[Key, int]:
    """The entries of a journal; a line that a crash cut short is passed over."""
    entries: dict[Key, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError, IndexError):
                sign, packet, digest, *time = line.decode().split(" ")
                key = int(packet), bytes.fromhex(digest)
                if sign == "+":
                    entries[key] = int(time[0])
                else:
                    entries.pop(key, None)
    return entries
