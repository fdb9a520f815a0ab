"""`simulate`, `scenarios`: a fleet of devices that is not there."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from deploy.cli.flags import BROKER, REGISTRY, Flag, Given, SettingsCommand, option_parameter, with_settings
from deploy.cli.producing import JsonOption, ReportOption
from deploy.cli.terminal import answers, messages, print_json, say, stop_event
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from producers.options import SimulateOptions
    from producers.simulation.simulator import SimulateProgress, SimulateSummary
    from schemas.settings import Settings

_FLEET, _TIME, _OUTPUT, _CONTROL = "The fleet", "Times and pace", "Where to", "Control and state"

SIMULATE_FLAGS = (
    Flag("--fleet", "simulate.fleet", "NAME|FILE", panel=_FLEET),
    Flag("--devices", "simulate.devices", "N", panel=_FLEET),
    Flag("--seed", "simulate.seed", "N", panel=_FLEET),
    Flag("--anomaly-rate", "simulate.anomaly_rate", "SHARE", panel=_FLEET),
    Flag("--interval", "simulate.interval", "DURATION", panel=_TIME),
    Flag("--rate", "simulate.rate", "N", panel=_TIME),
)
"""What `up` has as well."""

SPEED_FLAG = Flag("--speed", "simulate.speed", "SPEED", panel=_TIME)
DURATION_FLAG = Flag("--duration", "simulate.duration", "DURATION", panel=_TIME)
_SHARD_FLAG = Flag("--shard", "simulate.shard", "I/N", panel=_CONTROL)
_PORT_FLAG = Flag("--control-port", "control.port", "PORT", panel=_CONTROL)
_MQTT_FLAGS = (
    Flag("--mqtt", "mqtt.url", "URL", panel=_OUTPUT),
    Flag("--mqtt-prefix", "mqtt.prefix", "PREFIX", panel=_OUTPUT),
)

_OPTIONS = [
    option_parameter("scenario", str | None, "--scenario", metavar="NAME|FILE", rich_help_panel=_FLEET),
    option_parameter("demo", bool, "--demo", default=False, rich_help_panel=_FLEET),
    option_parameter("identity", Path | None, "--identity", metavar="FILE", rich_help_panel=_FLEET),
    option_parameter("normal_range", tuple[float, float] | None, "--normal-range", metavar="LOW HIGH", rich_help_panel=_FLEET),
    option_parameter("start", str | None, "--start", metavar="TIME", rich_help_panel=_TIME),
    option_parameter("troubles", list[str] | None, "--trouble", metavar="NAME[=SHARE]", rich_help_panel=_OUTPUT),
    option_parameter("to", str | None, "--to", metavar="FILE", rich_help_panel=_OUTPUT),
    option_parameter("format", str | None, "--format", metavar="FORMAT", rich_help_panel=_OUTPUT),
    option_parameter("overwrite", bool, "--overwrite", default=False, rich_help_panel=_OUTPUT),
    option_parameter("resume", bool, "--resume", default=False, rich_help_panel=_CONTROL),
    option_parameter("state", Path | None, "--state", metavar="FILE", rich_help_panel=_CONTROL),
]  # fmt: skip

DaysOption = Annotated[
    float | None,
    typer.Option(
        "--days", metavar="N", rich_help_panel=_TIME,
        help="Days of history in one go, ending now: --duration of so many days, and --speed max.",
    ),
]  # fmt: skip
ControlOption = Annotated[
    bool,
    typer.Option(
        "--control", rich_help_panel=_CONTROL,
        help="Serve the control API: devices, faults, start and stop, on port 8090 of loopback (docs/control.md).",
    ),
]  # fmt: skip
GenerateOption = Annotated[
    bool,
    typer.Option(
        "--generate-identity", rich_help_panel=_FLEET,
        help="Print an identity file to begin with, and do nothing else.",
    ),
]  # fmt: skip

_FORMATS = ("jsonl", "csv", "avro")


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.command("simulate", cls=SettingsCommand, rich_help_panel="Producers")(simulate)
    app.command("scenarios", cls=SettingsCommand, rich_help_panel="Producers")(scenarios)
    app.command("fleets", cls=SettingsCommand, rich_help_panel="Producers")(fleets)


@with_settings(
    *SIMULATE_FLAGS,
    SPEED_FLAG,
    DURATION_FLAG,
    _SHARD_FLAG,
    _PORT_FLAG,
    *_MQTT_FLAGS,
    BROKER,
    REGISTRY,
    options=_OPTIONS,
)
def simulate(
    given: Given,
    days: DaysOption = None,
    control: ControlOption = False,
    generate_identity: GenerateOption = False,
    as_json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Simulate a fleet of devices: their readings, their faults, and the troubles of their network.

    Energy meters, industrial and environmental sensors, test signals, or types of your own; each reading that a fault
    changed says so in its field fault, the ground truth for what the processor finds. The same seed gives the same
    readings to the bit, however fast it runs. Every reading is acknowledged before the command ends. --config takes a
    config.yaml of sensor-log-generator as it is, too.

    For example:

      sigmawatch simulate --fleet energy --control       the five devices of iot-mock-service, with their API

      sigmawatch simulate --days 7 --interval 5m --devices 6

      sigmawatch simulate --scenario three_incidents --speed max --to incidents.csv

      sigmawatch simulate --devices 1000 --rate 5000 --trouble late --trouble malformed=0.1%

      sigmawatch simulate --fleet energy --mqtt mqtt://localhost       as iot-mock-service does, commands and all
    """
    from producers.simulation.running import run_simulate  # noqa: PLC0415

    if generate_identity:
        from producers.legacy.identity import identity_template  # noqa: PLC0415

        template = identity_template(datetime.now(tz=UTC).date())
        sys.stdout.write(json.dumps(template, indent=2) + "\n")
        return
    settings, options = _decided(given, days=days, control=control)
    with _outlet(settings, options, report) as publisher, stop_event() as stop, _Showing(options) as showing:
        summary = run_simulate(
            settings,
            options,
            stop=stop,
            on_progress=showing.show,
            on_listening=lambda port: say(f"control API: http://{settings.control.host}:{port}/docs"),
            publisher=publisher,
        )
    _tell(summary, options, as_json=as_json)


