"""A partition at work: its engine, how far it has come in the log, and what its next checkpoint writes."""

from dataclasses import dataclass

from processors.changelog import ChangelogKey, Holdings, Marker, marker_key, new_writer, parse_key, state_key
from processors.detection.renewal import News
from processors.engine.batch import ReadingBatch
from processors.engine.book import ProfileBook
from processors.engine.partition import Applied, PartitionEngine, SeriesView
from processors.engine.record import pack, unpack


@dataclass(frozen=True, slots=True)
class CheckpointWrites:
    """The changelog records of one checkpoint, in the order in which they must be acknowledged."""

    writer: str
    """Whose keys they have."""
    obsolete: list[bytes]
    """Keys to delete, superseded by the previous checkpoint."""
    states: list[tuple[bytes, bytes]]
    closing: Marker
    """What the marker behind them says."""
    next_offset: int
    """The offset to commit behind the marker."""

    @property
    def marker(self) -> tuple[bytes, bytes]:
        """The marker's record."""
        return marker_key(self.writer), self.closing.pack()


class Partition:
    """State of one partition of the readings while this worker owns it; does no I/O.

    Life: `restored` for each changelog record, `begin` when an epoch starts, then `apply` and
    `checkpoint`/`checkpointed` in turn.
    """

    def __init__(self, book: ProfileBook) -> None:
        self.engine = PartitionEngine(book)
        self.next_offset = 0
        """Offset behind the last batch applied in this epoch."""
        self.committed_offset = 0
        self.committed_target: int | None = None
        """What the group had committed when the epoch began: the state must reach it."""
        self.dead_letters = 0
        self._counted_to = 0
        self._marker: Marker | None = None
        self._holdings = Holdings()
        self._obsolete: list[bytes] = []
        self._writer = new_writer()

    def restored(self, key: bytes, value: bytes | None) -> None:
        """Take over one changelog record, in the log's order: a deletion follows what it deletes.

        Raises:
            SigmawatchError: a record that this version cannot read.
        """
        parsed = parse_key(key)
        self._holdings.seen(parsed, deleted=value is None)
        if value is None:
            return
        if parsed.name is not None:
            self.engine.restore(parsed.name, *unpack(value))
            return
        marker = Marker.unpack(value)
        if self._marker is None or marker.next_offset > self._marker.next_offset:
            self._marker = marker
            self.engine.clock = marker.clock
            self.engine.storms.load(marker.storms)
        if marker.next_offset > self._counted_to:
            self._counted_to, self.dead_letters = marker.next_offset, marker.dead_letters

    def begin(self, start: int, committed: int | None) -> None:
        """A new epoch begins at `start`; whatever was applied behind it comes again and changes nothing."""
        self.next_offset = self.committed_offset = start
        self.committed_target = committed
        self._writer = new_writer()

    @property
    def is_whole(self) -> bool:
        """Whether the restored state reaches the committed offset."""
        if self.committed_target is None:
            return True
        return self.reached >= self.committed_target

    @property
    def reached(self) -> int:
        """Offset up to which the changelog has the state, by its highest marker; 0 where it has none."""
        return self._marker.next_offset if self._marker is not None else 0

    def apply(self, batch: ReadingBatch, end: int) -> Applied:
        """Apply a batch that begins at `next_offset` and ends before `end`."""
        applied = self.engine.apply(batch)
        self.dead_letters += sum(int(batch.offsets[bad.row]) >= self._counted_to for bad in applied.rejected)
        self._counted_to = max(self._counted_to, end)
        self.next_offset = end
        return applied

    def judge_by(self, news: News) -> None:
        """Judge the next readings by what came into force; the state must be a checkpoint's."""
        self.engine.use(news.book, news.devices)

    @property
    def has_news(self) -> bool:
        """Whether a checkpoint would move anything."""
        return self.next_offset > self.committed_offset

    def checkpoint(self) -> CheckpointWrites:
        """What to write for all that was applied so far."""
        numbers = self.engine.changed()
        names = self.engine.index.names
        keys = [state_key(self._writer, names[number]) for number in numbers]
        for number in numbers:
            self._holdings.seen(ChangelogKey(self._writer, names[number]), deleted=False)
        faults = {int(number): self.engine.faults_of(int(number)) for number in numbers}
        records = pack(self.engine.states, numbers, faults)
        # Where the epoch began below what an earlier owner's checkpoint closed, states and count reach further.
        marker = Marker(self._counted_to, self.dead_letters, self.engine.clock, self.engine.storms.dump())
        return CheckpointWrites(
            self._writer,
            self._obsolete,
            list(zip(keys, records, strict=True)),
            marker,
            self.next_offset,
        )

    def closed(self, writes: CheckpointWrites) -> None:
        """The checkpoint's marker is acknowledged: what it supersedes may be deleted with the next one.

        No batch may have been applied since `checkpoint`. Where another epoch has begun since, its writer has written
        nothing yet: then nothing is superseded.
        """
        if writes.writer != self._writer:
            return
        names = [self.engine.index.names[number] for number in self.engine.changed()]
        self._obsolete = self._holdings.supersede(self._writer, names)
        self.engine.clear_changed()
        self._marker = writes.closing

    def committed(self, writes: CheckpointWrites) -> None:
        """The broker took the commit."""
        if writes.writer == self._writer:
            self.committed_offset = writes.next_offset

    def views(self, device_id: str) -> list[SeriesView]:
        """The series of a device, for people."""
        named = (name for name in self.engine.index.names if name.device_id == device_id)
        return [view for name in named if (view := self.engine.view(name)) is not None]
