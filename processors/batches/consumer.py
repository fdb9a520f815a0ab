"""Faust's Kafka consumer, handing over whole fetched runs of records for some topics.

For those topics acks, read offsets and gap accounting of Faust's own path play no part; all others keep them.
docs/decisions/0003-batch-consumer.md gives the reason for every override here.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from processors.batches.fetching import keep_fetched_bytes, take_fetched
from processors.batches.records import Fetched
from schemas.errors import SigmawatchError

_WORTH_BULK = 2
"""Fewer changelog records than this in a fetch gain nothing by bulk."""


_FETCH_WAIT_MS = 100
"""How long a broker may hold an empty fetch back. Faust says 1.5 s; Kafka answers as soon as something is there, but
the embedded broker not always, and then readings would lie that long."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of a partition's log, delivered in one ownership epoch; to be dropped in any other."""

    tp: TP
    epoch: int
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins in an epoch."""

    offset: int
    committed: int | None
    """The committed offset; None where the group never committed, so `offset` is the log's beginning."""


class BatchHandler(Protocol):
    """What the application does with batches; all is called in the app's event loop."""

    topics: Collection[str]
    """Topics whose records come as batches."""
    quiesce_timeout: float
    """Seconds that `quiesce` may take before the partitions are let go without it."""

    def attach(self, consumer: "BatchConsumer") -> None:
        """The consumer that will call, once, before anything else."""

    def begin(self, epoch: int, start: Mapping[TP, "Start"]) -> None:
        """A new epoch with the partitions owned in it. Must not block: the flow opens behind it."""

    def restore(self, records: Iterable[Any]) -> None:
        """Changelog records of one partition, in order; each has key, value, partition."""

    async def quiesce(self) -> None:
        """Finish the batch at hand and checkpoint everything; the partitions are about to be let go."""

    def end(self) -> None:
        """The epoch is over, whether or not `quiesce` was called or came to its end. Does not block."""

    def give_up(self) -> None:
        """The worker stops: wait for the broker no longer."""


class BatchThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread: fetches raw for batch topics, and takes a refused commit calmly."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Faust looks for "already rebalanced" in a text that has a line break there, and crashes
        # the worker on a late commit instead (drivers/aiokafka.py).
        if self.expelled:
            # aiokafka would send it without a generation, which an empty group takes from anybody
            self.log.warning("No longer a member of the group: nothing committed")
            return False
        if not offsets.keys() <= self.assignment():
            self.log.warning("Partitions have gone elsewhere: nothing committed")
            return False
        try:
            await self._ensure_consumer().commit(
                {driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(at, "") for tp, at in offsets.items()}
            )
        except (CommitFailedError, IllegalStateError) as error:
            self.log.warning("Commit refused, its readings will be read again: %s", type(error).__name__)
            return False
        except KafkaError as error:
            self.log.warning("Commit failed, the next checkpoint repeats it: %r", error)
            return False
        return True

    @property
    def expelled(self) -> bool:
        """Whether the coordinator has thrown this member out, so that no commit of it may count."""
        return bool(self._ensure_consumer()._coordinator.generation < 0)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        owner = cast("BatchConsumer", self.consumer)
        active = active_partitions.copy()  # the app's thread changes the set itself
        if not owner.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        wanted = {tp for tp in active if tp.topic in owner.handler.topics}
        others = active - wanted
        with fetcher._subscriptions.fetch_context():
            if fetcher._subscriptions.reassignment_in_progress:
                await fetcher._subscriptions.wait_for_assignment()
            found = await self._take(fetcher, wanted, others, max_records)
            if not found and timeout:
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=timeout)
                if not done:
                    waiter.cancel()
                else:
                    waiter.result()  # raises what the coordinator refuses for good
                    found = await self._take(fetcher, wanted, others, max_records)
        return found

    async def _take(
        self, fetcher: Any, wanted: set[TP], others: set[TP], max_records: int | None
    ) -> dict[TP, list[Any]]:
        found: dict[TP, list[Any]] = {}
        for tp in wanted:
            fetched = take_fetched(fetcher, driver.ensure_aiokafka_TP(tp))
            if fetched is not None:
                found[tp] = [fetched]
        if others:
            found.update(await fetcher.fetched_records(others, timeout=0, max_records=max_records))
        return found


