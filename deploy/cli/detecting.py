"""`detection check` and `detection show`: rules files, and what they make of a series."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.flags import Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import answers, print_json, say

RULES = Flag("--rules", "processor.rules", "FILE")
PRESET = Flag("--preset", "processor.preset", "standard|moving-average")

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    detection = typer.Typer(
        no_args_is_help=True, help="Check a rules file of the detector, or show what a series is judged by."
    )
    detection.command("check", cls=SettingsCommand)(check)
    detection.command("show", cls=SettingsCommand)(show)
    app.add_typer(detection, name="detection", rich_help_panel="Judging detection")


@with_settings()
def check(
    given: Given,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rules file.")],
    as_json: JsonOption = False,
) -> None:
    """Check a rules file: every unknown key and wrong value with its line; exits 2 where there is one.

    For example:

      sigmawatch detection check plant-rules.yaml
    """
    from processors.detection.rules import read_rules  # noqa: PLC0415

    given.begin()
    rules = read_rules(file)
    if as_json:
        print_json({"file": str(file), "rules": len(rules.rules), "preset": rules.preset})
    else:
        say(f"{file}: {len(rules.rules)} rules, all fine")


@with_settings(RULES, PRESET)
def show(
    given: Given,
    device_type: Annotated[str, typer.Argument(metavar="DEVICE_TYPE", help="As oven; '' is not known.")],
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="As temperature.")],
    device: Annotated[
        str, typer.Option("--device", metavar="ID", help="The device, for rules that name devices.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Also what is as the preset has it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the series of a device type and metric are judged by: what differs from the preset, and by which rules.

    The package's rules are among it, and your own (--rules). docs/detection-rules.md explains every key.

    For example:

      sigmawatch detection show oven temperature --rules plant-rules.yaml

      sigmawatch detection show hvac power --json
    """
    from processors.detection.facts import DeviceFacts, KnownDevices  # noqa: PLC0415
    from processors.detection.keys import flat  # noqa: PLC0415
    from processors.engine.series_index import SeriesName  # noqa: PLC0415
    from processors.profiles import profile_book  # noqa: PLC0415

    book = profile_book(given.begin(), KnownDevices({device: DeviceFacts(device_type)}))
    name = SeriesName(device, metric)
    values = flat(book.profile(book.number(name)))
    defaults = flat(book.profile(0))
    differing = {key: value for key, value in values.items() if value != defaults.get(key)}
    places = [rule.place for rule in book.rules_of(name)]
    if as_json:
        print_json(
            {
                "type": device_type,
                "metric": metric,
                "rules": places,
                "profile": values,
                "differing": differing,
            }
        )
        return
    _print_table(values if every else differing, defaults, places)


def _print_table(values: dict[str, str], defaults: dict[str, str], places: list[str]) -> None:
    from rich.table import Table  # noqa: PLC0415

    console: Any = answers()
    for place in places:
        console.print(f"by {place}", markup=False)
    if not values:
        console.print("all as the preset has it", markup=False)
        return
    table = Table("key", "value", "preset", box=None, pad_edge=False)
    for key, value in values.items():
        default = defaults.get(key, "")
        table.add_row(key, f"[bold]{value}[/bold]" if value != default else value, default)
    console.print(table)
