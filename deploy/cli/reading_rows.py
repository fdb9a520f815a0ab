"""`read`: what is in the database, readings or anomalies, the newest ones or as they come."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.cli.flags import DATABASE, Given, SettingsCommand, with_settings
from deploy.cli.questions import answering, moment, moment_or_ago
from deploy.cli.terminal import answers, print_json, stop_event
from schemas.errors import ConfigError


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("read", cls=SettingsCommand, rich_help_panel="For people")(read)


@with_settings(DATABASE)
def read(
    given: Given,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="The newest N at most.")
    ] = 10,
    loop: Annotated[bool, typer.Option("--loop", help="Then go on with what comes, until Ctrl-C.")] = False,
    device: Annotated[
        list[str] | None, typer.Option("--device", metavar="ID", help="Of this device; may be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Of this metric; may be repeated.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From this time on, or since so long ago, as 2h."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    anomalies: Annotated[bool, typer.Option("--anomalies", help="Anomalies instead of readings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Show readings or anomalies from the database, in the order of time: the newest ones, or with --loop all that come.

    For example:

      sigmawatch read --limit 100

      sigmawatch read --device oven-0042 --metric temperature --since 2h --loop

      sigmawatch read --anomalies --since 2026-03-01T00:00:00Z --json
    """
    from deploy.clients import connect_database  # noqa: PLC0415 - not needed for --help
    from deploy.stored_rows import LATE, json_of, line_of, page_of, rows_as_they_come  # noqa: PLC0415
    from sinks.queries.selection import Selection  # noqa: PLC0415

    if loop and until is not None:
        raise ConfigError("--loop goes on, and --until ends it", "Give one of them.")
    selection = Selection(
        devices=tuple(device or ()),
        metrics=tuple(metric or ()),
        begin=moment_or_ago("--since", since, datetime.now(UTC)),
        end=moment("--until", until),
    )
    console = answers()
    settings = given.begin()
    with (
        stop_event() if loop else nullcontext() as stop,
        connect_database(settings) as connection,
        answering(),
    ):
        connection.execute("SET default_transaction_read_only = on; SET timezone = 'UTC'; SET jit = off")
        page = page_of(connection, anomalies=anomalies)
        look_back = None if anomalies else LATE
        for row in rows_as_they_come(page, selection, limit, stop, look_back):
            if as_json:
                print_json(json_of(row))
            else:
                console.print(line_of(row))
                console.file.flush()