class BatchConsumer(driver.Consumer):
    """Consumer that owns read position and commits of the handler's topics.

    An epoch is one ownership of partitions, from the end of a rebalance's recovery to the next revocation.
    Between epochs the gate is closed: nothing is delivered.
    """

    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_fetched_bytes()
        self.handler: BatchHandler = cast("Any", self.app).batch_handler
        self.handler.attach(self)
        self.epoch = 0
        self._revocations = 0
        self._next: dict[TP, int] = {}
        """Next offset to deliver; a partition that is missing here has its gate closed."""
        self._start: dict[TP, Start] = {}
        """Where the coming epoch begins; set by perform_seek, used by resume_flow."""

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    # -- read position

    async def perform_seek(self) -> None:
        """Seek to what the broker says is committed, and have the state restored up to there."""
        before = self._revocations
        await super().perform_seek()
        owned = {tp for tp in self.assignment() if tp.topic in self.handler.topics}
        committed = {tp: self._read_offset[tp] or None for tp in owned}
        start = {tp: offset for tp, offset in committed.items() if offset is not None}
        fresh = owned - start.keys()
        if fresh:  # Faust leaves these wherever the fetcher happens to be
            earliest = await self.earliest_offsets(*fresh)
            start.update({ensure_TP(tp): offset for tp, offset in earliest.items()})
        await self.seek_wait(start)
        if before == self._revocations:
            self._start = {tp: Start(offset, committed[tp]) for tp, offset in start.items()}

    def resume_flow(self) -> None:
        """Open the gate: after flow_control.resume(), which empties the streams' queues, and not before."""
        if self._start:
            self.epoch += 1
            start, self._start = self._start, {}
            self._next = {tp: at.offset for tp, at in start.items()}
            for tp, offset in self._next.items():  # undo what a late fetch took meanwhile
                self._seek_now(tp, offset)
            self.handler.begin(self.epoch, start)
        super().resume_flow()

    def _seek_now(self, tp: TP, offset: int) -> None:
        """Have the fetcher's thread seek as soon as it can; here a seek could fall amid a fetch being taken out."""

        def seek() -> None:
            try:
                self._thread.seek(tp, offset)
            except IllegalStateError:
                self.log.info("%r is no longer assigned: a rebalance is coming", tp)

        with suppress(RuntimeError):  # the thread has ended
            self._thread.thread_loop.call_soon_threadsafe(seek)

    async def _close_gate(self) -> None:
        self._revocations += 1
        self._start, owned = {}, self._next
        self._next = {}
        self.stop_flow()
        if owned and not self._thread.expelled:
            await self._quiesce()
        self.handler.end()
        self.epoch += 1

    async def _quiesce(self) -> None:
        """Saves work; correctness does not hang on it. What takes too long goes on by itself and is refused later."""
        quiesce = asyncio.ensure_future(self.handler.quiesce())
        quiesce.add_done_callback(self._say_how_it_went)
        await asyncio.wait({quiesce}, timeout=self.handler.quiesce_timeout)
        if not quiesce.done():
            self.log.warning("No checkpoint before letting go: it takes too long")

    def _say_how_it_went(self, quiesce: "asyncio.Future[None]") -> None:
        if not quiesce.cancelled() and (error := quiesce.exception()) is not None:
            self.log.warning("No checkpoint before letting go: %r", error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Checkpoint before super() forgets what it knows of the partitions."""
        await self._close_gate()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Checkpoint before the consumer goes; a broker that is away does not hold the worker up."""
        await self._close_gate()
        self.handler.give_up()
        await super().on_stop()

    # -- delivery

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's signature
        records, active = await super()._wait_next_records(timeout)
        if not self.flow_active:
            # Faust seeks to the committed offsets here, at a random moment of a recovery that
            # seeks by itself before it resumes; no records at all keeps it from that.
            return None, active
        if not records:
            return records, active
        others = {}
        for key, found in records.items():
            tp = ensure_TP(key)
            if tp.topic in self.handler.topics:
                for fetched in found:
                    await self._deliver(tp, fetched)
            else:
                others[tp] = self._restore_in_bulk(tp, found)
        return others, active

    def _restore_in_bulk(self, tp: TP, records: list[Any]) -> list[Any]:
        """Apply a fetch of a table's changelog at once; returns what is left for Faust's own path.

        That is the last record: only an event makes Faust's recovery look whether it is done.
        """
        recovery = cast("Any", self.app.tables).recovery
        if not recovery.in_recovery or tp not in recovery.active_tps or len(records) < _WORTH_BULK:
            return records
        seen = recovery.active_offsets[tp]
        recovery.flush_buffers()  # older events first
        self.handler.restore(record for record in records if seen is None or record.offset > seen)
        recovery.active_offsets[tp] = max(records[-1].offset - 1, seen if seen is not None else -1)
        return records[-1:]

    async def _deliver(self, tp: TP, fetched: Fetched) -> None:
        # What was fetched is the log's content, whenever it was fetched: only continuity counts.
        epoch, want = self.epoch, self._next.get(tp)
        if want is None:
            return
        if fetched.end <= want:
            await self._require_unshortened(tp, want)
            return
        if fetched.begin > want:
            earliest = (await self.earliest_offsets(tp))[tp]
            if epoch != self.epoch or self._next.get(tp) != want:
                return
            if fetched.begin > max(want, earliest):  # a fetch from before a seek
                self._seek_now(tp, max(want, earliest))
                return
            self.log.error(
                "%r: offsets %d to %d were deleted before they were read", tp, want, fetched.begin - 1
            )
        fetched = Fetched(want, fetched.end, fetched.records.since(want))
        await self.wait_first(self.callback(self._message(tp, epoch, fetched)), self.suspend_flow.wait())
        if epoch == self.epoch and self._next.get(tp) == want:
            self._next[tp] = fetched.end

    async def _require_unshortened(self, tp: TP, want: int) -> None:
        """Stop where the log ends before what was read of it: it is another log, whose readings would be passed over."""
        end = self.log_end(tp)
        if end is not None and end < want:
            await self.app.crash(
                SigmawatchError(
                    f"{tp.topic}[{tp.partition}] ends at offset {end}, but was read up to {want}:"
                    " the topic was deleted and made again, or has lost its end",
                    "Start with another processor.group, whose state is empty.",
                )
            )

    def _message(self, tp: TP, epoch: int, fetched: Fetched) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=fetched.end - 1,
            timestamp=0.0,
            timestamp_type=0,
            headers=[],
            key=None,
            value=cast("Any", Batch(tp, epoch, fetched)),
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing for batch topics: delivery waits by itself; without active partitions Faust would sleep a second."""
        if tp.topic not in self.handler.topics:
            super().on_buffer_full(tp)

    def rewind(self, tp: TP, offset: int, epoch: int) -> None:
        """Deliver again from `offset`: the agent did not get the batch it expected."""
        if epoch == self.epoch and tp in self._next:
            self._next[tp] = offset
            self._seek_now(tp, offset)

    def log_end(self, tp: TP) -> int | None:
        """Offset behind a partition's last record, as the last fetch told; None before the first, or not ours."""
        if tp not in self._next:
            return None
        try:
            return cast("int | None", self._thread._ensure_consumer().highwater(tp))
        except (AssertionError, AttributeError):  # the fetcher's thread has lost the partition a moment ago
            return None

    # -- commit

    async def commit_checkpoint(self, offsets: Mapping[TP, int]) -> bool:
        """Commit next offsets that a finished checkpoint covers; False where the broker refuses."""
        return bool(await self._commit(offsets))

    def ack(self, message: Any) -> bool:
        """Nothing but the mark, for batches: their offsets move by checkpoints."""
        if message.topic not in self.handler.topics:
            return bool(super().ack(message))
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp for tp in super()._filter_tps_with_pending_acks(topics) if tp.topic not in self.handler.topics
        )


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer
