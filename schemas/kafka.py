"""Kafka clients: their configuration, and `Publisher`, which loses neither messages nor errors.

librdkafka's configuration dictionaries appear only here and where a consumer is made; the user's own options
pass through verbatim and win.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.cimpl import murmur2
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from schemas.errors import ConfigError, PublishError
from schemas.settings import KafkaSettings

DeliveryCallback = Callable[[str, int, int], None]
"""(topic, partition, offset) of one acknowledged message."""

Headers = Sequence[tuple[str, bytes | None]]

_Client = TypeVar("_Client")
_Answer = TypeVar("_Answer")

# librdkafka prints to stderr itself unless it is given a logger, which poll() then feeds.
_LIBRDKAFKA_LOG = logging.getLogger("librdkafka")

PRODUCER_DEFAULTS: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,  # no doubles and no reordering by the client's own retries
    "partitioner": "murmur2_random",  # where Java clients put a key
    "compression.type": "lz4",
    "linger.ms": 10,
    # An outage is waited out: the queue fills, and then `send` waits. Only what the broker refuses fails.
    "message.timeout.ms": 0,
    # A dead letter is its original and some headers: an original as large as brokers take by default must fit.
    "message.max.bytes": 2 * 1024 * 1024,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 128 * 1024,
}

_POLL_EVERY = 500  # sends between two looks at what was acknowledged: below 1 % of the cost of sending
_SLICE_SECONDS = 0.2  # longest time in librdkafka without a look for Ctrl-C
_CLOSE_SECONDS = 10.0


class PublishTimeoutError(PublishError):
    """Not everything was acknowledged in time; what is still queued goes on being sent."""


def client_config(settings: KafkaSettings, **role_defaults: Any) -> dict[str, Any]:
    """Configuration of a confluent_kafka client: our defaults, the role's (`**{"group.id": ...}`), the user's options."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "sigmawatch",
        "logger": _LIBRDKAFKA_LOG,
        **role_defaults,
        **settings.options,
    }


def new_client(kind: Callable[[dict[str, Any]], _Client], config: Mapping[str, Any]) -> _Client:
    """Make a client: `new_client(Consumer, client_config(...))`.

    Raises:
        ConfigError: librdkafka knows no such option, or not such a value.
    """
    try:
        return kind(dict(config))
    except (KafkaException, ValueError, TypeError) as error:
        raise ConfigError(
            f"kafka.options: {_text(error)}", "See librdkafka's configuration properties."
        ) from error


