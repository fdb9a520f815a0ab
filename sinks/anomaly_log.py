"""`sink log`: anomalies as lines of JSON in a file, one object a message, for `jq`, `tail -f` and log shippers.

A line begins with where its message stood: topic, the topic's id, partition, offset. At a start the last line of each
partition says where to go on, so that a crash doubles no line; a torn last line is cut off. Offsets are committed to
Kafka once the lines are durable; they count where rotation has thrown a partition's last line away.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Message

from schemas.codec import Codec
from schemas.failpoints import fail_point
from schemas.readings import Anomaly
from sinks.anomalies import AnomalyReader
from sinks.anomaly_json import anomaly_fields
from sinks.consuming import GATHER_SECONDS, ConsumingSink
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.metrics import SinkMetrics
from sinks.patience import patiently
from sinks.reader import Reader, Standing, TopicAndPartition
from sinks.rotating_file import RotatingFile

_LOG = structlog.get_logger(__name__)

_BATCH = 1_000

_PLACE = re.compile(
    rb'\{"topic": "(?P<topic>[^"]+)", "topic_id": "(?P<topic_id>[^"]*)", "partition": (?P<partition>\d+), '
    rb'"offset": (?P<offset>\d+), '
)


@dataclass(frozen=True, slots=True)
class AnomalyLogOptions:
    """What an anomaly log is told.

    Attributes:
        group: its consumer group.
        consumer: librdkafka's options.
        path: the file.
        topic: the topic of anomalies.
        rotate_bytes: size at which the file is rotated.
        keep_files: rotated files that are kept.
        longest_wait: longest pause between two attempts after an outage, in seconds.
    """

    group: str
    consumer: Mapping[str, Any]
    path: Path
    topic: str = "anomalies"
    rotate_bytes: int = 100_000_000
    keep_files: int = 10
    longest_wait: float = 10.0


def render_line(log: LogId, offset: int, anomaly: Anomaly) -> bytes:
    """The line of a message: where it stood, then the anomaly's fields, times in ISO 8601, UTC, with µs.

    Raises:
        OverflowError: a time before year 1 or after year 9999.
    """
    fields = anomaly_fields(anomaly)
    place = {"topic": log.topic, "topic_id": log.topic_id, "partition": log.partition, "offset": offset}
    return json.dumps(place | fields, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def positions_in(lines: Iterable[bytes], logs: Iterable[LogId]) -> dict[LogId, int]:
    """Where to go on in each log, by its last line; logs without a line are left out.

    Args:
        lines: newest first; reading ends when every log is found.
        logs: which are asked for.
    """
    missing, found = set(logs), {}
    if not missing:
        return {}
    for line in lines:
        match = _PLACE.match(line)
        if match is None:
            continue
        log = LogId(match["topic"].decode(), match["topic_id"].decode(), int(match["partition"]))
        if log in missing:
            found[log] = int(match["offset"]) + 1
            missing.remove(log)
            if not missing:
                break
    return found


class AnomalyLog(ConsumingSink):
    """Writes a line for each anomaly.

    Args:
        options: what to read and where to write.
        codec: knows the schemas.
        send_dead_letters: sends them and waits for the broker.
        metrics: where it counts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: AnomalyLogOptions,
        codec: Codec,
        send_dead_letters: Callable[[Sequence[DeadLetter]], None],
        metrics: SinkMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            metrics or SinkMetrics(), options.consumer, [options.topic], options.longest_wait, clock
        )
        self._options = options
        self._anomalies = AnomalyReader(
            codec, options.group, self._stop, options.longest_wait, self._still_alive
        )
        self._send_dead_letters = send_dead_letters
        self._file: RotatingFile | None = None
        self._recovering = False
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        """What became of the messages so far; stored are lines."""
        return self._counts

    @property
    def _waiting(self) -> bool:
        return self._recovering

    def _prepare(self) -> None:
        """Open the file.

        Raises:
            ConfigError: it cannot be written, or another process writes it.
        """
        options = self._options
        self._file = RotatingFile(options.path, options.rotate_bytes, options.keep_files)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def _open_file(self) -> RotatingFile:
        assert self._file is not None
        return self._file

    def _turn(self, reader: Reader) -> None:
        messages = reader.read(_BATCH, GATHER_SECONDS, idle=True)
        if reader.unplaced:
            self._place(reader)
            return
        try:
            if messages:
                self._write(messages)
            self._commit_when_due(reader)
        except OSError as error:
            self._recover(error)
            reader.unplaced = True

    def _write(self, messages: Sequence[Message]) -> None:
        lines, letters = bytearray(), []
        moved: dict[TopicAndPartition, int] = {}
        repeated = 0
        for key, offset, anomaly, letter in self._anomalies.read(messages, self._positions):
            moved[key] = offset + 1
            if anomaly is not None:
                lines += render_line(self._logs[key], offset, anomaly)
            elif letter is not None:
                letters.append(letter)
            else:
                repeated += 1  # put back for another sink: its line is written already
        self._send_dead_letters(letters)
        fail_point("log.before_append")
        self._open_file.append(bytes(lines))
        fail_point("log.after_append")
        self._positions |= moved
        self._uncommitted |= moved
        self.metrics.bytes_written.inc(len(lines))
        counts = Counts(stored=lines.count(b"\n"), duplicates=repeated, dead_letters=len(letters))
        self._counts += counts
        self.metrics.count(self._options.topic, counts)

    def _commit(self, reader: Reader, *, wait: bool) -> None:
        """Make the lines durable, then tell Kafka of them."""
        self._open_file.sync()
        fail_point("log.after_sync")
        super()._commit(reader, wait=wait)

    def _recover(self, error: OSError) -> None:
        """The disk is full or broken: wait until the file can be opened again and has room for a line."""
        _LOG.error(
            "the anomaly log cannot be written, waiting", path=str(self._options.path), reason=str(error)
        )
        self._recovering = True
        self._forget()

        def once() -> None:
            self._open_file.reopen()
            self._open_file.sync()

        patiently(once, OSError, self._stop, "the anomaly log's disk", self._options.longest_wait)
        self._stop.wait(1.0)
        self._recovering = False

    def _standing(self, found: Standing) -> dict[TopicAndPartition, int]:
        """By the file's last lines; Kafka's offsets count where rotation has thrown those away."""
        written = positions_in(self._open_file.lines_backwards(), found.logs.values())
        return {
            key: max(written.get(found.logs[key], 0), found.committed.get(key, 0)) or low
            for key, (low, _) in found.bounds.items()
        }

    def _release(self, lost: bool) -> None:
        try:
            super()._release(lost)
        except OSError as error:
            _LOG.error("the anomaly log cannot be written", reason=str(error))
