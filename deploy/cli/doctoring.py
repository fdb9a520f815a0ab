"""`doctor`: is everything in order, and what to do where it is not."""

import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import BROKER, DATABASE, REGISTRY, Given, SettingsCommand, with_settings
from deploy.cli.terminal import messages, print_json, print_table
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from deploy.doctor import Context, Report

_STYLES = {"ok": "green", "skipped": "dim", "warn": "yellow", "fail": "bold red"}


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("doctor", cls=SettingsCommand, rich_help_panel="Setting up")(doctor)


@with_settings(BROKER, DATABASE, REGISTRY)
def doctor(
    given: Given,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHECK", help="Only these checks, as broker or topics; all if none is named."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.5, max=300, metavar="SECONDS", help="For each question to a server."),
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")] = False,
) -> None:
    """Check everything that Sigmawatch needs, and say what to do where something is wrong; changes nothing.

    Settings, Python, folders and disks, broker, topics, consumer groups and their lag, schema registry, database with
    its migrations and rights, clocks, ports, models and rules. The checks run side by side; one that finds nobody to
    ask does not hold up the others. Exits 1 where one fails.

    For example:

      sigmawatch doctor --bootstrap-servers kafka:9092 --config plant.yaml

      sigmawatch doctor broker topics --json
    """
    from deploy.doctor import all_checks  # noqa: PLC0415 - imports every client
    from deploy.doctor.running import run_checks  # noqa: PLC0415

    checks = all_checks()
    known = [one.name for one in checks]
    if unknown := [name for name in names or () if name not in known]:
        raise ConfigError(f"there is no check {unknown[0]!r}", f"Checks are: {', '.join(known)}.")
    context = _context(given, timeout)
    # What is wrong is said by the checks; the clients' own lines would come in between.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL + 1)
    chosen = [one for one in checks if not names or one.name in names]
    console = messages()
    with console.status(f"{len(chosen)} checks") as status:
        left = set(known) & {one.name for one in chosen}

        def tell(report: "Report") -> None:
            left.discard(report.name)
            status.update(", ".join(one for one in known if one in left))

        reports = run_checks(chosen, context, limit=4 * timeout, tell=tell)
    if as_json:
        print_json(_as_json(reports))
    else:
        _print(reports)
    if any(report.status == "fail" for report in reports):
        raise Finished(REFUSED)


def _context(given: Given, timeout: float) -> "Context":
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from deploy.doctor import Context  # noqa: PLC0415
    from schemas.settings_sources import CONFIG_VARIABLE  # noqa: PLC0415

    named = given.config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    try:
        settings = given.begin()
    except ConfigError as error:
        return Context(None, error, named, seconds=timeout)
    return Context(settings, None, named, seconds=timeout)


def _as_json(reports: "list[Report]") -> dict[str, Any]:
    return {
        "checks": [
            {
                "name": report.name,
                "status": str(report.status),
                "seconds": round(report.seconds, 3),
                "findings": [
                    {"status": str(one.status), "found": one.found, "remedy": one.remedy or None}
                    for one in report.findings
                ],
            }
            for report in reports
        ],
        "failed": sum(report.status == "fail" for report in reports),
        "warned": sum(report.status == "warn" for report in reports),
    }


def _print(reports: "list[Report]") -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for report in reports:
        for number, finding in enumerate(report.findings):
            text = Text(finding.found)
            if finding.remedy:
                text.append(f"\n→ {finding.remedy}", style="italic")
            style = _STYLES[finding.status]
            table.add_row(Text(finding.status, style=style), "" if number else report.name, text)
    print_table(table)
    failed = sum(report.status == "fail" for report in reports)
    warned = sum(report.status == "warn" for report in reports)
    verdict = f"{failed} of {len(reports)} checks failed" if failed else f"no check of {len(reports)} failed"
    messages().print(verdict + (f", {warned} warn" if warned else ""), highlight=False)
