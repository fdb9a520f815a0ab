"""Between Faust and the engine: batches in, anomalies and dead letters out, checkpoints in the order that loses nothing.

A checkpoint, each step acknowledged before the next:
1. the anomalies and dead letters that the readings up to offset O gave;
2. the changed series' states, to the changelog;
3. a marker {O}, by itself in its batch;
4. the consumer's commit of O.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from faust.types import TP

from processors.batches.consumer import Batch, BatchConsumer, Start
from processors.detection.facts import DirectoryBehindError
from processors.detection.renewal import News, Renewal
from processors.engine.batch import ReadingBatch
from processors.engine.partition import Applied
from processors.metrics import Metrics
from processors.partition import CheckpointWrites, Partition
from schemas.codec import Codec
from schemas.columns import decode_reading_spans
from schemas.dead_letters import TimeBounds, dead_letter_headers, dlq_topic
from schemas.errors import RegistryUnavailableError, SigmawatchError
from schemas.failpoints import fail_point
from schemas.kafka import Publisher

log = structlog.get_logger(__name__)

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

Restorer = Callable[[int], list[tuple[bytes, bytes | None]]]
"""Reads a whole changelog partition by itself; blocks. Asked only where Faust's recovery fell short."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One ownership of partitions; replaced as a whole, so that `is` tells whether it is still the same."""

    number: int
    owned: frozenset[int]


_NO_EPOCH = Epoch(-1, frozenset())