def _decided(given: Given, *, days: float | None, control: bool) -> "tuple[Settings, SimulateOptions]":
    """Settings and options of what was given on the command line."""
    from dataclasses import replace  # noqa: PLC0415

    from producers.legacy.config import is_legacy_config  # noqa: PLC0415
    from producers.simulation.choosing import options_of  # noqa: PLC0415

    more: dict[str, str | None] = {}
    legacy = given.config if given.config is not None and is_legacy_config(given.config) else None
    if legacy is not None:
        given = replace(given, config=None)
        more |= _legacy_overrides(given, legacy)
    if days is not None:
        if not 0.0 < days <= 36_525.0:
            raise ConfigError(f"--days {days}", "Give a number above 0.")
        more |= {"simulate__duration": f"{days * 86_400.0:.6f}", "simulate__speed": "max"}
    if control:
        more["control__enabled"] = "true"
    settings = given.begin(**more)
    options = replace(
        options_of(settings),
        config=legacy,
        has_token=settings.control.token is not None,
        **_plain_options(given.options),
    )
    if options.to is not None and not options.to.strip():
        raise ConfigError("--to needs the name of a file", "Or - for stdout.")
    if options.resume and options.state is None:
        options = replace(options, state=_state_file(settings, options))
    return settings, options


def _legacy_overrides(given: Given, path: Path) -> dict[str, str | None]:
    """Settings that a config.yaml of sensor-log-generator makes, where no flag says otherwise."""
    from producers.legacy.config import read_config  # noqa: PLC0415
    from producers.legacy.convert import fleet_of  # noqa: PLC0415

    has_token = given.settings().control.token is not None
    _, legacy = fleet_of(read_config(path), has_token=has_token)
    made: dict[str, str | None] = {}
    if legacy.log_level is not None:
        made["log__level"] = legacy.log_level
    if legacy.log_format is not None:
        made["log__format"] = legacy.log_format
    if legacy.control is not None:
        host, port = legacy.control
        made |= {"control__enabled": "true", "control__host": host, "control__port": str(port)}
    return {key: value for key, value in made.items() if key.replace("__", ".") not in given.overrides}