_SOON = frozenset(
    {
        # The topic is in the metadata, and its leader has not heard of it yet, or has just changed.
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # A broker that has just come back is still loading its groups.
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
_SOON_SECONDS = 15.0


def _has_answer_soon(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _SOON


def settled(ask: Callable[[], _Answer], seconds: float = _SOON_SECONDS) -> _Answer:
    """The answer of `ask`, repeated while the cluster says that it will have one soon; blocks for `seconds` at most.

    librdkafka repeats fetches, commits and produce requests by itself, questions for offsets it does not.

    Raises:
        KafkaException: the last answer was still no, or it was one that waiting does not change.
    """
    return Retrying(
        retry=retry_if_exception(_has_answer_soon),
        wait=wait_exponential(0.05, max=1.0),
        stop=stop_after_delay(seconds),
        reraise=True,
    )(ask)


def partition_for_key(key: bytes, partitions: int) -> int:
    """The partition of a key, as every Kafka client with the murmur2 partitioner has it (Java's default).

    Raises:
        ValueError: partitions is not positive.
    """
    return int(murmur2(key, partitions))


class _Reports:
    """What the broker answered to the messages of a topic.

    Args:
        topic: which.
        refuse: called with a text on each message that it refused for good.
        on_delivered: as the publisher's.

    Attributes:
        count, last: partition -> messages acknowledged, offset of the last of them.
        take: librdkafka's callback, once a message, from within poll and flush.
    """

    def __init__(
        self, topic: str, refuse: Callable[[str], None], on_delivered: DeliveryCallback | None
    ) -> None:
        self._refused = 0
        self.count: dict[int, int] = defaultdict(int)
        self.last: dict[int, int] = {}
        # A closure: looking things up in `self` would cost a hundredth of producing each.
        count, last = self.count, self.last

        def take(error: KafkaError | None, message: Any) -> None:
            partition = message.partition()
            if error is not None:
                self._refused += 1
                refuse(f"topic {topic}, partition {partition}, key {message.key()!r}: {error.str()}")
                return
            last[partition] = offset = message.offset()
            count[partition] += 1
            if on_delivered is not None:
                on_delivered(topic, partition, offset)

        self.take = take

    @property
    def total(self) -> int:
        """Messages that were answered."""
        return self._refused + sum(self.count.values())


class Publisher:
    """Acknowledged, ordered, idempotent producing; use it from one thread at a time.

    A message that the broker refuses for good is never passed over: the next `send`, `poll`, `flush` or
    `close` raises it (once). Outages are waited out: `send` blocks while the local queue is full, `flush` until all
    is acknowledged. Close it, or use it as a context manager: it is flushed for 10 s at most, then what is
    left is given up with an error. A block left by an exception gives up at once, and the exception gets a
    note of it.

    Args:
        config: from `client_config`; overrides `PRODUCER_DEFAULTS`.
        on_delivered: called with (topic, partition, offset) of each acknowledged message, from within `send`,
            `poll`, `flush` or `close`. It must not call the publisher.

    Raises:
        ConfigError: the configuration is not usable.
    """

    def __init__(self, config: Mapping[str, Any], *, on_delivered: DeliveryCallback | None = None) -> None:
        self._producer = new_client(Producer, {**PRODUCER_DEFAULTS, **config})
        self._on_delivered = on_delivered
        self._reports: dict[str, _Reports] = {}
        self._refused: list[str] = []
        self._sent = 0
        self._until_poll = _POLL_EVERY
        self._closed = False
        self._given_up = False

    @property
    def delivered(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        """(topic, partition) -> (messages acknowledged, last offset), as far as polled; from any thread."""
        # Lists first: a partition may come up in another thread meanwhile.
        return {
            (topic, partition): (count, reports.last[partition])
            for topic, reports in list(self._reports.items())
            for partition, count in list(reports.count.items())
        }

    @property
    def outstanding(self) -> int:
        """Messages sent and not yet known to be acknowledged."""
        # librdkafka's own count has log events in it.
        return self._sent - sum(reports.total for reports in self._reports.values())

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        """Queue a message; blocks while the local queue is full.

        Args:
            topic: where to.
            key: decides the partition, unless that is given; without either, any.
            value: None is a tombstone.
            partition: a fixed partition, -1 for the key's.
            headers: names and values, in order.
            timestamp_ms: ms since 1970 UTC, 0 for now.

        Raises:
            PublishError: an earlier message was refused for good, or this one is (too large); it is not queued.
        """
        produce, report = self._producer.produce, self._reports_of(topic).take
        while True:
            if self._refused:
                self._raise_refused()
            try:
                if headers:
                    produce(topic, value, key, partition, report, None, timestamp_ms, list(headers))
                else:
                    produce(topic, value, key, partition, report, None, timestamp_ms)
            except BufferError:
                self._producer.poll(_SLICE_SECONDS)
                self._raise_given_up()
            except KafkaException as error:
                raise PublishError(f"topic {topic}: message not taken: {_text(error)}") from error
            else:
                break
        self._sent += 1
        self._until_poll -= 1
        if self._until_poll <= 0:
            self._until_poll = _POLL_EVERY
            self._producer.poll(0)

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        partitions: Sequence[int] | None = None,
        timestamps_ms: Sequence[int] | None = None,
    ) -> None:
        """Queue n messages in their order: `send` without its cost per call. Sequences are (n,).

        Raises:
            PublishError: as `send`; the messages before the refused one are queued, those after it are not.
            ValueError: the sequences are not of one length.
        """
        count = len(values)
        partitions = [-1] * count if partitions is None else partitions
        timestamps_ms = [0] * count if timestamps_ms is None else timestamps_ms
        if {len(keys), len(partitions), len(timestamps_ms)} != {count}:
            raise ValueError("keys, values, partitions and timestamps are not of one length")
        rows = zip(keys, values, partitions, timestamps_ms, strict=True)
        for _ in range(0, count, _POLL_EVERY):
            self.poll()
            self._send_rows(topic, islice(rows, _POLL_EVERY))

    def _send_rows(self, topic: str, rows: Iterable[tuple[bytes | None, bytes | None, int, int]]) -> None:
        """Queue (key, value, partition, timestamp) of each row; raises as `send`."""
        produce, report = self._producer.produce, self._reports_of(topic).take
        taken = 0  # counted in `_sent` at the end: cheaper
        try:
            for key, value, partition, timestamp_ms in rows:
                try:
                    produce(topic, value, key, partition, report, None, timestamp_ms)
                except (BufferError, KafkaException):
                    self._sent, taken = self._sent + taken, 0
                    # The careful way: it waits, or says what is wrong.
                    self.send(topic, key, value, partition=partition, timestamp_ms=timestamp_ms)
                else:
                    taken += 1
        finally:
            self._sent += taken

    def poll(self) -> None:
        """Take note of what was acknowledged meanwhile; does not block.

        Raises:
            PublishError: a message was refused for good.
        """
        self._producer.poll(0)
        self._raise_refused()

    def flush(self, timeout: float | None = None) -> None:
        """Block until everything sent so far is acknowledged, through any outage.

        Args:
            timeout: seconds after which to give up waiting; None never.

        Raises:
            PublishError: a message was refused for good; the others are not waited for. Names the first one.
            PublishTimeoutError: not everything was acknowledged within `timeout`.
        """
        waited = 0.0
        while True:
            left = _SLICE_SECONDS if timeout is None else max(0.0, min(_SLICE_SECONDS, timeout - waited))
            self._producer.flush(left)
            self._raise_refused()
            remaining = self.outstanding
            if not remaining:
                return
            self._raise_given_up()
            waited += left
            if timeout is not None and waited >= timeout:
                raise PublishTimeoutError(
                    f"{remaining} messages are not acknowledged after {timeout:g} s",
                    "Is the broker reachable?",
                )

    def give_up(self) -> None:
        """Wait no longer for a broker that is away; from any thread. A `send` or `flush` that waits raises."""
        self._given_up = True

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Flush for at most `timeout` seconds and let go; a second call does nothing.

        Raises:
            PublishError: as `flush`.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.flush(timeout)
        finally:
            self._abandon()

    def _abandon(self) -> None:
        self._producer.purge()
        self._producer.flush(0)
        self._refused.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self._closed = True
            if lost := self.outstanding + len(self._refused):
                error.add_note(f"{lost} messages sent before may not have reached Kafka")
            self._abandon()

    def _reports_of(self, topic: str) -> "_Reports":
        reports = self._reports.get(topic)
        if reports is None:
            reports = self._reports[topic] = _Reports(topic, self._refused.append, self._on_delivered)
        return reports

    def _raise_given_up(self) -> None:
        if self._given_up:
            raise PublishError(f"gave up waiting: {self.outstanding} messages are not acknowledged")

    def _raise_refused(self) -> None:
        if not self._refused:
            return
        first, more = self._refused[0], len(self._refused) - 1
        self._refused.clear()
        raise PublishError(f"message refused: {first}" + (f" (and {more} more)" if more else ""))


def _text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return str(inner.str()) if isinstance(inner, KafkaError) else str(inner)
