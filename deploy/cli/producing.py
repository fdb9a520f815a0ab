"""`replay` and `record`: files onto Kafka, and topics into files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.flags import BROKER, REGISTRY, Given, SettingsCommand, option_parameter, with_settings
from deploy.cli.terminal import messages, print_json, say, stop_event
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from producers.options import ReplayOptions
    from schemas.kafka import Publisher
    from schemas.settings import Settings

_FILE_PANEL = "The file"
_PACE_PANEL = "Times and pace"

FILE_OPTIONS = [
    option_parameter("format", str | None, "--format", metavar="FORMAT", rich_help_panel=_FILE_PANEL),
    option_parameter("device", str | None, "--device", metavar="COLUMN", rich_help_panel=_FILE_PANEL),
    option_parameter("metric", str | None, "--metric", metavar="COLUMN", rich_help_panel=_FILE_PANEL),
    option_parameter("time", str | None, "--time", metavar="COLUMN", rich_help_panel=_FILE_PANEL),
    option_parameter("value", list[str] | None, "--value", metavar="COLUMN", rich_help_panel=_FILE_PANEL),
    option_parameter("fault", str | None, "--fault", metavar="COLUMN", rich_help_panel=_FILE_PANEL),
    option_parameter("wide", bool, "--wide", default=False, rich_help_panel=_FILE_PANEL),
    option_parameter("delimiter", str | None, "--delimiter", metavar="CHAR", rich_help_panel=_FILE_PANEL),
    option_parameter("decimal", str | None, "--decimal", metavar="CHAR", rich_help_panel=_FILE_PANEL),
    option_parameter("no_header", bool, "--no-header", default=False, rich_help_panel=_FILE_PANEL),
    option_parameter("on_error", str | None, "--on-error", metavar="stop|skip", rich_help_panel=_FILE_PANEL),
    option_parameter(
        "time_format", str | None, "--time-format", metavar="FORMAT", rich_help_panel=_PACE_PANEL
    ),
    option_parameter("timezone", str | None, "--timezone", metavar="ZONE", rich_help_panel=_PACE_PANEL),
    option_parameter("shift_to_now", bool, "--shift-to-now", default=False, rich_help_panel=_PACE_PANEL),
]
"""Replay's options but for its speed and its topic, which `up` has in its own way."""

REPLAY_SPEED = option_parameter("speed", str | None, "--speed", metavar="SPEED", rich_help_panel=_PACE_PANEL)
TOPIC_OPTION = option_parameter("topic", str | None, "--topic", metavar="TOPIC", rich_help_panel=_FILE_PANEL)

JsonOption = Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")]
ReportOption = Annotated[Path | None, typer.Option("--report", metavar="FILE", hidden=True)]

_CHOICES = {"format": ("csv", "jsonl", "avro"), "decimal": (".", ","), "on_error": ("stop", "skip")}


def replay_options(given: dict[str, Any]) -> "ReplayOptions":
    """The options of a replay, as given on the command line.

    Raises:
        ConfigError: a choice that there is not, or no speed.
    """
    from producers.clock import parse_speed  # noqa: PLC0415
    from producers.options import ReplayOptions  # noqa: PLC0415

    options = dict(given)
    for name, choices in _CHOICES.items():
        if name in options and options[name] not in choices:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} {options[name]}", f"Give one of: {'  '.join(choices)}.")
    if "speed" in options:
        options["speed"] = parse_speed(options["speed"])
    if "value" in options:
        options["value"] = tuple(options["value"])
    return ReplayOptions(**options)


def add_commands(app: typer.Typer) -> None:
    """Put the two commands into the command line."""
    app.command("replay", cls=SettingsCommand, rich_help_panel="Producers")(replay)
    app.command("record", cls=SettingsCommand, rich_help_panel="Producers")(record)


