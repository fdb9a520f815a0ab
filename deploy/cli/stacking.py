"""`up` and `down`: the whole pipeline on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.detecting import PRESET, RULES
from deploy.cli.exits import Finished
from deploy.cli.flags import BROKER, DATABASE, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.producing import FILE_OPTIONS
from deploy.cli.simulating import SIMULATE_FLAGS

_PANEL = "Everything on one machine"
_STATE = Flag("--state-dir", "state_dir", "FOLDER")


def add_commands(app: typer.Typer) -> None:
    """Put the two commands into the command line."""
    app.command("up", cls=SettingsCommand, rich_help_panel=_PANEL)(up)
    app.command("down", cls=SettingsCommand, rich_help_panel=_PANEL)(down)


@with_settings(
    *SIMULATE_FLAGS,
    PRESET,
    RULES,
    Flag("--window", "processor.window", "DURATION"),
    Flag("--k", "processor.k", "NUMBER"),
    Flag("--minimum-readings", "processor.minimum_readings", "N"),
    Flag("--port", "api.port", "PORT"),
    DATABASE,
    BROKER,
    REGISTRY,
    _STATE,
    options=FILE_OPTIONS,
)
def up(
    given: Given,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration", metavar="DURATION", help="How long readings flow; without it, until Ctrl-C."
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay", metavar="FILE", help="A file in the fleet's place; ends when all of it is stored."
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            "--speed",
            metavar="SPEED",
            help="Of the replay, or of the fleet's virtual time: 1 is real time, 60, max.",
        ),
    ] = None,
    broker: Annotated[
        str, typer.Option("--broker", metavar="tansu|kafka", help="Which broker to start.")
    ] = "tansu",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, metavar="N", help="Processor workers.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with the summary as one JSON object on stdout.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve the dashboard and the query API beside it.")
    ] = True,
) -> None:
    """Run the whole pipeline on this machine, with nothing installed: broker, database, processor, sink, and readings.

    Readings come from a small simulated fleet, or from your file with --replay and the options of
    `sigmawatch replay`. Broker and database are started unless --bootstrap-servers or --database name your
    own. On a terminal you see live what happens. At the end (--duration, the end of the file, or Ctrl-C) everything in
    flight is processed and stored, and then counted: each reading must be processed once and stored once, or the
    summary names it and the exit code is 1. A second Ctrl-C leaves at once.

    The dashboard and the query API (`sigmawatch serve`) are at http://127.0.0.1:8090/, or at the next port that is free;
    --port names one. The simulator's control API is beside them, and in full below
    /control.

    The database stays in the state folder, so that the next `up` finds it; `sigmawatch down --purge` removes it.

    For example:

      sigmawatch up

      sigmawatch up --duration 30 --json

      sigmawatch up --replay temperatures.csv --device =boiler-7

      sigmawatch up --devices 1000 --rate 5000 --workers 2 --broker kafka
    """
    from deploy.cli.upping import UpRequest, run_up  # noqa: PLC0415 - not needed for --help

    request = UpRequest(given, duration, replay, speed, broker, workers, web=web, as_json=as_json)
    raise Finished(run_up(request))


@with_settings(_STATE)
def down(
    given: Given,
    purge: Annotated[bool, typer.Option("--purge", help="Remove all data that `up` keeps.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the `sigmawatch up` of the state folder, or with --purge remove what it keeps.

    The running `up` drains and ends in order, as after Ctrl-C; this waits for it. --purge removes the embedded parts'
    data for good, and refuses while they are in use. Databases and brokers of your own are not touched.

    For example:

      sigmawatch down

      sigmawatch down --purge --yes
    """
    from deploy.cli.downing import run_down  # noqa: PLC0415

    raise Finished(run_down(given.settings(), purge=purge, yes=yes))