def _plain_options(given: Any) -> dict[str, Any]:
    """Options as `SimulateOptions` has them."""
    from producers.times import TimeParser  # noqa: PLC0415

    options = dict(given)
    if "start" in options:
        try:
            options["start"] = TimeParser().parse(options["start"])
        except ValueError as error:
            raise ConfigError(f"--start: {error}", "Give a time in ISO-8601.") from error
    if "troubles" in options:
        options["troubles"] = tuple(options["troubles"])
    if options.get("format") not in {None, *_FORMATS}:
        raise ConfigError(f"--format {options['format']}", f"Give one of: {'  '.join(_FORMATS)}.")
    return options


def _state_file(settings: "Settings", options: "SimulateOptions") -> Path:
    from deploy.folders import state_folder  # noqa: PLC0415

    source = options.scenario or options.config or options.identity or options.fleet
    shard = options.shard.replace("/", "-of-")
    return state_folder(settings.state_dir) / "simulate" / f"{Path(source).stem}-{shard}.npz"


@contextmanager
def _outlet(settings: "Settings", options: "SimulateOptions", report: Path | None) -> Iterator[Any]:
    """The publisher for Kafka, None where readings go into a file or by MQTT."""
    if options.to is not None or settings.mqtt.url is not None:
        yield None
        return
    from deploy.stack.deliveries import reporting  # noqa: PLC0415
    from schemas.kafka import Publisher, client_config  # noqa: PLC0415

    with Publisher(client_config(settings.kafka)) as publisher, reporting(report, publisher):
        yield publisher


class _Showing:
    """A line or a bar on the terminal while it runs; nothing elsewhere."""

    def __init__(self, options: "SimulateOptions") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        console = messages()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        ends = options.duration is not None
        self._progress = Progress(
            *(columns if ends else columns[:1]), console=console, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("starting", total=options.duration)
        self._first_us: int | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def show(self, progress: "SimulateProgress") -> None:
        """Show where the simulation stands."""
        if self._first_us is None:
            self._first_us = progress.time_us
        behind = f", {progress.behind_s:.0f} s behind" if progress.behind_s > 1 else ""
        self._progress.update(
            self._task,
            description=f"{progress.acknowledged:,} readings, {progress.faults:,} with a fault{behind}",
            completed=(progress.time_us - self._first_us) / 1e6,
        )


def _tell(summary: "SimulateSummary", options: "SimulateOptions", *, as_json: bool) -> None:
    """The summary; not on stdout where the readings are."""
    from dataclasses import asdict  # noqa: PLC0415

    if as_json and options.to != "-":
        print_json(asdict(summary))
        return
    episodes = sum(summary.episodes.values())
    where = "acknowledged" if options.to is None else f"in {options.to}"
    say(
        f"{summary.produced:,} readings of {summary.devices} devices {where} in {summary.seconds:.1f} s, "
        f"{summary.faults:,} of them with a fault ({episodes:,} episodes)"
    )


@with_settings()
def scenarios(_given: Given, as_json: JsonOption = False) -> None:
    """List the scenarios that come with Sigmawatch, for `sigmawatch simulate --scenario NAME`.

    For example:

      sigmawatch scenarios --json
    """
    from dataclasses import asdict  # noqa: PLC0415

    from rich.table import Table  # noqa: PLC0415

    from producers.scenarios.files import list_scenarios  # noqa: PLC0415

    found = list_scenarios()
    if as_json:
        print_json([asdict(scenario) for scenario in found])
        return
    table = Table("Name", "Title", "What happens")
    for scenario in found:
        table.add_row(scenario.name, scenario.title, scenario.description)
    answers().print(table)


@with_settings()
def fleets(_given: Given, as_json: JsonOption = False) -> None:
    """List the fleets that come with Sigmawatch, for `sigmawatch simulate --fleet NAME`.

    For example:

      sigmawatch fleets --json
    """
    from rich.table import Table  # noqa: PLC0415

    from producers.devices.fleets import load_fleet, shipped_fleets  # noqa: PLC0415

    found = [(name, load_fleet(name)) for name in shipped_fleets()]
    if as_json:
        rows = [
            {"name": name, "title": fleet.title, "devices": sum(group.count for group in fleet.groups)}
            for name, fleet in found
        ]
        print_json(rows)
        return
    table = Table("Name", "Title", "Devices", "Types")
    for name, fleet in found:
        types = dict.fromkeys(group.type for group in fleet.groups)
        table.add_row(name, fleet.title, str(sum(group.count for group in fleet.groups)), ", ".join(types))
    answers().print(table)