class ProcessorHandler:
    """Implements `BatchHandler`. All methods run in the app's event loop unless they say otherwise.

    Args:
        topic: the readings topic.
        anomalies_topic: where anomalies go.
        changelog_topic: the series table's changelog.
        group: the consumer group's name, said in dead letters.
        renewal: what each series is judged by, while that changes.
        bounds: which event times are believed.
        checkpoint_readings: readings after which a checkpoint is due.
        codec: the messages'.
        publisher: for everything that is sent; used from one thread at a time.
        restorer: see `Restorer`.
        metrics: where to count.
    """

    quiesce_timeout = 20.0

    def __init__(
        self,
        *,
        topic: str,
        anomalies_topic: str,
        changelog_topic: str,
        group: str,
        renewal: Renewal,
        bounds: TimeBounds,
        checkpoint_readings: int,
        codec: Codec,
        publisher: Publisher,
        restorer: Restorer,
        metrics: Metrics,
    ) -> None:
        self.topics = frozenset({topic})
        self.partitions: dict[int, Partition] = {}
        self._topic = topic
        self._anomalies_topic = anomalies_topic
        self._changelog_topic = changelog_topic
        self._group = group
        self._renewal = renewal
        self._bounds = bounds
        self._checkpoint_readings = checkpoint_readings
        self._codec = codec
        self._publisher = publisher
        self._restorer = restorer
        self._metrics = metrics
        self._consumer: BatchConsumer
        self._epoch = _NO_EPOCH
        self._since_checkpoint = 0
        self._up_to_date: set[int] = set()
        """Partitions whose series have their profiles by the devices of this epoch's beginning."""
        self._lock = asyncio.Lock()
        """Held while a batch is applied or a checkpoint written: a checkpoint sees whole batches only."""

    def attach(self, consumer: BatchConsumer) -> None:
        """The consumer that delivers the batches and takes the commits."""
        self._consumer = consumer

    # -- ownership

    def partition(self, number: int) -> Partition:
        """State of a partition, fresh where there is none."""
        return self.partitions.setdefault(number, Partition(self._renewal.book))

    @property
    def owned(self) -> frozenset[int]:
        """Partitions of the present epoch; none between epochs."""
        return self._epoch.owned

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop the state of partitions that went to another worker."""
        gone = frozenset(numbers)
        self._epoch = Epoch(self._epoch.number, self._epoch.owned - gone)
        for number in gone:
            self.partitions.pop(number, None)

    def restore(self, records: Iterable[Any]) -> None:
        """Take over changelog records."""
        for record in records:
            self.partition(record.partition).restored(record.key, record.value)

    def begin(self, epoch: int, start: Mapping[TP, Start]) -> None:
        """An epoch begins."""
        self._epoch = Epoch(epoch, frozenset(tp.partition for tp in start))
        self._up_to_date.clear()
        for tp, at in start.items():
            self.partition(tp.partition).begin(at.offset, at.committed)
        self._metrics.partitions.set(len(start))
        log.info("partitions assigned", partitions=sorted(self.owned), epoch=epoch)

    async def quiesce(self) -> None:
        """Checkpoint everything; called with the gate closed, before the partitions are let go."""
        epoch = self._epoch
        async with self._lock:
            if epoch is self._epoch:
                await self._checkpoint()

    def end(self) -> None:
        """The epoch is over: nothing that is still under way in it may be committed."""
        self._epoch = _NO_EPOCH
        self._metrics.partitions.set(0)

    def _abandon(self) -> None:
        """What the readings gave may not have gone out: forget that they were applied, and commit nothing.

        A worker that goes on after this restores its states from the changelog.
        """
        self.end()
        self.partitions.clear()

    def give_up(self) -> None:
        """Stop waiting for a broker that does not answer; what waits in a thread raises."""
        self._renewal.give_up()
        self._publisher.give_up()

    # -- batches

    async def on_batch(self, batch: Batch) -> None:
        """Apply one batch, unless it belongs to another epoch or does not continue the last one.

        Raises:
            SigmawatchError: the topic is younger than the state, or the broker refuses what is sent.
        """
        async with self._lock:
            epoch = self._epoch
            if batch.epoch != epoch.number or batch.tp.partition not in epoch.owned:
                return
            partition = self.partition(batch.tp.partition)
            if not partition.is_whole:
                await self._restore_rest(batch.tp.partition, partition)
            self._require_same_log(batch.tp, partition)
            if batch.tp.partition not in self._up_to_date:
                await self._bring_up_to_date(batch.tp.partition, partition)
            readings = await self._waiting_for_registry(self._decode, batch)
            if epoch is not self._epoch:  # a rebalance came while we waited
                return
            if batch.fetched.begin != partition.next_offset:
                self._consumer.rewind(batch.tp, partition.next_offset, batch.epoch)
                return
            try:
                applied = await self._apply(partition, readings, batch.fetched.end)
                if applied is None:
                    return
                if applied.anomalies or applied.rejected:
                    anomalies = await self._waiting_for_registry(self._encode, applied)
                    # in a thread: it waits while the broker is away, and heartbeats must go on
                    await _in_thread(self._send, batch, applied, anomalies)
            except BaseException:
                self._abandon()
                raise
            count = len(batch.fetched.records)
            self._metrics.readings.inc(count)
            self._since_checkpoint += count
            if self._since_checkpoint >= self._checkpoint_readings:
                await self._checkpoint()

    async def _apply(self, partition: Partition, readings: ReadingBatch, end: int) -> Applied | None:
        """Apply a batch; None where a rebalance came while we read what is known of its devices."""
        try:
            with self._renewal.complete_only(), self._metrics.batch_seconds.time():
                return partition.apply(readings, end)
        except DirectoryBehindError:
            epoch = self._epoch
            await _in_thread(self._renewal.read_on)
        if epoch is not self._epoch:
            return None
        with self._metrics.batch_seconds.time():
            return partition.apply(readings, end)

    async def _bring_up_to_date(self, number: int, partition: Partition) -> None:
        """Before an epoch's first readings: read the devices on, for another worker may have known more of them."""
        epoch = self._epoch
        await _in_thread(self._renewal.read_on)
        if epoch is self._epoch:
            partition.judge_by(News(self._renewal.book))
            self._up_to_date.add(number)

    def _require_same_log(self, tp: TP, partition: Partition) -> None:
        end = self._consumer.log_end(tp)
        if end is not None and end < partition.reached:
            raise SigmawatchError(
                f"{tp.topic}[{tp.partition}] ends at offset {end}, but its readings were processed up to"
                f" {partition.reached}: the topic was deleted and made again, or has lost its end",
                "Start with another processor.group, whose state is empty.",
            )

    async def _waiting_for_registry(
        self, function: Callable[[_Argument], _Result], argument: _Argument
    ) -> _Result:
        wait = 0.1
        while True:
            try:
                return function(argument)
            except RegistryUnavailableError as error:
                log.warning("schema registry does not answer, waiting", error=str(error), seconds=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 10.0)

    def _decode(self, batch: Batch) -> ReadingBatch:
        records = batch.fetched.records
        columns = decode_reading_spans(
            records.data,
            records.values[0],
            records.values[1],
            records.timestamps_ms,
            self._codec,
            self._bounds,
        )
        return ReadingBatch(records.offsets, records.timestamps_ms, columns)

    def _encode(self, applied: Applied) -> list[bytes]:
        return [self._codec.encode_anomaly(anomaly) for anomaly in applied.anomalies]

    def _send(self, batch: Batch, applied: Applied, anomalies: list[bytes]) -> None:
        for anomaly, value in zip(applied.anomalies, anomalies, strict=True):
            self._publisher.send(self._anomalies_topic, anomaly.device_id.encode(), value)
            self._metrics.anomalies.labels(anomaly.state.value).inc()
        records = batch.fetched.records
        for bad in applied.rejected:
            self._publisher.send(
                dlq_topic(self._topic),
                records.key(bad.row),
                records.value(bad.row),
                headers=dead_letter_headers(
                    self._topic,
                    batch.tp.partition,
                    int(records.offsets[bad.row]),
                    bad.reason,
                    stage="VALUE_CONVERTER",
                    consumer=self._group,
                ),
                timestamp_ms=max(0, int(records.timestamps_ms[bad.row])),
            )
            self._metrics.dead_letters.labels(bad.reason.name.lower()).inc()

    # -- checkpoints

    async def checkpoint(self) -> None:
        """Write a checkpoint of all partitions that moved."""
        async with self._lock:
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        epoch = self._epoch
        moved = {
            number: self.partitions[number] for number in epoch.owned if self.partitions[number].has_news
        }
        if not moved:
            self._adopt()
            return
        begun = time.perf_counter()
        writes = {number: partition.checkpoint() for number, partition in moved.items()}
        try:
            await _in_thread(self._write, writes)
        except BaseException:
            self._abandon()
            raise
        if epoch is not self._epoch:  # the partitions may be another's by now
            return
        for number, partition in moved.items():
            partition.closed(writes[number])
        committed = await self._consumer.commit_checkpoint(
            {TP(self._topic, number): write.next_offset for number, write in writes.items()}
        )
        self._metrics.checkpoints.labels("committed" if committed else "refused").inc()
        if committed:
            self._since_checkpoint = 0
            for number, partition in moved.items():
                partition.committed(writes[number])
            self._adopt()
        fail_point("processor.after_commit")
        self._metrics.checkpoint_seconds.observe(time.perf_counter() - begun)

    async def renew(self, *, rules: bool) -> None:
        """Look at devices, and at the rules file if asked to; what changed comes into force with a checkpoint, now."""
        await _in_thread(self._renewal.look, rules)
        if self._renewal.has_news:
            await self.checkpoint()

    def _adopt(self) -> None:
        """Put news in force, if every state is as a checkpoint has it: after a crash the same readings are judged so."""
        if not self._renewal.has_news or any(self.partitions[n].has_news for n in self._epoch.owned):
            return
        news = self._renewal.adopt()
        for partition in self.partitions.values():
            partition.judge_by(news)

    def _write(self, writes: dict[int, CheckpointWrites]) -> None:
        """Steps 1 to 3; runs in a thread, blocks until the broker has acknowledged."""
        publisher, topic = self._publisher, self._changelog_topic
        fail_point("processor.before_anomalies")
        publisher.flush()
        fail_point("processor.after_anomalies")
        size = 0
        for number, write in writes.items():
            for key in write.obsolete:
                publisher.send(topic, key, None, partition=number)
            for key, value in write.states:
                publisher.send(topic, key, value, partition=number)
                size += len(key) + len(value)
        fail_point("processor.amid_states")
        publisher.flush()
        fail_point("processor.after_states")
        for number, write in writes.items():
            publisher.send(topic, *write.marker, partition=number)
        publisher.flush()
        fail_point("processor.after_marker")
        self._metrics.changelog_bytes.inc(size)

    async def _restore_rest(self, number: int, partition: Partition) -> None:
        """Read the changelog to its real end, where Faust's recovery trusted a wrong one.

        What is still missing then was never there: offsets were moved by hand, or the changelog was lost.
        """
        log.warning(
            "state does not reach the committed offset, reading the changelog again", partition=number
        )
        for key, value in await _in_thread(self._restorer, number):
            partition.restored(key, value)
        if not partition.is_whole:
            log.error(
                "the changelog ends before the committed offset: readings between were skipped by hand,"
                " or the changelog was lost; its series go on from what is there",
                partition=number,
                committed=partition.committed_target,
            )
        partition.committed_target = None

    # -- looking in

    def lags(self) -> dict[int, int]:
        """Records between the last batch and the end of the log, by partition, as the last fetch told of that end."""
        ends = {number: self._consumer.log_end(TP(self._topic, number)) for number in self.owned}
        return {
            number: max(0, end - self.partitions[number].next_offset)
            for number, end in ends.items()
            if end is not None
        }


async def _in_thread(function: Callable[..., _Result], *args: Any) -> _Result:
    """Run in a thread; a cancellation waits for the thread, which cannot be stopped, before it goes on.

    So a lock that is held here is held as long as the thread runs.
    """
    task = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
