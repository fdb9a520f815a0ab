"""The table `sink_offset`: up to where each log is in the database, and what came of it.

Its row is the fence of a log: whoever holds the row's lock while `next_offset` is where he believes it
to be may write; all others wait, then find the offset moved and drop what they had.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

from schemas.errors import DatabaseError
from sinks.logs import Counts, LogId

# "The rows of these logs": arrays bound as parameters, one element a log.
_THESE_LOGS = """sink = %(sink)s AND (topic, topic_id, partition) IN (
    SELECT * FROM unnest(%(topics)s::text[], %(topic_ids)s::text[], %(partitions)s::int[]))"""

_READ = f"SELECT topic, topic_id, partition, next_offset FROM sink_offset WHERE {_THESE_LOGS}"  # noqa: S608

# All sinks lock in the same order, so that none waits for one that waits for it.
_LOCK = f"{_READ} ORDER BY topic, topic_id, partition FOR UPDATE"

_CREATE = """
INSERT INTO sink_offset (sink, topic, topic_id, partition, next_offset)
SELECT %(sink)s, * FROM unnest(%(topics)s::text[], %(topic_ids)s::text[], %(partitions)s::int[], %(offsets)s::bigint[])
ON CONFLICT DO NOTHING"""

_ADVANCE = """
UPDATE sink_offset AS o
SET next_offset = m.next_offset, stored = o.stored + m.stored, updated = o.updated + m.updated,
    duplicates = o.duplicates + m.duplicates, dead_letters = o.dead_letters + m.dead_letters,
    moved_at = clock_timestamp()
FROM unnest(%(topics)s::text[], %(topic_ids)s::text[], %(partitions)s::int[], %(firsts)s::bigint[], %(nexts)s::bigint[],
            %(stored)s::bigint[], %(updated)s::bigint[], %(duplicates)s::bigint[], %(dead_letters)s::bigint[])
    AS m(topic, topic_id, partition, first, next_offset, stored, updated, duplicates, dead_letters)
WHERE o.sink = %(sink)s AND o.topic = m.topic AND o.topic_id = m.topic_id AND o.partition = m.partition
  AND o.next_offset = m.first"""

_RESET = """
UPDATE sink_offset SET next_offset = %(to)s, moved_at = clock_timestamp()
WHERE sink = %(sink)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s
  AND next_offset = %(from)s"""


@dataclass(frozen=True, slots=True)
class Move:
    """A log's step from `first` to `next_offset`, and what came of the messages between."""

    log: LogId
    first: int
    next_offset: int
    counts: Counts


def read(connection: psycopg.Connection, sink: str, logs: Iterable[LogId]) -> dict[LogId, int]:
    """Where each of `logs` stands; those without a row are left out."""
    rows = connection.execute(_READ, {"sink": sink, **_columns(logs)})
    return {LogId(topic, topic_id, partition): offset for topic, topic_id, partition, offset in rows}


def enter(connection: psycopg.Connection, sink: str, starts: Mapping[LogId, int]) -> dict[LogId, int]:
    """Where logs stand; those met for the first time are entered at `starts`, their earliest offsets."""
    connection.execute(_CREATE, {"sink": sink, **_columns(starts), "offsets": list(starts.values())})
    return read(connection, sink, starts)


def lock(connection: psycopg.Connection, sink: str, logs: Iterable[LogId]) -> dict[LogId, int]:
    """As `read`, and until the end of the transaction nobody else moves them; blocks while others hold a lock."""
    rows = connection.execute(_LOCK, {"sink": sink, **_columns(logs)})
    return {LogId(topic, topic_id, partition): offset for topic, topic_id, partition, offset in rows}


def advance(connection: psycopg.Connection, sink: str, moves: list[Move]) -> None:
    """Move logs that this transaction has locked and found at their `first`, and add their counts.

    Raises:
        DatabaseError: one of them stands elsewhere all the same.
    """
    cursor = connection.execute(
        _ADVANCE,
        {
            "sink": sink,
            **_columns(move.log for move in moves),
            "firsts": [move.first for move in moves],
            "nexts": [move.next_offset for move in moves],
            "stored": [move.counts.stored for move in moves],
            "updated": [move.counts.updated for move in moves],
            "duplicates": [move.counts.duplicates for move in moves],
            "dead_letters": [move.counts.dead_letters for move in moves],
        },
    )
    if cursor.rowcount != len(moves):
        raise DatabaseError("a locked fence moved", "Does a trigger or rule change sink_offset?")


def reset(connection: psycopg.Connection, sink: str, log: LogId, position: int, to: int) -> int:
    """Put a log that stands at `position` to `to`, where Kafka no longer has what comes next; where it stands now."""
    connection.execute(
        _RESET,
        {
            "sink": sink,
            "topic": log.topic,
            "topic_id": log.topic_id,
            "partition": log.partition,
            "from": position,
            "to": to,
        },
    )
    return read(connection, sink, [log])[log]


def _columns(logs: Iterable[LogId]) -> dict[str, list[str] | list[int]]:
    listed = list(logs)
    return {
        "topics": [log.topic for log in listed],
        "topic_ids": [log.topic_id for log in listed],
        "partitions": [log.partition for log in listed],
    }
