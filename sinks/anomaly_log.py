"""`sink log`: anomalies as lines of JSON in a file, one object a message, for `jq`, `tail -f` and log shippers.

A line begins with where its message stood: topic, the topic's id, partition, offset. At a start the last line of each
partition says where to go on, so that a crash doubles no line; a torn last line is cut off. Offsets are committed to
Kafka once the lines are durable; they count where rotation has thrown a partition's last line away.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Message

from schemas.codec import Codec
from schemas.dead_letters import is_meant_for
from schemas.errors import CodecError
from schemas.failpoints import fail_point
from schemas.readings import Anomaly
from sinks.anomalies import anomaly_of
from sinks.anomaly_json import anomaly_fields
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.metrics import SinkMetrics
from sinks.patience import StoppedError, patiently
from sinks.reader import Reader, TopicAndPartition
from sinks.rotating_file import RotatingFile

_LOG = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.02
_SYNC_SECONDS = 1.0  # how long a line may wait to be durable and committed
_BATCH = 1_000
_STUCK_SECONDS = 300.0

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


class AnomalyLog:
    """Consumes until told to stop. `run` blocks; the other members may be used from other threads.

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
        self.metrics = metrics or SinkMetrics()
        self._options = options
        self._codec = codec
        self._send_dead_letters = send_dead_letters
        self._clock = clock
        self._stop = threading.Event()
        self._file: RotatingFile | None = None
        self._reader: Reader | None = None
        self._logs: dict[TopicAndPartition, LogId] = {}
        self._positions: dict[TopicAndPartition, int] = {}
        self._uncommitted: dict[TopicAndPartition, int] = {}
        self._synced_at = clock()
        self._beat = clock()
        self._running = self._waiting = False
        self._counts = Counts()

    def run(self) -> None:
        """Read and write until `stop`; then make all durable, commit and leave the group.

        Raises:
            ConfigError: the file cannot be written, or another process writes it.
            PublishError: the broker refuses a dead letter for good.
            TopicError: the broker forbids the topic or the group.
        """
        options = self._options
        self._file = RotatingFile(options.path, options.rotate_bytes, options.keep_files)
        self._running = True
        try:
            self._reader = Reader(options.consumer, [options.topic], self._release)
            while not self._stop.is_set():
                self._turn(self._reader, self._file)
        except StoppedError:
            _LOG.info("stopped while waiting; what was not written is read again next time")
        finally:
            try:
                if self._reader is not None:
                    self._reader.close()
            finally:
                self._running = False
                self._file.close()

    def stop(self) -> None:
        """Make `run` come to its end; may be called from a signal handler, returns at once."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the file takes lines."""
        return self._running and bool(self._positions) and not self._waiting

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        return self._running and (self._waiting or self._clock() - self._beat < _STUCK_SECONDS)

    @property
    def counts(self) -> Counts:
        """What became of the messages so far; stored are lines."""
        return self._counts

    def _turn(self, reader: Reader, file: RotatingFile) -> None:
        self._beat = self._clock()
        messages = reader.read(_BATCH, _GATHER_SECONDS, idle=True)
        if reader.unplaced:
            self._place(reader, file)
            return
        try:
            if messages:
                self._write(file, messages)
            if self._clock() - self._synced_at >= _SYNC_SECONDS:
                self._sync(reader, file, wait=False)
        except OSError as error:
            self._recover(file, error)
            reader.unplaced = True

    def _write(self, file: RotatingFile, messages: Sequence[Message]) -> None:
        lines, letters = bytearray(), []
        moved: dict[TopicAndPartition, int] = {}
        repeated = 0
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if offset < moved.get(key, self._positions[key]):
                continue
            moved[key] = offset + 1
            if not is_meant_for(message.headers(), self._options.group):  # its line is written already
                repeated += 1
                continue
            try:
                lines += render_line(
                    self._logs[key],
                    offset,
                    anomaly_of(message, self._codec, self._stop, self._options.longest_wait),
                )
            except CodecError as error:
                letters.append(DeadLetter(*key, message, error.reason, error.message))  # type: ignore[arg-type]
        self._send_dead_letters(letters)
        fail_point("log.before_append")
        file.append(bytes(lines))
        fail_point("log.after_append")
        self._positions |= moved
        self._uncommitted |= moved
        self.metrics.bytes_written.inc(len(lines))
        counts = Counts(stored=lines.count(b"\n"), duplicates=repeated, dead_letters=len(letters))
        self._counts += counts
        self.metrics.count(self._options.topic, counts)

    def _sync(self, reader: Reader, file: RotatingFile, *, wait: bool) -> None:
        file.sync()
        fail_point("log.after_sync")
        reader.commit(self._uncommitted, wait=wait)
        self._uncommitted.clear()
        self._synced_at = self._clock()
        self.metrics.show_lags(reader.lag(self._positions))

    def _recover(self, file: RotatingFile, error: OSError) -> None:
        """The disk is full or broken: wait until the file can be opened again and has room for a line."""
        _LOG.error(
            "the anomaly log cannot be written, waiting", path=str(self._options.path), reason=str(error)
        )
        self._waiting = True
        self._uncommitted.clear()

        def once() -> None:
            file.reopen()
            file.sync()

        patiently(once, OSError, self._stop, "the anomaly log's disk", self._options.longest_wait)
        self._stop.wait(1.0)
        self._waiting = False

    def _place(self, reader: Reader, file: RotatingFile) -> None:
        """Look up in the file, and in Kafka, where to go on; blocks through outages."""
        self._uncommitted.clear()
        found = reader.look(self._stop, self._options.longest_wait, committed=True)
        self._logs = found.logs
        written = positions_in(file.lines_backwards(), self._logs.values())
        self._positions = {}
        for key, (low, high) in found.bounds.items():
            position = max(written.get(self._logs[key], 0), found.committed.get(key, 0)) or low
            if key in reader.out_of_range and not low <= position <= high:
                _LOG.error(
                    "Kafka does not hold what comes next; reading the log from its start",
                    log=self._logs[key]._asdict(),
                    position=position,
                    starts_at=low,
                    ends_at=high,
                )
                self.metrics.log_resets.labels(key[0]).inc()
                position = low
            self._positions[key] = position
        self.metrics.partitions.set(len(self._positions))
        reader.start_at(self._positions, found.topic_ids)

    def _release(self, lost: bool) -> None:
        """Before partitions go: make their lines durable, and commit unless they are somebody else's already."""
        try:
            if self._reader is not None and self._file is not None:
                self._file.sync()
                if not lost:
                    self._sync(self._reader, self._file, wait=True)
        except OSError as error:
            _LOG.error("the anomaly log cannot be written", reason=str(error))
        finally:
            self._uncommitted.clear()
            self._positions = {}
