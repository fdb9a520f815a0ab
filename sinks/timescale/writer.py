"""Batches into the database, each with exactly-once effect.

One transaction for the batches of several logs (a commit costs the same for one as for eight): lock the logs' fences; of
each log that still stands where its batch begins store the rows; make dead letters of what is refused, acknowledged by the broker;
move the fences and their counters; commit. A log whose fence has moved belongs to somebody else: its batch is dropped,
the others are not touched.

Outages are waited out and the transaction is tried again. Where the connection was lost in COMMIT
nobody knows the outcome, except the fence: the next attempt reads it first.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

import numpy as np
import psycopg
import structlog
from numpy.typing import NDArray

from schemas.dead_letters import DeadLetterReason
from schemas.errors import DatabaseError
from schemas.failpoints import fail_point
from sinks.dead_letters import DeadLetter, Message
from sinks.logs import Counts, LogId
from sinks.patience import patiently
from sinks.timescale import offsets
from sinks.timescale.offsets import Move
from sinks.timescale.tables import Rows
from sinks.timescale.verdicts import Verdict, judge

_LOG = structlog.get_logger(__name__)
_Result = TypeVar("_Result")

_STAGED_BATCHES = 8
"""A log whose rows hit the key goes through staging for this many batches: repeats come in runs (a replay), and a failed
COPY costs as much as a good one."""


class OutageError(Exception):
    """The database does not answer or cannot write now; the batch is not stored, and may be tried again."""


@dataclass(slots=True)
class LogBatch:
    """What is to become of the messages of one log from `first` (its fence) to `next_offset`.

    Attributes:
        log: which.
        first: where the log must stand.
        next_offset: where it stands afterwards.
        messages: all messages of the batch; `rows` and dead letters refer to them.
        rows: what is stored.
        repeated: (m,) indexes of the messages whose key an earlier message of the batch has.
        refused: messages that could not be decoded.
    """

    log: LogId
    first: int
    next_offset: int
    messages: Sequence[Message]
    rows: Rows
    repeated: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    refused: list[DeadLetter] = field(default_factory=list)
    _refused_rows: dict[int, DeadLetter] = field(default_factory=dict)

    def refuse(self, message: int, detail: str) -> DeadLetter:
        """The dead letter of a row that the database refused; the same one when it is refused again."""
        if message not in self._refused_rows:
            self._refused_rows[message] = DeadLetter(
                self.log.topic,
                self.log.partition,
                self.messages[message],
                DeadLetterReason.REFUSED_BY_DATABASE,
                detail,
            )
        return self._refused_rows[message]

    def halves(self) -> "tuple[LogBatch, LogBatch] | None":
        """Two batches that give the same together; None where there is at most one row."""
        if len(self.rows) < 2:
            return None
        early, late = self.rows.split()
        start = int(late.messages[0])
        middle = self.messages[start].offset()
        before = [letter for letter in self.refused if letter.message.offset() < middle]
        after = [letter for letter in self.refused if letter.message.offset() >= middle]
        cut = int(np.searchsorted(self.repeated, start))
        return (
            LogBatch(self.log, self.first, middle, self.messages, early, self.repeated[:cut], before),
            LogBatch(self.log, middle, self.next_offset, self.messages, late, self.repeated[cut:], after),
        )


class Fate(Enum):
    """What became of a batch."""

    STORED = auto()
    LOST = auto()
    """The log's fence has moved: somebody else owns the log, and the batch was dropped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Fate of a log's batch, and what came of its messages where it was stored."""

    fate: Fate
    counts: Counts = field(default_factory=Counts)


_Outcomes = dict[LogId, Outcome]


class Writer:
    """Writes batches over one connection, which it makes anew after an outage.

    Not for use from several threads. `close()` ends the connection; an open transaction is undone.

    Args:
        connect: makes a connection in autocommit mode; may raise psycopg.OperationalError.
        sink: whose fences move.
        send_dead_letters: sends them, blocks until they are acknowledged.
        stop: set when waiting for the database must end.
        longest_wait: longest pause between two attempts, in seconds.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        sink: str,
        send_dead_letters: Callable[[Sequence[DeadLetter]], None],
        stop: threading.Event,
        longest_wait: float = 10.0,
    ) -> None:
        self._connect = connect
        self._sink = sink
        self._send_dead_letters = send_dead_letters
        self._stop = stop
        self._longest_wait = longest_wait
        self._connection: psycopg.Connection | None = None
        self._staged_batches: dict[LogId, int] = {}
        self.outages = 0
        """Failed attempts so far."""
        self.waiting = False
        """Whether the database was out of reach at the last attempt."""

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(self, batches: Sequence[LogBatch], *, patient: bool = True) -> _Outcomes:
        """Store the batches, at most one a log; blocks until they are, also through outages.

        Args:
            batches: each becomes an entry of the result.
            patient: False tries once.

        Raises:
            OutageError: not patient, and the database was out of reach.
            StoppedError: told to stop while waiting.
            DatabaseError: the database refuses for good.
            PublishError: the broker refuses a dead letter for good.
        """
        if not batches:
            return {}
        attempt = _Attempt()

        def once() -> _Outcomes:
            try:
                return self._guard(lambda connection: self._write_once(connection, batches, attempt))
            except _TooMuchError as error:
                if len(batches) > 1 or batches[0].halves() is not None:
                    raise
                raise OutageError(str(error)) from error

        try:
            return self._patiently(once) if patient else once()
        except _TooMuchError as error:
            _LOG.warning("too much for one transaction, halving it", reason=str(error))
            return self._write_halves(batches, patient=patient)

    def positions(self, logs: Sequence[LogId]) -> dict[LogId, int]:
        """Where logs stand; those met for the first time are left out. Blocks and raises as `write`."""
        return self._patiently(
            lambda: self._guard(lambda connection: offsets.read(connection, self._sink, logs))
        )

    def enter(self, starts: Mapping[LogId, int]) -> dict[LogId, int]:
        """Enter new logs at their earliest offset; where all of them stand. Blocks and raises as `write`."""

        def once(connection: psycopg.Connection) -> dict[LogId, int]:
            offsets.create(connection, self._sink, starts)
            return offsets.read(connection, self._sink, list(starts))

        return self._patiently(lambda: self._guard(once))

    def reset(self, log: LogId, position: int, to: int) -> int:
        """Put a log that stands at `position` to `to`; where it stands now. Blocks and raises as `write`."""

        def once(connection: psycopg.Connection) -> int:
            offsets.reset(connection, self._sink, log, position, to)
            return offsets.read(connection, self._sink, [log])[log]

        return self._patiently(lambda: self._guard(once))

    def _patiently(self, once: Callable[[], _Result]) -> _Result:
        """Repeat after an outage, with growing pauses that `stop` cuts short."""
        return patiently(once, OutageError, self._stop, "the database", self._longest_wait)

    def _guard(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """Do something over the connection; turn errors into what is to be done about them."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            result = work(self._connection)
        except psycopg.Error as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            verdict = judge(error)
            if verdict is Verdict.TOO_MUCH:
                raise _TooMuchError(line) from error
            if verdict is Verdict.OUTAGE:
                self.outages += 1
                self.waiting = True
                self.close()
                raise OutageError(line) from error
            raise DatabaseError(
                f"the database refuses to store: {line}", "See `sigmawatch db status`, and the user's rights."
            ) from error
        self.waiting = False
        return result

    def _write_once(
        self, connection: psycopg.Connection, batches: Sequence[LogBatch], attempt: "_Attempt"
    ) -> _Outcomes:
        outcomes = dict(attempt.settled)
        if attempt.committing:
            # The last attempt was cut off in COMMIT. A fence that stands where it would have put it was moved by it.
            now = offsets.read(connection, self._sink, [batch.log for batch in batches])
            for move in attempt.committing:
                if now.get(move.log) == move.next_offset:
                    outcomes[move.log] = attempt.settled[move.log] = Outcome(Fate.STORED, move.counts)
            attempt.committing = []
        todo = sorted((batch for batch in batches if batch.log not in outcomes), key=lambda batch: batch.log)
        moves: list[Move] = []
        fail_point("sink.before_fence")
        with connection.transaction():
            standing = offsets.lock(connection, self._sink, [batch.log for batch in todo])
            fail_point("sink.after_fence")
            held = [batch for batch in todo if standing.get(batch.log) == batch.first]
            letters: list[DeadLetter] = []
            for batch in held:
                counts, refused = self._store(connection, batch)
                letters += refused
                moves.append(Move(batch.log, batch.first, batch.next_offset, counts))
            self._send_dead_letters(letters)
            if moves and offsets.advance(connection, self._sink, moves) != len(moves):
                raise DatabaseError("a locked fence moved", "Does a trigger or rule change sink_offset?")
            fail_point("sink.before_commit")
            attempt.committing = moves
        if connection.closed:
            # psycopg leaves a transaction's block without a word when its connection is closed already.
            raise psycopg.OperationalError("the connection was closed before COMMIT")
        attempt.committing = []
        for batch in todo:
            outcomes[batch.log] = Outcome(Fate.LOST)
        for move in moves:
            outcomes[move.log] = Outcome(Fate.STORED, move.counts)
        return outcomes

    def _store(self, connection: psycopg.Connection, batch: LogBatch) -> tuple[Counts, list[DeadLetter]]:
        """Store a batch's rows; what came of all its messages, and its dead letters."""
        staged = self._staged_batches.get(batch.log, 0)
        stored, refused = _store_or_refuse(connection, batch.rows, staged=staged > 0)
        self._staged_batches[batch.log] = _STAGED_BATCHES if stored.duplicates else max(0, staged - 1)
        letters = batch.refused + [batch.refuse(message, detail) for message, detail in refused]
        return stored + Counts(duplicates=len(batch.repeated), dead_letters=len(letters)), letters

    def _write_halves(self, batches: Sequence[LogBatch], *, patient: bool) -> _Outcomes:
        """Two transactions instead of one that was too much for the server."""
        halves = batches[0].halves() if len(batches) == 1 else None
        if halves is None:
            middle = len(batches) // 2
            early = self.write(batches[:middle], patient=patient)
            return early | self.write(batches[middle:], patient=patient)
        log = batches[0].log
        first = self.write([halves[0]], patient=patient)[log]
        if first.fate is Fate.LOST:
            return {log: first}
        second = self.write([halves[1]], patient=patient)[log]
        return {log: Outcome(second.fate, first.counts + second.counts)}


class _TooMuchError(Exception):
    """The transaction needs more of the server than it has."""


@dataclass(slots=True)
class _Attempt:
    """What attempts leave behind for the next one."""

    settled: _Outcomes = field(default_factory=dict)
    committing: list[Move] = field(default_factory=list)


def _store_or_refuse(
    connection: psycopg.Connection, rows: Rows, *, staged: bool
) -> tuple[Counts, list[tuple[int, str]]]:
    """Store rows; those that the database refuses are found by halving: (message, what it said)."""
    if not len(rows):
        return Counts(), []
    try:
        with connection.transaction():
            return rows.store(connection, staged=staged), []
    except psycopg.Error as error:
        if judge(error) is not Verdict.ROW:
            raise
        if not staged and isinstance(error, psycopg.errors.UniqueViolation):
            return _store_or_refuse(connection, rows, staged=True)
        if len(rows) == 1:
            return Counts(), [(int(rows.messages[0]), str(error))]
    stored, refused = Counts(), []
    for half in rows.split():
        counts, bad = _store_or_refuse(connection, half, staged=staged)
        stored += counts
        refused += bad
    return stored, refused
