"""`db`: make the database's tables and roles, look after them, say how they stand."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import DATABASE, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import print_json, say, stop_event
from schemas.errors import first_line

if TYPE_CHECKING:
    import threading

    from pydantic import SecretStr

    from schemas.settings import Settings
    from sinks.timescale.maintain import Maintained

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Make the database's tables and roles, look after them, say how they stand.",
    )
    group.command("migrate", cls=SettingsCommand)(migrate_tables)
    group.command("status", cls=SettingsCommand)(show_status)
    group.command("maintain", cls=SettingsCommand)(maintain_tables)
    group.command("roles", cls=SettingsCommand)(set_up)
    app.add_typer(group, name="db", rich_help_panel="Setting up")


@with_settings(DATABASE)
def migrate_tables(given: Given, as_json: JsonOption = False) -> None:
    """Bring the database's tables to the newest state. May be run any number of times, by several at once.

    What the server can do is found out: plain PostgreSQL, TimescaleDB's Apache-2 edition, or its community edition.

    For example:

      sigmawatch db migrate --database postgresql://me:secret@db:5432/plant
    """
    from deploy.clients import connect_database  # noqa: PLC0415
    from sinks.timescale.migrate import inspect_server, migrate  # noqa: PLC0415

    with connect_database(given.begin()) as connection:
        applied = [f"{migration.version:03d}_{migration.name}" for migration in migrate(connection)]
        server = inspect_server(connection)
    if as_json:
        print_json(
            {"applied": applied, "server": server.strength.name.lower(), "timescaledb": server.timescaledb}
        )
        return
    for name in applied:
        say(f"applied  {name}")
    say(f"{'up to date' if not applied else 'done'}: {server.strength.text}")


@with_settings(DATABASE)
def show_status(given: Given, as_json: JsonOption = False) -> None:
    """Say what the database is and holds; changes nothing, and exits 1 where migrations are pending.

    The server's strength, sizes, chunks and how many are compressed, oldest and newest rows, rollups and up to where they
    are kept, policies and when they ran, migrations. Rows are counted up to a million, and estimated above.

    For example:

      sigmawatch db status --database postgresql://me:secret@db:5432/plant --json
    """
    from deploy.cli.database_text import status_json, status_lines  # noqa: PLC0415
    from deploy.cli.questions import answering  # noqa: PLC0415
    from deploy.clients import connect_database  # noqa: PLC0415
    from sinks.timescale.status import database_status  # noqa: PLC0415

    with connect_database(given.begin()) as connection, answering():
        status = database_status(connection)
    if as_json:
        print_json(status_json(status))
    for line in () if as_json else status_lines(status):
        say(line)
    if any(row.state == "pending" for row in status.migrations):
        raise Finished(REFUSED)


@with_settings(
    DATABASE,
    Flag("--keep-readings", "database.keep_readings", "DURATION"),
    Flag("--keep-minutes", "database.keep_minutes", "DURATION"),
    Flag("--keep-hours", "database.keep_hours", "DURATION"),
    Flag("--compress-after", "database.compress_after", "DURATION"),
    Flag("--interval", "database.maintain_interval", "DURATION"),
)
def maintain_tables(
    given: Given,
    loop: Annotated[bool, typer.Option("--loop", help="Again and again, until stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep the rollups by minute and hour, take late readings into them, drop what is old enough.

    On TimescaleDB's community edition the server does this by itself: there the command sets its policies to what the
    settings say. One process at a time works; it may be ended at any point, and sinks write meanwhile. Readings are
    dropped only after they are rolled up, and only where --keep-readings says so.

    For example:

      sigmawatch db maintain --database postgresql://me:secret@db:5432/plant

      sigmawatch db maintain --loop --keep-readings 90d --keep-minutes 365d
    """
    settings = given.begin()
    with stop_event() as stop:
        _maintain_once(settings, stop, dry_run=dry_run, as_json=as_json, patient=False)
        while loop and not stop.wait(settings.database.maintain_interval):
            _maintain_once(settings, stop, dry_run=dry_run, as_json=as_json, patient=True)


