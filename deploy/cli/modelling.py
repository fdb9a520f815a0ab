"""`model train`, `model status` and `model show`: models of device types, trained on history."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import DATABASE, Flag, Given, SettingsCommand, with_settings
from deploy.cli.questions import answering, iso, progress_bar, time_us
from deploy.cli.terminal import answers, print_json, say
from schemas.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploy.modelling.training import Outcome
    from processors.models.files import Model
    from processors.models.info import ModelInfo, Scores
    from processors.models.store import Models
    from schemas.settings import Settings

FOLDER = Flag("--folder", "models.folder", "DIR")
_BAR = 40
"""Characters of the longest bar in a histogram."""

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    model = typer.Typer(
        no_args_is_help=True, help="Train models of device types on stored readings, or look at them."
    )
    model.command("train", cls=SettingsCommand)(train)
    model.command("status", cls=SettingsCommand)(status)
    model.command("show", cls=SettingsCommand)(show)
    app.add_typer(model, name="model", rich_help_panel="Judging detection")


@with_settings(DATABASE, FOLDER)
def train(
    given: Given,
    hours: Annotated[float, typer.Option("--hours", metavar="H", help="Hours of history.")] = 168.0,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Event time to end before; without it, now.")
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(
            "--types", metavar="TYPE,...", help="Types of devices; without it, all that are stored."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to instead of --folder.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, metavar="S", help="Same seed and data, same model.")
    ] = 1,
    alarms: Annotated[
        float,
        typer.Option("--alarms", metavar="N", help="Alarms a day that a healthy series may give, about."),
    ] = 0.03,
    as_json: JsonOption = False,
) -> None:
    """Train a model for each type of device and metric, on the readings in the database.

    Readings with a fault as ground truth and stored anomalies are not learnt from. The last fifth of the history is left
    for measuring: faults found and false alarms where there is ground truth, else scores alone. Running processors on
    the same folder use new models from their next checkpoint on. What has too little of a history is passed over;
    exits 1 if no model was made.

    For example:

      sigmawatch model train --database postgresql://me:secret@db/plant

      sigmawatch model train --hours 336 --types oven,heater --json
    """
    if not (0 < hours <= 1e6 and math.isfinite(hours)):
        raise ConfigError(f"--hours {hours:g}", "Give a number above zero.")
    if not (0 < alarms <= 100):
        raise ConfigError(f"--alarms {alarms:g}", "Give a number above zero, up to 100.")
    end_us = time_us("--to", end)
    from deploy.clients import connect_database  # noqa: PLC0415 - not needed for --help
    from deploy.modelling.folder import models_folder  # noqa: PLC0415

    settings = given.begin()
    with connect_database(settings) as connection:
        outcomes = _train(
            connection,
            settings,
            end_us,
            {
                "hours": hours,
                "folder": out or models_folder(settings),
                "types": _names(types),
                "seed": seed,
                "alarms_per_day": alarms,
            },
        )
    if as_json:
        print_json(_outcomes_json(outcomes))
    else:
        _show_outcomes(outcomes)


def _names(types: str | None) -> list[str] | None:
    if types is None:
        return None
    names = [name.strip() for name in types.split(",") if name.strip()]
    if not names:
        raise ConfigError("--types names none", "Write it as --types oven,heater.")
    return names


def _train(
    connection: Any, settings: "Settings", end_us: int | None, options: dict[str, Any]
) -> "list[Outcome]":
    from deploy.modelling.training import Training, train  # noqa: PLC0415
    from sinks.timescale.quality import now_us  # noqa: PLC0415

    with answering():
        now = now_us(connection)
        until = now if end_us is None else end_us
        hours = options.pop("hours")
        training = Training(
            begin_us=until - round(hours * 3.6e9),
            end_us=until,
            now=datetime.fromtimestamp(now // 1_000_000, UTC),
            **options,
        )
        with progress_bar(f"models of {hours:g} hours") as progress:
            return train(connection, training, settings, progress)


def _outcomes_json(outcomes: "Sequence[Outcome]") -> dict[str, Any]:
    return {
        "models": [
            {**_info_json(one.info), "path": str(one.path)} for one in outcomes if one.info is not None
        ],
        "passed_over": [
            {"type": one.key.type, "metric": one.key.metric, "reason": one.reason}
            for one in outcomes
            if one.info is None
        ],
    }


def _info_json(info: "ModelInfo") -> dict[str, Any]:
    said = info.model_dump(mode="json")
    quality = info.quality
    said["quality"] |= {
        "recall": _rounded(quality.recall),
        "precision": _rounded(quality.precision),
        "alarms_per_series_day": _rounded(quality.alarms_per_series_day),
    }
    return said


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _show_outcomes(outcomes: "Sequence[Outcome]") -> None:
    table = _table("type", "metric", right=("series", "found", "precision", "alarms/day"))
    for one in outcomes:
        if one.info is not None:
            info = one.info
            table.add_row(info.type, info.metric, f"{info.series:,}", *_figures(info))
    answers().print(table)
    for one in outcomes:
        if one.info is None:
            say(f"no model for {' '.join(one.key)}: {one.reason}")


def _figures(info: "ModelInfo") -> tuple[str, str, str]:
    """Faults found, precision, and false alarms, else all, a series and day."""
    quality = info.quality
    found = "-" if quality.faults is None else f"{quality.detected:,} of {quality.faults:,}"
    rate = quality.alarms_per_series_day
    return found, _percent(quality.precision), "-" if rate is None else f"{rate:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _table(*left: str, right: "Sequence[str]" = ()) -> Any:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


@with_settings(FOLDER)
def status(given: Given, as_json: JsonOption = False) -> None:
    """Say which models there are, how old and how good, and whether this software can use them; exits 1 if not all.

    For example:

      sigmawatch model status --folder /var/lib/sigmawatch/models
    """
    folder, models = _models(given)
    now = datetime.now(UTC)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "models": [
                    {**_info_json(model.info), "age_s": round((now - model.info.trained_at).total_seconds())}
                    for model in models.usable.values()
                ],
                "refused": {str(path): reason for path, reason in models.refused.items()},
            }
        )
    else:
        _show_status(folder, models, now)
    if models.refused:
        raise Finished(REFUSED)


def _models(given: Given) -> "tuple[Path, Models]":
    from deploy.modelling.folder import models_folder  # noqa: PLC0415
    from processors.models.store import load_models  # noqa: PLC0415

    folder = models_folder(given.begin())
    return folder, load_models(folder)


def _show_status(folder: Path, models: "Models", now: datetime) -> None:
    if models.usable:
        table = _table("type", "metric", "trained on", right=("age", "found", "precision", "alarms/day"))
        for model in models.usable.values():
            info = model.info
            window = f"{(info.trained_to - info.trained_from).total_seconds() / 3600:.0f} h to {info.trained_to:%Y-%m-%d}"
            age = _age((now - info.trained_at).total_seconds())
            table.add_row(info.type, info.metric, window, age, *_figures(info))
        answers().print(table)
    elif not models.refused:
        say(f"no models in {folder}; `sigmawatch model train` makes them")
    for path, reason in models.refused.items():
        say(f"refused: {path.name}: {reason}")


def _age(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


@with_settings(FOLDER)
def show(
    given: Given,
    device_type: Annotated[str, typer.Argument(metavar="TYPE", help="As oven.")],
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="METRIC", help="One metric of it; without it, all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the models of a type of device: what they come from, what they ask about, and the scores they gave.

    For example:

      sigmawatch model show oven
    """
    folder, models = _models(given)
    chosen = [
        model
        for key, model in models.usable.items()
        if key.type == device_type and metric in (None, key.metric)
    ]
    if not chosen:
        raise InputError(
            f"{folder} has no usable model for {device_type}{f' {metric}' if metric else ''}",
            "`sigmawatch model status` lists those that there are, and why others are refused.",
        )
    if as_json:
        print_json({"models": [_info_json(model.info) for model in chosen]})
        return
    for place, model in enumerate(chosen):
        if place:
            answers().print()
        _show_model(model)


