"""Putting dead letters back: the transactions that carry a plan out.

A transaction puts some originals back and writes, for each, where it was put. Whoever reads committed messages sees both or
neither, so a second run after a crash knows what is left. The producer's transactional id is the dead-letter topic's:
a redrive that begins ends what another one left unfinished, and shuts that one out if it still runs.

On a broker that does not end the transactions of the dead (Tansu) the messages go first, then the records: a crash between
puts one batch back twice.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from deploy.clients import UnreachableError, admin_client, require_broker, unreachable
from deploy.letters.history import Attempt, Ledger, pack_attempts
from deploy.letters.letter import Letter
from deploy.letters.plan import Plan, Task
from deploy.letters.reading import (
    Letterbox,
    Ranges,
    existing_topics,
    read_ledger,
    read_letters,
)
from schemas.dead_letters import redrive_headers
from schemas.errors import SigmawatchError
from schemas.failpoints import fail_point
from schemas.kafka import PRODUCER_DEFAULTS, client_config, new_client
from schemas.topics import TopicSpec, create_topics, topic_specs

if TYPE_CHECKING:
    from schemas.settings import Settings

_BATCH_LETTERS = 500
_BATCH_BYTES = 4 * 1024 * 1024
# While a transaction is open, those who read committed messages wait at it; after a crash for so long, and some 10 s more.
_TRANSACTION_MS = 15_000
_MESSAGE_MS = 10_000
_ANSWER_SECONDS = 30.0
_GOODBYE_SECONDS = 5.0

_SHUT_OUT = {
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.INVALID_PRODUCER_EPOCH,
    getattr(KafkaError, "PRODUCER_FENCED", KafkaError.INVALID_PRODUCER_EPOCH),
}
_OUTAGES = {
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
}
_BESIDE = {
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
    KafkaError._STATE,  # noqa: SLF001
}
"""What is said of messages beside the one for which a transaction is given up."""


@dataclass(slots=True)
class Outcome:
    """What a redrive did.

    Attributes:
        put_back: originals that are on their topic again.
        refused: (original, why) of those that the broker does not take.
        gone: originals whose letters went by retention meanwhile.
        stopped: whether it was ended early.
    """

    put_back: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    gone: int = 0
    stopped: bool = False


class Redriver:
    """Puts the letters of one dead-letter topic back. A context manager; for one thread.

    Making it shuts out every other one of the same topic, and ends their open transaction. Blocks for that.

    Raises:
        UnreachableError: the broker does not answer.
        TopicError: the topic of what was put back is missing and cannot be made.
        SigmawatchError: the broker knows no transactions, or forbids them.
    """

    def __init__(self, settings: "Settings", box: Letterbox) -> None:
        self._settings = settings
        self._box = box
        self._in_transaction = False
        if box.ledger not in existing_topics(settings):
            create_topics(admin_client(settings), [_ledger_spec(settings, box)])
        self._transactional = ends_transactions(settings)
        self._ledger: Ledger | None = None
        self._producer: Any = self._new_producer()

    def _new_producer(self) -> Any:
        config = {
            **PRODUCER_DEFAULTS,
            **client_config(self._settings.kafka),
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": _MESSAGE_MS,
            "linger.ms": 5,
        }
        if not self._transactional:
            return new_client(Producer, config)
        name = f"sigmawatch-redrive-{self._box.letters}"
        config |= {"transactional.id": name, "transaction.timeout.ms": _TRANSACTION_MS}
        producer = new_client(Producer, config)
        try:
            producer.init_transactions(_ANSWER_SECONDS)
        except KafkaException as error:
            if _code(error) in _OUTAGES:
                raise unreachable(self._settings, error) from error
            raise SigmawatchError(
                f"the broker begins no transaction: {error.args[0].str()}",
                f"A redrive needs the right to write with the transactional id {name}.",
            ) from error
        return producer

    def _renew(self) -> None:
        """Begin with a new producer: after a refusal librdkafka's own numbers have a gap, and all that follows is refused.

        Another redrive may have been at work between; what it put back is looked up.
        """
        self._producer.purge()
        self._producer = self._new_producer()
        self._ledger = read_ledger(self._settings, [self._box], existing_topics(self._settings))

    def _is_open(self, task: Task) -> bool:
        return self._ledger is None or self._ledger.attempts_of(task.original) == task.attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_transaction:  # so that nobody waits for it to run out
            with suppress(KafkaException):
                self._producer.abort_transaction(_GOODBYE_SECONDS)
        self._producer.purge()
        self._producer.flush(0)

    def put_back(
        self, plan: Plan, *, stop: Event | None = None, tell: Callable[[int], None] = lambda _done: None
    ) -> Outcome:
        """Carry a plan out; the plan must have been made after this object was. Blocks.

        Args:
            plan: what to do.
            stop: ends it early, between two transactions.
            tell: hears how many are done.

        Raises:
            UnreachableError: the broker went away; what was put back is kept, the rest may be tried again.
            SigmawatchError: another redrive took over.
        """
        outcome, missing = Outcome(), {task.letter: task for task in plan.tasks}
        for batch in self._batches(missing):
            if stop is not None and stop.is_set():
                outcome.stopped = True
                return outcome
            self._send(batch, outcome)
            tell(outcome.put_back)
        outcome.gone = len(missing)
        return outcome

    def _batches(self, missing: dict[Any, Task]) -> Iterator[list[tuple[Task, Letter]]]:
        """Tasks with their letters, read again, by the original's place; takes those found out of `missing`."""
        batch: list[tuple[Task, Letter]] = []
        size = 0
        for letter in read_letters(self._settings, _ranges_of_tasks(missing.values())):
            task = missing.get(letter.place)
            if task is None:
                continue
            batch.append((task, letter))
            del missing[letter.place]
            size += len(letter.value or b"") + len(letter.key or b"")
            if len(batch) >= _BATCH_LETTERS or size >= _BATCH_BYTES:
                yield sorted(batch, key=lambda pair: pair[0].original.place)
                batch, size = [], 0
        if batch:
            yield sorted(batch, key=lambda pair: pair[0].original.place)

    def _send(self, batch: Sequence[tuple[Task, Letter]], outcome: Outcome) -> None:
        """Put a batch back; where the broker refuses a message, those beside it go without it."""
        batch = [pair for pair in batch if self._is_open(pair[0])]
        if not batch:
            return
        try:
            if not self._transactional:
                self._plainly(batch, outcome)
                return
            refusal = self._transaction(batch)
        except KafkaException as error:
            raise self._explained(error) from error
        if refusal is None:
            outcome.put_back += len(batch)
        elif len(batch) == 1:
            outcome.refused.append((str(batch[0][0].original), refusal))
        else:
            middle = len(batch) // 2
            self._send(batch[:middle], outcome)
            self._send(batch[middle:], outcome)

    def _transaction(self, batch: Sequence[tuple[Task, Letter]]) -> str | None:
        """Put a batch back and say so, or neither: gives what the broker said against a message of it."""
        producer = self._producer
        producer.begin_transaction()
        self._in_transaction = True
        sent = self._produce_all(batch)
        fail_point("redrive.after_messages")
        if len(sent.offsets) == len(batch):
            self._note_all(batch, sent)
            fail_point("redrive.after_records")
            if not sent.unnoted:
                self._commit()
                self._in_transaction = False
                fail_point("redrive.after_commit")
                return None
        producer.abort_transaction(_ANSWER_SECONDS)
        self._in_transaction = False
        refusal = sent.refusal()
        self._renew()
        return refusal

    def _plainly(self, batch: Sequence[tuple[Task, Letter]], outcome: Outcome) -> None:
        """Put a batch back, then say so: what a crash between leaves is put back a second time."""
        sent = self._produce_all(batch)
        fail_point("redrive.after_messages")
        self._note_all(batch, sent)
        fail_point("redrive.after_records")
        outcome.put_back += len(sent.offsets)
        if sent.unnoted or len(sent.offsets) < len(batch):
            sent.refusal()  # which raises for an outage
        outcome.refused += [
            (str(batch[number][0].original), str(error.str())) for number, error in sent.refusals.items()
        ]
        fail_point("redrive.after_commit")

    def _produce_all(self, batch: Sequence[tuple[Task, Letter]]) -> "_Sent":
        sent = _Sent()
        for number, (task, letter) in enumerate(batch):
            self._produce(number, task, letter, sent)
        self._producer.flush(_ANSWER_SECONDS)
        return sent

    def _note_all(self, batch: Sequence[tuple[Task, Letter]], sent: "_Sent") -> None:
        """Write the records of what was delivered."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for number, offset in sent.offsets.items():
            task = batch[number][0]
            attempt = Attempt(task.original.place.partition, offset, now, tuple(sorted(task.consumers)))
            self._producer.produce(
                self._box.ledger,
                pack_attempts([*task.attempts, attempt]),
                str(task.original).encode(),
                0,
                sent.noted,
            )
        self._producer.flush(_ANSWER_SECONDS)

    def _produce(self, number: int, task: Task, letter: Letter, sent: "_Sent") -> None:
        place = task.original.place
        mark = redrive_headers(str(task.original), len(task.attempts) + 1, task.consumers)
        try:
            self._producer.produce(
                place.topic,
                letter.value,
                letter.key,
                place.partition,
                sent.delivered(number),
                timestamp=letter.timestamp_ms or 0,
                headers=[*letter.original_headers, *mark],
            )
        except KafkaException as error:
            sent.refusals[number] = error.args[0]
        self._producer.poll(0)

    def _commit(self) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                self._producer.commit_transaction(_ANSWER_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _explained(self, error: KafkaException) -> SigmawatchError:
        if _code(error) in _SHUT_OUT or error.args[0].fatal():
            return SigmawatchError(
                f"another redrive of {self._box.letters} has begun, and shut this one out",
                "Let that one end; what this one put back is not repeated.",
            )
        if _code(error) in _OUTAGES or error.args[0].retriable():
            return UnreachableError(
                f"the broker at {self._settings.kafka.bootstrap_servers} went away: {error.args[0].str()}",
                "Run the same command again: what was put back is not repeated.",
            )
        return SigmawatchError(f"the broker refuses the transaction: {error.args[0].str()}")


@dataclass(slots=True)
class _Sent:
    """What became of a batch: the offsets of the messages delivered and why others were refused, by number; and the records."""

    offsets: dict[int, int] = field(default_factory=dict)
    refusals: dict[int, KafkaError] = field(default_factory=dict)
    unnoted: list[KafkaError] = field(default_factory=list)

    def delivered(self, number: int) -> Callable[[KafkaError | None, Any], None]:
        def take(error: KafkaError | None, message: Any) -> None:
            if error is None:
                self.offsets[number] = message.offset()
            else:
                self.refusals[number] = error

        return take

    def noted(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.unnoted.append(error)

    def refusal(self) -> str:
        """What the broker said against the first message that it refused for good.

        Raises:
            KafkaException: it went away meanwhile, or does not take the records.
        """
        errors = [error for error in self.refusals.values() if error.code() not in _BESIDE]
        reasons = [*errors, *self.unnoted]
        outage = next((error for error in reasons if error.code() in _OUTAGES), None)
        if outage is not None or not errors:
            raise KafkaException(outage or next(iter(reasons), KafkaError(KafkaError._TIMED_OUT)))  # noqa: SLF001
        return str(errors[0].str())


def ends_transactions(settings: "Settings") -> bool:
    """Whether the broker ends transactions whose producer has died. Tansu does not: they would hold up the sinks for ever.

    Raises:
        UnreachableError: the broker does not answer.
    """
    cluster = require_broker(settings, admin_client(settings)).cluster_id
    return not str(cluster or "").startswith("tansu")


def _ledger_spec(settings: "Settings", box: Letterbox) -> TopicSpec:
    """As the table of topics has it; for letters of a topic that is none of ours, alike."""
    ours = {spec.name: spec for spec in topic_specs(settings)}
    copies = settings.topics.replication_factor
    return ours.get(box.ledger) or TopicSpec(
        box.ledger, 1, {"cleanup.policy": "compact"}, replication_factor=copies
    )


def _ranges_of_tasks(tasks: Iterable[Task]) -> Ranges:
    ranges: Ranges = {}
    for task in tasks:
        key, offset = (task.letter.topic, task.letter.partition), task.letter.offset
        first, end = ranges.get(key, (offset, offset + 1))
        ranges[key] = min(first, offset), max(end, offset + 1)
    return ranges


def _code(error: KafkaException) -> int:
    return int(error.args[0].code())
