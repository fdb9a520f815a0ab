"""`export`: readings or anomalies out of the database into a file, for others' models or for `replay`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer

from deploy.cli.exits import INTERRUPTED, Finished
from deploy.cli.flags import DATABASE, Given, SettingsCommand, with_settings
from deploy.cli.questions import answering, moment, moment_or_ago
from deploy.cli.terminal import messages, print_json, say, stop_event
from schemas.errors import ConfigError

if TYPE_CHECKING:
    import psycopg

    from producers.outputs.targets import Target
    from schemas.settings import Settings
    from sinks.export.exporting import Export

_SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_STDOUT = Path("-")


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("export", cls=SettingsCommand, rich_help_panel="For people")(export)


@with_settings(DATABASE)
def export(
    given: Given,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Its name says the format, as readings.csv.gz; - is standard output."
        ),
    ],
    anomalies: Annotated[bool, typer.Option("--anomalies", help="Anomalies instead of readings.")] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="With each reading the anomaly it belongs to: its id and kind.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From this time on, or since so long ago, as 2h."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", metavar="ID", help="Of this device; may be repeated.")
    ] = None,
    device_type: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Of devices of this type; may be repeated."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Of this metric; may be repeated.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="csv, jsonl or parquet, where the name does not say it."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The summary as one JSON object on stdout.")
    ] = False,
) -> None:
    """Write readings with their ground truth, or anomalies, to a file: CSV, JSON lines or Parquet.

    Sorted by device, metric and time; values exact, times in UTC with microseconds. The column `fault` is the fault
    that a simulated device had: labels to train with. Of a name that ends in .gz or .zst the file is packed; Parquet
    packs by itself. A file has its name only when it is complete. It takes little memory, whatever its size.
    CSV and JSON lines come back by `sigmawatch replay`.

    For example:

      sigmawatch export training.parquet --type oven --since 2026-03-01T00:00:00Z --labels

      sigmawatch export - --format jsonl --device boiler-7 --since 2h | jq .value

      sigmawatch export anomalies.csv --anomalies
    """
    settings = given.begin()
    wanted = _wanted(
        file,
        form,
        anomalies=anomalies,
        labels=labels,
        since=since,
        until=until,
        of=(device, device_type, metric),
    )
    if file == _STDOUT and as_json:
        raise ConfigError(
            "--json and - would both write to standard output", "Give a file, or leave --json out."
        )
    with _reader(settings) as connection, answering():
        rows = _write(connection, wanted, file, overwrite=overwrite)
    size = file.stat().st_size if file != _STDOUT and file.is_file() else None
    if as_json:
        print_json({"file": str(file), "rows": rows, "bytes": size})
    elif file != _STDOUT:
        say(f"{rows:,} {wanted.what} in {file}")


def _reader(settings: "Settings") -> "psycopg.Connection":
    from pydantic import SecretStr  # noqa: PLC0415

    from deploy.clients import database_url, reaching  # noqa: PLC0415
    from sinks.queries.connection import reader  # noqa: PLC0415

    url = database_url(settings)
    with reaching(url):
        return reader(
            SecretStr(url),
            name="sigmawatch-export",
            timeout_seconds=0,
            connect_timeout=max(1, round(settings.database.connect_timeout)),
        )


def _wanted(
    file: Path,
    form: str | None,
    *,
    anomalies: bool,
    labels: bool,
    since: str | None,
    until: str | None,
    of: tuple[list[str] | None, list[str] | None, list[str] | None],
) -> "Export":
    from sinks.export.exporting import Export, Format, What  # noqa: PLC0415
    from sinks.queries.selection import Selection  # noqa: PLC0415

    if anomalies and labels:
        raise ConfigError("--labels is for readings", "Leave it out with --anomalies.")
    devices, types, metrics = (tuple(one or ()) for one in of)
    selection = Selection(
        devices=devices,
        types=types,
        metrics=metrics,
        begin=moment_or_ago("--since", since, datetime.now(UTC)),
        end=moment("--until", until),
    )
    chosen = Format(_format(file, form))
    if chosen is Format.PARQUET and _packing(file):
        raise ConfigError(f"{file}: Parquet packs by itself", f"Call it {file.with_suffix('')}.")
    if chosen is Format.PARQUET and file == _STDOUT and sys.stdout.isatty():
        raise ConfigError("Parquet is nothing for a terminal", "Give a file, or a pipe.")
    return Export(selection, What.ANOMALIES if anomalies else What.READINGS, chosen, labels)


def _format(file: Path, form: str | None) -> str:
    if form is not None:
        if form not in ("csv", "jsonl", "parquet"):
            raise ConfigError(f"--format {form}", "Give csv, jsonl or parquet.")
        return form
    if file == _STDOUT:
        return "csv"
    suffix = Path(file.name.lower().removesuffix(".gz").removesuffix(".zst")).suffix
    if suffix not in _SUFFIXES:
        raise ConfigError(f"{file}: its name does not say the format", "Give --format csv, jsonl or parquet.")
    return _SUFFIXES[suffix]


def _packing(file: Path) -> str | None:
    suffix = file.suffix.lower()
    return {".gz": "gzip", ".zst": "zstd"}.get(suffix)


def _write(connection: "psycopg.Connection", wanted: "Export", file: Path, *, overwrite: bool) -> int:
    """Write the file, or nothing; gives the rows."""
    from producers.outputs.targets import FileTarget, StandardOutput  # noqa: PLC0415
    from producers.progress import progress_bar  # noqa: PLC0415
    from sinks.export.exporting import about, write_export  # noqa: PLC0415

    console = messages()
    total = about(connection, wanted) if console.is_terminal else None
    packing = _packing(file)
    target: Target = (
        StandardOutput()
        if file == _STDOUT
        else FileTarget(file, packed=packing == "gzip", overwrite=overwrite)
    )
    finished = False
    try:
        with stop_event() as stop:
            with (
                _packed(target, packing) as stream,
                progress_bar(console, f"export {wanted.what}", total) as bar,
            ):
                rows = write_export(connection, wanted, stream, bar, stop.is_set)
            if stop.is_set():
                say("stopped before the end" + ("" if file == _STDOUT else "; no file is left"))
                raise Finished(INTERRUPTED)
        target.finish()
        finished = True
    finally:
        if not finished:
            target.abandon(keep=False)
    return rows


class _Stream:
    """A target as a binary file that is only written, as pyarrow wants one; closing it ends nothing."""

    closed = False
    mode = "wb"

    def __init__(self, target: "Target") -> None:
        self._target = target
        self._at = 0

    def write(self, data: bytes) -> int:
        size = len(data)
        self._target.write(data)
        self._at += size
        return size

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        self._target.flush()

    def close(self) -> None:
        """Nothing: the target is finished by who made it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@contextmanager
def _packed(target: "Target", packing: str | None) -> Iterator[IO[bytes]]:
    plain = cast("IO[bytes]", _Stream(target))
    if packing != "zstd":
        yield plain
        return
    import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - as large as it is

    if not pa.Codec.is_available("zstd"):
        raise ConfigError("this pyarrow packs no .zst", "Write .gz, or nothing behind the name.")
    with pa.CompressedOutputStream(plain, "zstd") as stream:
        yield stream