@with_settings(BROKER, REGISTRY, options=[*FILE_OPTIONS, REPLAY_SPEED, TOPIC_OPTION])
def replay(
    given: Given,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, Avro, or a recorded topic.")],
    as_json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Publish a file as readings, or bring a recorded topic back.

    Reads CSV, JSON lines and Avro container files, packed with gzip or not; what its columns mean is guessed from
    their names and said. A column is a name of the header line, or =TEXT for the same in all rows. A file
    made by `sigmawatch record` comes back exactly: key, value, headers, partition and time of each message. A bad row
    is named with line, column and reason.

    For example:

      sigmawatch replay temperatures.csv --device =boiler-7 --metric =temperature

      sigmawatch replay plant.csv --wide --time Zeit --timezone Europe/Berlin --decimal ,

      sigmawatch replay history.jsonl --shift-to-now --speed 60
    """
    from producers.clock import SystemClock  # noqa: PLC0415
    from producers.replay.readings import replay_readings  # noqa: PLC0415
    from producers.replay.recorded import is_recorded_topic, replay_recording  # noqa: PLC0415
    from producers.simulation.schedule import time_bounds  # noqa: PLC0415

    options = replay_options(dict(given.options))
    settings = given.begin()
    recorded = is_recorded_topic(file)
    if recorded and (surplus := sorted(set(given.options) - {"speed", "topic"})):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in surplus)
        raise ConfigError(f"{file} is a recorded topic, for which {flags} means nothing", "Leave it out.")
    console = messages()
    with _publisher(settings) as publisher, _reporting(report, publisher), stop_event() as stop:
        if recorded:
            from deploy.clients import partition_counter  # noqa: PLC0415

            counter = partition_counter(settings)
            summary = replay_recording(
                file, publisher, counter, topic=options.topic, speed=options.speed, stop=stop, console=console
            )
        else:
            summary = replay_readings(
                file,
                options,
                publisher,
                _codec(settings),
                SystemClock(),
                topic=options.topic or settings.topics.readings,
                bounds=time_bounds(settings),
                stop=stop,
                console=console,
            )
    _tell_replay(summary, file, recorded=recorded, as_json=as_json)
    if not as_json and report is None:
        _tell_window(file, options, settings)


def _tell_window(file: Path, options: "ReplayOptions", settings: "Settings") -> None:
    """Say which window suits a file whose readings are too far apart for the processor's."""
    from deploy.cli.guessing import interval_of_file  # noqa: PLC0415
    from deploy.stack.plan import window_overrides  # noqa: PLC0415
    from schemas.durations import format_duration  # noqa: PLC0415

    processor = settings.processor
    interval = interval_of_file(file, options, settings)
    if interval is not None and processor.window < interval * processor.minimum_readings:
        guess = window_overrides(interval, processor.panes)["processor.window"]
        say(
            f"  a reading of a series comes every {format_duration(interval)}: a processor with the window "
            f"{format_duration(processor.window)} would never judge it, `sigmawatch process --window {guess}` does"
        )


def _tell_replay(summary: Any, file: Path, *, recorded: bool, as_json: bool) -> None:
    if as_json:
        print_json(_plain(summary))
        return
    for note in summary.notes:
        say(f"  {note}")
    for text in summary.first_errors:
        say(f"  skipped: {text}")
    skipped = f", {summary.skipped:,} bad rows skipped" if summary.skipped else ""
    stopped = " (stopped early)" if summary.stopped else ""
    what = "messages" if recorded else "readings"
    say(f"{file}: {summary.produced:,} {what} acknowledged in {summary.seconds:.1f} s{skipped}{stopped}")


@with_settings(
    BROKER,
    options=[
        option_parameter("start", str | None, "--from", metavar="WHERE"),
        option_parameter("follow", bool, "--follow", default=False),
        option_parameter("max_messages", int | None, "--max", metavar="N"),
        option_parameter("overwrite", bool, "--overwrite", default=False),
        option_parameter("idle_timeout", float | None, "--idle-timeout", metavar="SECONDS"),
    ],
)
def record(
    given: Given,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Topic to record.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Avro file to write.")],
    as_json: JsonOption = False,
) -> None:
    """Record a topic into a file, every message with its key, value, headers, partition and time.

    Without --follow up to the end that the topic has now. `sigmawatch replay FILE` brings the messages back exactly.

    For example:

      sigmawatch record readings today.avro --from 2026-01-31T00:00:00Z

      sigmawatch record anomalies all.avro --follow
    """
    from producers.options import RecordOptions  # noqa: PLC0415
    from producers.record import record_topic  # noqa: PLC0415
    from schemas.kafka import client_config  # noqa: PLC0415

    settings = given.begin()
    with stop_event() as stop:
        summary = record_topic(
            client_config(settings.kafka),
            topic,
            file,
            RecordOptions(**given.options),
            stop=stop,
            console=messages(),
        )
    if as_json:
        print_json(_plain(summary))
    else:
        say(f"{file}: {summary.messages:,} messages, {summary.bytes:,} bytes, in {summary.seconds:.1f} s")


def _codec(settings: "Settings") -> Any:
    from deploy.clients import codec_of  # noqa: PLC0415

    return codec_of(settings)


def _publisher(settings: "Settings") -> "Publisher":
    from schemas.kafka import Publisher, client_config  # noqa: PLC0415

    return Publisher(client_config(settings.kafka))


def _reporting(report: Path | None, publisher: "Publisher") -> Any:
    from deploy.stack.deliveries import reporting  # noqa: PLC0415

    return reporting(report, publisher)


def _plain(summary: Any) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    return asdict(summary)
