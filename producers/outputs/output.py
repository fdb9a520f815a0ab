"""`open_output`: readings to a file (JSON lines, CSV or Avro) or to standard output.

Each form is one that `sigmawatch replay FILE` reads back to the same readings without any options: device id,
metric, time to the microsecond, value to the bit, fault; in the same order.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from producers.batches import ReadingBatch, SeriesTable
from producers.outputs.avro_blocks import AvroBlocks
from producers.outputs.devices import DeviceFile
from producers.outputs.lines import CSV, JSONL, Lines
from producers.outputs.targets import Buffer, FileTarget, StandardOutput, Target
from producers.publish import PartitionCounts
from schemas.errors import ConfigError, SigmawatchError
from schemas.readings import Device

Format = Literal["jsonl", "csv", "avro"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "avro")
STANDARD_OUTPUT = "-"

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".avro": "avro",
}


class ReadingOutput(Protocol):
    """Takes readings. A context manager: left by an exception, a file stays unfinished and the exception gets a note.

    Every method may block on the disk or the reader, and raise:
        ConfigError: a device id, metric or fault would not read back as it is.
        InputError: a value is not finite, or the operating system refuses (the disk is full).
        OutputClosedError: standard output was closed by who reads it.
    """

    @property
    def acknowledged(self) -> int:
        """Readings that were taken; they are with the operating system once it is flushed."""

    @property
    def by_partition(self) -> PartitionCounts:
        """Nothing: files have no partitions."""

    def announce(self, devices: Sequence[Device], now_us: int = 0) -> None:
        """Take device records; more may come later, of each id the last one counts."""

    def publish(self, batch: ReadingBatch, now_us: int) -> None:
        """Take a batch, in its order; `now_us`, the time of producing, stands in no file."""

    def flush(self) -> None:
        """Hand all to the operating system."""

    def close(self) -> None:
        """End the output well: a file gets its name. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Form(Protocol):
    """Readings as bytes."""

    def head(self) -> bytes: ...

    def rows(self, batch: ReadingBatch) -> Iterable[Buffer]: ...

    def rest(self) -> Iterable[Buffer]: ...


_FORMS: dict[str, Callable[[SeriesTable], _Form]] = {
    "jsonl": lambda table: Lines(table, JSONL),
    "csv": lambda table: Lines(table, CSV),
    "avro": AvroBlocks,
}


def open_output(
    path: Path | str,
    table: SeriesTable,
    *,
    format: Format | None = None,  # noqa: A002 - as the option
    overwrite: bool = False,
) -> ReadingOutput:
    """Begin an output.

    A file is `path` with `.part` behind until it is closed; `.gz` at the end of its name packs it. Device
    records go beside it, to `<path>.devices.jsonl`, see `read_devices`; standard output has none.

    Args:
        path: A file, or `-` for standard output.
        table: Names of the series and faults that the batches number; it may grow.
        format: jsonl, csv or avro; without it the file's suffix decides, and standard output is JSON lines.
        overwrite: Replace the file if it exists.

    Raises:
        ConfigError: the format is not clear or does not go with the file, or the file exists.
        InputError: the file cannot be written.
    """
    if str(path) == STANDARD_OUTPUT:
        if format == "avro":
            raise ConfigError(
                "Avro files do not go to standard output", "Give a file, or --format jsonl or csv."
            )
        return _Output(_form(format or "jsonl", table), StandardOutput(), None)
    path = Path(path)
    chosen = format or format_of(path)
    form = _form(chosen, table)
    packed = path.suffix.lower() == ".gz"
    if packed and chosen == "avro":
        raise ConfigError(f"{path}: Avro files are packed inside", "Leave .gz out.")
    target = FileTarget(path, packed=packed, overwrite=overwrite)
    try:
        beside = DeviceFile(path, overwrite=overwrite) if target.regular else None
    except BaseException:
        target.abandon(keep=False)
        raise
    return _Output(form, target, beside)


def format_of(path: Path) -> Format:
    """The format that a file's suffix says.

    Raises:
        ConfigError: it says none.
    """
    name = path.name.lower().removesuffix(".gz")
    found = _SUFFIXES.get(Path(name).suffix)
    if found is None:
        raise ConfigError(
            f"{path}: the format is not clear from its name",
            f"Let it end in {', '.join(_SUFFIXES)}, or give --format {', '.join(FORMATS)}.",
        )
    return found


def _form(name: str, table: SeriesTable) -> _Form:
    if name not in _FORMS:
        raise ConfigError(f"format {name!r}", f"Give {', '.join(FORMATS)}.")
    return _FORMS[name](table)


class _Output:
    """A `ReadingOutput` of a form, a target, and device records beside it."""

    def __init__(self, form: _Form, target: Target, devices: DeviceFile | None) -> None:
        self._form = form
        self._target = target
        self._devices = devices
        self._closed = False
        self.acknowledged = 0
        try:
            target.write(form.head())
        except BaseException as error:
            self._abandon(error)
            raise

    @property
    def by_partition(self) -> PartitionCounts:
        return {}

    def announce(self, devices: Sequence[Device], now_us: int = 0) -> None:
        del now_us
        if self._devices is not None:
            self._devices.write(devices)

    def publish(self, batch: ReadingBatch, now_us: int) -> None:
        del now_us
        self._write(self._form.rows(batch))
        self.acknowledged += len(batch)

    def flush(self) -> None:
        self._write(self._form.rest())
        self._target.flush()
        if self._devices is not None:
            self._devices.flush()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._write(self._form.rest())
            if self._devices is not None:
                self._devices.finish()
            self._target.finish()
        except BaseException as error:
            self._abandon(error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        """Let go of everything; the error says what is left."""
        self._closed = True
        with suppress(SigmawatchError):
            self._write(self._form.rest())
        if self._devices is not None:
            self._devices.abandon()
        left = self._target.abandon(keep=self.acknowledged > 0)
        if left and isinstance(error, SigmawatchError):
            error.remedy = f"{error.remedy} {left}".strip()
        elif left:
            error.add_note(left)

    def _write(self, pieces: Iterable[Buffer]) -> None:
        for piece in pieces:
            self._target.write(piece)
