"""Taking fetched bytes out of aiokafka's fetcher before it makes an object of every record.

aiokafka wraps what a fetch brought in `MemoryRecords` at once, and its compiled form hides the bytes. So the
name `MemoryRecords` in aiokafka's fetcher is replaced by a wrapper that keeps them and otherwise does the same.
"""

from typing import Any

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult
from aiokafka.record.memory_records import MemoryRecords

from processors.batches.records import Fetched, from_records, parse_fetch


class KeptRecords:
    """aiokafka's MemoryRecords, with the bytes it was made from."""

    __slots__ = ("_records", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._records = MemoryRecords(raw)

    def has_next(self) -> bool:
        """As MemoryRecords."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """As MemoryRecords."""
        return self._records.next_batch()

    def size_in_bytes(self) -> int:
        """As MemoryRecords."""
        return int(self._records.size_in_bytes())


def keep_fetched_bytes() -> None:
    """Have aiokafka keep the bytes of what it fetches, in this process; may be called again."""
    aiokafka_fetcher.MemoryRecords = KeptRecords


def take_fetched(fetcher: Fetcher, tp: Any) -> Fetched | None:
    """Take all that the fetcher holds of a partition, None where it holds nothing for its present position.

    Runs in the fetcher's thread. Moves aiokafka's own position behind what was taken, as `getmany` would.

    Raises:
        KafkaError: what the fetch answered instead of records.
    """
    result = fetcher._records.get(tp)
    if result is None:
        return None
    if not isinstance(result, FetchResult):
        fetcher._records.pop(tp, None)
        fetcher._notify(fetcher._wait_consume_future)
        result.check_raise()
        return None
    if not fetcher._subscriptions.is_assigned(tp):
        fetcher._records.pop(tp, None)
        return None
    taken = None
    if result.check_assignment(tp) and result.has_more():
        taken = _parse(result._partition_records)
        result._partition_records.next_fetch_offset = taken.end
        result._update_position()
        result._partition_records = None
    if not result.has_more():
        fetcher._records.pop(tp, None)
        fetcher._notify(fetcher._wait_consume_future)
    return taken


def _parse(unread: Any) -> Fetched:
    begin = unread.next_fetch_offset
    if unread._isolation_level != READ_COMMITTED:
        try:
            return parse_fetch(unread._records.raw, begin)
        except NotImplementedError:
            pass  # an old message format: aiokafka knows it
    records = list(unread)
    return from_records(records, begin, unread.next_fetch_offset)
