"""Batches into the database, each with exactly-once effect.

One transaction for the batches of several logs (a commit costs the same for one as for eight): lock the logs' fences; of
each log that still stands where its batch begins store the rows; make dead letters of what is refused, acknowledged by the broker;
move the fences and their counters; commit. A log whose fence has moved belongs to somebody else: its batch is dropped,
the others are not touched.

Outages are waited out and the transaction is tried again. Where the connection was lost in COMMIT
nobody knows the outcome, except the fence: the next attempt reads it first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
import psycopg
import structlog
from numpy.typing import NDArray

from schemas.dead_letters import DeadLetterReason
from schemas.errors import first_line
from schemas.failpoints import fail_point
from sinks.dead_letters import DeadLetter, Message
from sinks.logs import Counts, LogId
from sinks.timescale import offsets
from sinks.timescale.database import Database, transaction
from sinks.timescale.offsets import Move
from sinks.timescale.tables import Rows
from sinks.timescale.verdicts import Verdict, judge

_LOG = structlog.get_logger(__name__)

_STAGED_BATCHES = 8
"""A log whose rows hit the key goes through staging for this many batches: repeats come in runs (a replay), and a failed
COPY costs as much as a good one."""


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
    """Writes batches. Not for use from several threads.

    Args:
        database: where to.
        sink: whose fences move.
        send_dead_letters: sends them, blocks until they are acknowledged.
    """

    def __init__(
        self, database: Database, sink: str, send_dead_letters: Callable[[Sequence[DeadLetter]], None]
    ) -> None:
        self._database = database
        self._sink = sink
        self._send_dead_letters = send_dead_letters
        self._staged_batches: dict[LogId, int] = {}

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

        def once(connection: psycopg.Connection) -> _Outcomes:
            try:
                return self._write_once(connection, batches, attempt)
            except psycopg.Error as error:
                if judge(error) is Verdict.TOO_MUCH and _divisible(batches):
                    raise _TooMuchError(first_line(error)) from error
                raise

        try:
            return self._database.patiently(once) if patient else self._database.once(once)
        except _TooMuchError as error:
            _LOG.warning("too much for one transaction, halving it", reason=str(error))
            return self._write_halves(batches, patient=patient)

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
        with transaction(connection):
            standing = offsets.lock(connection, self._sink, [batch.log for batch in todo])
            fail_point("sink.after_fence")
            held = [batch for batch in todo if standing.get(batch.log) == batch.first]
            letters: list[DeadLetter] = []
            for batch in held:
                counts, refused = self._store(connection, batch)
                letters += refused
                moves.append(Move(batch.log, batch.first, batch.next_offset, counts))
            self._send_dead_letters(letters)
            if moves:
                offsets.advance(connection, self._sink, moves)
            fail_point("sink.before_commit")
            attempt.committing = moves
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
    """The transaction needs more of the server than it has, and can be halved."""


@dataclass(slots=True)
class _Attempt:
    """What attempts leave behind for the next one."""

    settled: _Outcomes = field(default_factory=dict)
    committing: list[Move] = field(default_factory=list)


def _divisible(batches: Sequence[LogBatch]) -> bool:
    return len(batches) > 1 or batches[0].halves() is not None


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
