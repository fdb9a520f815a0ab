"""The command line of Sigmawatch: `run()` is the console script `sigmawatch`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from deploy.cli import (
    administering,
    bridging,
    consuming,
    controlling,
    database,
    detecting,
    doctoring,
    evaluating,
    exporting,
    ingesting,
    letters,
    modelling,
    notifying,
    producing,
    reading_rows,
    serving,
    simulating,
    stacking,
    tailing,
)
from deploy.cli.exits import guarded, leave
from deploy.cli.flags import ConfigOption, LogFormatOption, LogLevelOption, SetOption, given_common, reflow

_HELP = """
Readings of many devices flow through Kafka; the deviating ones come out as anomalies; both end in TimescaleDB,
each exactly once.

`sigmawatch up` runs it all on this machine: a broker, a database, a simulated fleet or a file of yours, the
processor and the sink. Each part is also a command of its own, for a cluster.

Settings come from flags, over environment variables (SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS=broker:9092), over a YAML file
(--config, or SIGMAWATCH_CONFIG). `sigmawatch settings` lists them all.

For example:

  sigmawatch up                                    see it work; Ctrl-C ends it

  sigmawatch up --replay temperatures.csv          find the anomalies of a file

  sigmawatch process --bootstrap-servers kafka:9092

  sigmawatch tail anomalies --json
"""

app = typer.Typer(
    name="sigmawatch",
    help=reflow(_HELP),
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

        try:
            number = version("sigmawatch")
        except PackageNotFoundError:  # run from a source tree that was not installed
            number = "unknown"
        sys.stdout.write(f"sigmawatch {number}\n")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version.")
]


@app.callback()
def _common(
    context: typer.Context,
    config: ConfigOption = None,
    assignments: SetOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
    version: VersionOption = False,
) -> None:
    del version
    context.obj = given_common(config, assignments, log_level, log_format)


stacking.add_commands(app)
simulating.add_commands(app)
controlling.add_commands(app)
producing.add_commands(app)
bridging.add_commands(app)
ingesting.add_commands(app)
consuming.add_commands(app)
tailing.add_commands(app)
letters.add_commands(app)
serving.add_commands(app)
reading_rows.add_commands(app)
exporting.add_commands(app)
evaluating.add_commands(app)
modelling.add_commands(app)
notifying.add_commands(app)
detecting.add_commands(app)
administering.add_commands(app)
database.add_commands(app)
doctoring.add_commands(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; gives the exit code. Never raises for what a user can cause."""
    command = typer.main.get_command(app)
    return guarded(lambda: command.main(arguments, prog_name="sigmawatch", standalone_mode=False))


def run() -> None:
    """Run the process's command line and exit."""
    leave(main())
