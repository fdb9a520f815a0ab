"""What the producers' tests stand on: a publisher and a clock without a broker and without waiting."""

from dataclasses import dataclass, field
from threading import Event

NOW_US = 1_795_261_139_000_000


@dataclass
class Sent:
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    headers: list[tuple[str, bytes | None]] | None
    timestamp_ms: int


@dataclass
class FakePublisher:
    """Acknowledges what was sent when it is flushed; the partition is the key's sum where none is asked for."""

    partitions: int = 4
    sent: list[Sent] = field(default_factory=list)
    acknowledged: int = 0

    def send(self, topic, key, value, *, partition=-1, headers=None, timestamp_ms=0):
        number = sum(key or b"") % self.partitions if partition < 0 else partition
        self.sent.append(Sent(topic, key, value, number, headers, timestamp_ms))

    def send_many(self, topic, keys, values, *, timestamps_ms):
        for key, value, timestamp_ms in zip(keys, values, timestamps_ms, strict=True):
            self.send(topic, key, value, timestamp_ms=timestamp_ms)

    def flush(self, timeout=None):
        self.acknowledged = len(self.sent)

    @property
    def delivered(self):
        counts: dict[tuple[str, int], tuple[int, int]] = {}
        for message in self.sent[: self.acknowledged]:
            place = (message.topic, message.partition)
            count = counts.get(place, (0, -1))[0] + 1
            counts[place] = (count, count - 1)
        return counts


class FakeClock:
    """Time that passes only while somebody waits for it."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.start_us = now_us
        self.passed = 0.0
        self.waits: list[float] = []
        self.on_wait = lambda: None

    def now_us(self) -> int:
        return self.start_us + round(self.passed * 1e6)

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def wait(self, seconds: float, stop: Event) -> None:
        self.waits.append(seconds)
        self.passed += max(0.0, seconds)
        self.on_wait()
