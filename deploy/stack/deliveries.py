"""What a producer's process had acknowledged, told to `up` by a file.

The producer writes it, over and over and at its end; `up` reads it. It is the only truth about where the
readings of a run end: what a broker calls its latest offset may be wrong.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_SECONDS = 0.5

TopicPartition = tuple[str, int]


class _Publisher(Protocol):
    @property
    def delivered(self) -> Mapping[TopicPartition, tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Messages acknowledged: (topic, partition) -> (how many, offset behind the last).

    `finished` says that the producer ended in order, with everything it sent acknowledged.
    """

    by_partition: Mapping[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    finished: bool = False

    def total(self, topic: str) -> int:
        """Messages acknowledged of a topic."""
        return sum(count for (name, _), (count, _) in self.by_partition.items() if name == topic)

    def ends(self, topic: str) -> dict[int, int]:
        """Partition -> offset behind the last message acknowledged."""
        return {partition: end for (name, partition), (_, end) in self.by_partition.items() if name == topic}

    def after(self, earlier: "Deliveries") -> "Deliveries":
        """This producer's deliveries put to those of one that ran before it."""
        merged = dict(earlier.by_partition)
        for place, (count, end) in self.by_partition.items():
            before = merged.get(place, (0, 0))
            merged[place] = before[0] + count, max(before[1], end)
        return Deliveries(merged, self.finished)


def write(path: Path, deliveries: Deliveries) -> None:
    """Put the file in place, whole."""
    rows = [[topic, partition, *entry] for (topic, partition), entry in deliveries.by_partition.items()]
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({"delivered": rows, "finished": deliveries.finished}), encoding="utf-8")
    fresh.replace(path)


def read(path: Path) -> Deliveries:
    """What the file says; nothing delivered where there is none yet."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Deliveries()
    rows = content["delivered"]
    return Deliveries(
        {(topic, number): (count, end) for topic, number, count, end in rows}, content["finished"]
    )


def _now(publisher: _Publisher, *, finished: bool) -> Deliveries:
    delivered = dict(publisher.delivered)
    return Deliveries({place: (count, last + 1) for place, (count, last) in delivered.items()}, finished)


@contextmanager
def reporting(path: Path | None, publisher: _Publisher) -> Iterator[None]:
    """Keep the file up to date while the block runs; without a path do nothing.

    The block's regular end says that everything was acknowledged.
    """
    if path is None:
        yield
        return
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(_SECONDS):
            with suppress(OSError):  # a full disk must not stop the readings; the last word is not suppressed
                write(path, _now(publisher, finished=False))

    thread = threading.Thread(target=keep, name="deliveries", daemon=True)
    thread.start()
    finished = False
    try:
        yield
        finished = True
    finally:
        ended.set()
        thread.join()
        write(path, _now(publisher, finished=finished))