def _show_model(model: "Model") -> None:
    console = answers()
    info = model.info
    console.print(f"{info.type} {info.metric}", style="bold", markup=False)
    facts = _table("", "")
    facts.show_header = False
    for name, said in _facts(info).items():
        facts.add_row(name, said)
    console.print(facts)
    console.print()
    for line in histogram(info.scores, info.threshold):
        console.print(line, markup=False)


def _facts(info: "ModelInfo") -> "Mapping[str, str]":
    quality = info.quality
    found, precision, rate = _figures(info)
    begin, held_out, end = (
        iso(round(time.timestamp()) * 1_000_000)
        for time in (info.trained_from, info.held_out_from, info.trained_to)
    )
    return {
        "trained": f"{iso(round(info.trained_at.timestamp()) * 1_000_000)} by Sigmawatch {info.software},"
        f" scikit-learn {info.scikit_learn}, seed {info.seed}",
        "history": f"{begin} to {end}: {info.readings:,} readings of {info.series:,} of {info.series_known:,} series",
        "learnt from": f"{info.panes:,} {info.meaning}; {info.excluded:,} left out",
        "measured": f"from {held_out} on: {quality.panes:,} panes, {quality.alarms:,} alarms, faults found {found},"
        f" precision {precision}, {rate} {'alarms' if quality.faults is None else 'false alarms'} a series and day",
        "forest": f"{info.forest.trees} trees of {info.forest.samples:,} panes",
        "features": ", ".join(info.features),
        "score": f"usual {info.usual:.3f}, alarm from {info.threshold:.3f}",
    }


def histogram(scores: "Scores", threshold: float) -> list[str]:
    """Lines with a bar for each bin that has panes: its length goes with the logarithm, so that few can be seen."""
    rows = list(zip(scores.edges, scores.healthy, scores.faulty, strict=False))
    filled = [place for place, (_, healthy, faulty) in enumerate(rows) if healthy or faulty]
    if not filled:
        return ["no panes were left for measuring"]
    most = math.log1p(max(healthy + faulty for _, healthy, faulty in rows))
    lines = ["score   panes    of them with faults or anomalies #"]
    alarming = False
    for edge, healthy, faulty in rows[filled[0] : filled[-1] + 1]:
        if edge >= threshold and not alarming:
            lines.append(f"------- alarm from {threshold:.3f}")
        alarming = alarming or edge >= threshold
        everything = healthy + faulty
        length = round(_BAR * math.log1p(everything) / most)
        marked = round(length * faulty / everything) if everything else 0
        if faulty:
            marked = max(marked, 1)
        lines.append(f"{edge:.3f} {everything:8,}  {'.' * (length - marked)}{'#' * marked}".rstrip())
    return lines
