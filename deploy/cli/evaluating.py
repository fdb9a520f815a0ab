"""`evaluate faults`, `evaluate nab` and `quality`: how well faults are found."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.flags import DATABASE, Given, SettingsCommand, with_settings
from deploy.cli.questions import answering, iso, progress_bar, time_us
from deploy.cli.terminal import answers, print_json, say
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from deploy.quality.model import Rules
    from deploy.quality.nab import NabResult
    from deploy.quality.simulated import Measured
    from deploy.quality.stored import StoredQuality

_PANEL = "Judging detection"

JsonOption = Annotated[bool, typer.Option("--json", help="The figures as one JSON object on stdout.")]
WarmUpOption = Annotated[
    str,
    typer.Option(
        "--warm-up",
        metavar="DURATION",
        help="Time after a device's first reading in which neither its faults nor its alarms count.",
    ),
]
SlackOption = Annotated[
    str,
    typer.Option(
        "--slack",
        metavar="DURATION",
        help="How long after a fault's end an alarm may still be about it; of a short fault it is less: as long as "
        "the fault, or 15 readings.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    evaluate = typer.Typer(
        no_args_is_help=True, help="Measure the detector: on simulated faults, or on series with labels."
    )
    evaluate.command("faults", cls=SettingsCommand)(evaluate_faults)
    evaluate.command("nab", cls=SettingsCommand)(evaluate_nab)
    app.add_typer(evaluate, name="evaluate", rich_help_panel=_PANEL)
    app.command("quality", cls=SettingsCommand, rich_help_panel=_PANEL)(quality)


@with_settings()
def evaluate_faults(
    given: Given,
    fleet: Annotated[
        str,
        typer.Option("--fleet", metavar="NAME|FILE", help="A shipped fleet, or a YAML file with one."),
    ] = "evaluation",
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            min=1,
            metavar="N",
            help="Devices, the fleet's groups in proportion; else as it says.",
        ),
    ] = None,
    days: Annotated[float, typer.Option("--days", metavar="D", help="Days of virtual time.")] = 7.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, metavar="S", help="Same seed, same figures; else as the fleet says, or 1."
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", metavar="DURATION", help="Between two readings of a device; else as the fleet says."
        ),
    ] = None,
    warm_up: WarmUpOption = "1d",
    slack: SlackOption = "15m",
    as_json: JsonOption = False,
) -> None:
    """Measure which of a simulated fleet's faults the detector finds, how soon, and how often it alarms for nothing.

    Runs the fleet in virtual time through the processor's own engine, with the processor's settings, without Kafka and
    without files; the same seed gives the same figures. A fault is found if an alarm of its device opens while it
    lasts or within the slack behind it; any other alarm is a false one. The shipped fleet `evaluation` has one reading a
    minute and about one fault a device and day.

    For example:

      sigmawatch evaluate faults

      sigmawatch evaluate faults --devices 40 --days 3 --seed 7 --json

      sigmawatch evaluate faults --set processor.k=5
    """
    if not (days > 0 and math.isfinite(days)):
        raise ConfigError(f"--days {days:g}", "Give a number above zero.")
    rules = _rules(warm_up, slack)
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.quality.simulated import Trial, measure  # noqa: PLC0415

    trial = Trial(
        fleet=fleet,
        devices=devices,
        days=days,
        seed=seed,
        interval=None if interval is None else _seconds("--interval", interval),
        rules=rules,
    )
    settings = given.begin()
    with progress_bar(f"{days:g} days of the fleet {fleet}") as progress:
        measured = measure(trial, settings, codec_of(settings), progress)
    if as_json:
        print_json(_measured_json(measured, trial.rules, days))
    else:
        _show_measured(measured, days)


def _measured_json(measured: "Measured", rules: "Rules", days: float) -> dict[str, Any]:
    from deploy.quality.report import as_json, rules_as_json  # noqa: PLC0415

    return {
        **as_json(measured.quality),
        "settings": {
            "fleet": measured.fleet,
            "devices": measured.devices,
            "days": days,
            "seed": measured.seed,
            "interval_s": measured.interval_s,
            "readings": measured.readings,
            **rules_as_json(rules),
        },
    }


def _show_measured(measured: "Measured", days: float) -> None:
    from deploy.quality.report import table  # noqa: PLC0415

    console = answers()
    console.print(
        f"fleet {measured.fleet}, seed {measured.seed}: {measured.devices:,} devices, {days:g} days, "
        f"{measured.readings:,} readings\n",
        markup=False,
    )
    console.print(table(measured.quality))
    if not measured.quality.device_days:
        say("all of it is warm-up, in which nothing counts: give more --days, or a shorter --warm-up")


@with_settings()
def evaluate_nab(
    given: Given,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of CSV files timestamp,value.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="RESULTS", help="Folder for the scores; it mirrors DIR.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Run labelled series, as those of the Numenta Anomaly Benchmark (NAB), through the detector.

    Each CSV file in DIR or its folders is a series of its own, with a fresh engine. RESULTS gets the same files with a score
    beside each reading: 0 to 1, from 0.5 on it is an alarm. Where DIR has a windows.json ({"folder/series.csv":
    [["FIRST", "LAST"], ...]}), NAB's score is printed for its three profiles, at the threshold that is best over all
    series, as NAB ranks detectors, and at 0.5: 0 is the score of a detector that never alarms, 100 is perfect.

    For example:

      sigmawatch evaluate nab NAB/data --out scores

      sigmawatch evaluate nab NAB/data --out scores --json
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.quality import nab  # noqa: PLC0415

    settings = given.begin()
    with progress_bar(f"the series of {folder}") as progress:
        result = nab.evaluate_nab(folder, out, settings, codec_of(settings), progress)
    if as_json:
        print_json(_nab_json(result, out))
    else:
        _show_nab(result, out)


def _nab_json(result: "NabResult", out: Path) -> dict[str, Any]:
    scores = None
    if result.scores is not None:
        scores = {
            profile: {
                "best": round(score.best, 4),
                "threshold": score.threshold,
                "at_half": round(score.at_half, 4),
            }
            for profile, score in result.scores.items()
        }
    return {
        "scores": scores,
        "series": result.series,
        "readings": result.readings,
        "windows": result.windows,
        "alarms": result.alarms,
        "results": str(out),
    }


def _show_nab(result: "NabResult", out: Path) -> None:
    from rich.table import Table  # noqa: PLC0415

    console = answers()
    if result.scores is not None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("profile")
        for name in ("best threshold", "score", "at 0.5"):
            table.add_column(name, justify="right")
        for profile, score in result.scores.items():
            threshold = "-" if score.threshold is None else f"{score.threshold:.4f}"
            table.add_row(profile, threshold, f"{score.best:.2f}", f"{score.at_half:.2f}")
        console.print(table)
        console.print()
    else:
        say("no windows.json, so there is no score")
    console.print(
        f"{result.series:,} series, {result.readings:,} readings, {result.alarms:,} alarms; scores are in {out}",
        markup=False,
    )


@with_settings(DATABASE)
def quality(
    given: Given,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DURATION", help="The last so long. [dim]\\[default: 24h][/dim]"),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Event time to begin at, as 2026-01-31T12:00:00Z."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Event time to end before; without it, now.")
    ] = None,
    warm_up: WarmUpOption = "1d",
    slack: SlackOption = "15m",
    as_json: JsonOption = False,
) -> None:
    """Compare the anomalies in the database with the faults that the stored readings of simulated devices tell.

    As `sigmawatch evaluate faults`, of what really ran. A silence leaves no reading that could tell its fault, so
    missing_data is no fault here; an anomaly of that kind is right if the readings have that gap.

    For example:

      sigmawatch quality --database postgresql://me:secret@db/plant

      sigmawatch quality --since 7d --json

      sigmawatch quality --from 2026-01-31 --to 2026-02-03 --warm-up 1h
    """
    if since is not None and begin is not None:
        raise ConfigError("both --since and --from say where to begin", "Give one of them.")
    rules = _rules(warm_up, slack)
    length_us = round(_seconds("--since", "24h" if since is None else since) * 1e6)
    begin_us, end_us = time_us("--from", begin), time_us("--to", end)
    from deploy.clients import connect_database  # noqa: PLC0415

    settings = given.begin()
    with connect_database(settings) as connection:
        found = _ask(connection, begin_us, end_us, length_us, rules)
    if as_json:
        print_json(_stored_json(found))
    else:
        _show_stored(found)


def _ask(
    connection: Any, begin_us: int | None, end_us: int | None, length_us: int, rules: "Rules"
) -> "StoredQuality":
    from deploy.quality.stored import stored_quality  # noqa: PLC0415
    from sinks.timescale.quality import now_us  # noqa: PLC0415

    with answering():
        until = now_us(connection) if end_us is None else end_us
        since = until - length_us if begin_us is None else begin_us
        if since >= until:
            raise ConfigError(f"{iso(since)} is not before {iso(until)}", "Give a --from before --to.")
        return stored_quality(connection, since, until, rules)


def _stored_json(found: "StoredQuality") -> dict[str, Any]:
    from deploy.quality.report import as_json, rules_as_json  # noqa: PLC0415

    return {
        **as_json(found.quality),
        "settings": {
            "from": iso(found.begin_us),
            "to": iso(found.end_us),
            "devices": found.devices,
            "warming_devices": found.warming,
            "readings": found.readings,
            **rules_as_json(found.rules),
        },
    }


def _show_stored(found: "StoredQuality") -> None:
    from deploy.quality.report import table  # noqa: PLC0415

    console = answers()
    console.print(
        f"{iso(found.begin_us)} to {iso(found.end_us)}: {found.devices:,} devices, {found.readings:,} readings\n",
        markup=False,
    )
    console.print(table(found.quality))
    if found.warming:
        say(
            f"{found.warming:,} of {found.devices:,} devices are in their warm-up, in which nothing counts "
            "(--warm-up makes it shorter)"
        )


def _rules(warm_up: str, slack: str) -> "Rules":
    from deploy.quality.model import Rules  # noqa: PLC0415

    return Rules(
        slack_us=round(_seconds("--slack", slack, zero=True) * 1e6),
        warmup_us=round(_seconds("--warm-up", warm_up, zero=True) * 1e6),
    )


def _seconds(flag: str, text: str, *, zero: bool = False) -> float:
    from schemas.durations import parse_duration  # noqa: PLC0415

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text}: {error}") from error
    if not (seconds > 0 or zero):
        raise ConfigError(f"{flag} {text}", "Give a time above zero, as in 30, 90s, 10m.")
    return seconds