def _maintain_once(
    settings: "Settings", stop: "threading.Event", *, dry_run: bool, as_json: bool, patient: bool
) -> None:
    """One run; a patient one leaves an outage to the next."""
    import psycopg  # noqa: PLC0415

    from deploy.cli.questions import answering  # noqa: PLC0415
    from deploy.clients import UnreachableError  # noqa: PLC0415

    try:
        if patient:
            _tell(_run(settings, stop, dry_run=dry_run), dry_run=dry_run, as_json=as_json)
            return
        with answering():
            done = _run(settings, stop, dry_run=dry_run)
    except (UnreachableError, psycopg.OperationalError) as error:
        if not patient:
            raise
        say(f"the next run tries again: {first_line(error)}")
        return
    _tell(done, dry_run=dry_run, as_json=as_json)
    if not as_json and not any(
        (done.busy, done.policies, any(done.rolled_up.values()), done.marks, done.dropped)
    ):
        say("nothing was due")


def _run(settings: "Settings", stop: "threading.Event", *, dry_run: bool) -> "Maintained":
    from deploy.cli.questions import progress_bar  # noqa: PLC0415
    from deploy.clients import connect_database  # noqa: PLC0415
    from sinks.timescale.maintain import maintain  # noqa: PLC0415
    from sinks.timescale.policies import Ages  # noqa: PLC0415

    with connect_database(settings) as connection, ExitStack() as stack:
        show = stack.enter_context(progress_bar("maintaining"))
        return maintain(
            connection,
            Ages.of(settings.database),
            dry_run=dry_run,
            tell=lambda _what, done, total: show(done / total if total else 1.0),
            stop=stop.is_set,
        )


def _tell(done: "Maintained", *, dry_run: bool, as_json: bool) -> None:
    from deploy.cli.database_text import maintained_json, maintained_lines  # noqa: PLC0415

    if as_json:
        print_json(maintained_json(done, dry_run=dry_run))
        return
    for line in maintained_lines(done, dry_run=dry_run):
        say(line)


@with_settings(DATABASE, Flag("--prefix", "database.role_prefix", "NAME"))
def set_up(given: Given, as_json: JsonOption = False) -> None:
    """Make the roles migrator, writer and reader, or bring their rights to what they should be.

    As a superuser, or the tables' owner with CREATEROLE; the tables are made first where they are missing, and belong to
    the migrator afterwards. Passwords come from SIGMAWATCH_DATABASE__MIGRATOR_PASSWORD, ..._WRITER_PASSWORD and
    ..._READER_PASSWORD; those of new roles are asked for on a terminal where they are not set. Run it again after
    upgrades, or to set other passwords.

    For example:

      sigmawatch db roles --database postgresql://postgres:secret@db:5432/plant
    """
    from deploy.cli.questions import answering  # noqa: PLC0415
    from deploy.clients import connect_database  # noqa: PLC0415
    from sinks.timescale.migrate import migrate  # noqa: PLC0415
    from sinks.timescale.roles import KINDS, Roles, existing_roles, set_up_roles  # noqa: PLC0415

    settings = given.begin()
    passwords: dict[str, SecretStr | None] = {
        kind: getattr(settings.database, f"{kind}_password") for kind in KINDS
    }
    with connect_database(settings) as connection, answering():
        names = Roles.of_prefix(settings.database.role_prefix, {}).named()
        there = existing_roles(connection, names.values())
        for kind, name in names.items():
            if passwords[kind] is None and name not in there and sys.stdin.isatty():
                passwords[kind] = _ask(name)
        migrate(connection)
        done = set_up_roles(connection, Roles.of_prefix(settings.database.role_prefix, passwords))
    if as_json:
        print_json({"roles": names, "done": done})
        return
    for line in done or ["roles and rights are as they should be"]:
        say(line)


def _ask(name: str) -> "SecretStr":
    from pydantic import SecretStr  # noqa: PLC0415

    return SecretStr(
        typer.prompt(f"Password of the new role {name}", hide_input=True, confirmation_prompt=True, err=True)
    )
