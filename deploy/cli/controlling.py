"""`fault` and `devices`: control of a running simulator."""

from typing import Annotated, Any

import typer

from deploy.cli.controlling_devices import devices_commands
from deploy.cli.controlling_shared import (
    CONNECTION,
    SELECTION,
    JsonOption,
    client_for,
    fault_cells,
    fault_text,
    given_only,
    selected,
    table,
    tell_more,
)
from deploy.cli.flags import Given, SettingsCommand, with_settings
from deploy.cli.terminal import print_json, say
from schemas.errors import ConfigError, InputError

_PANEL = "Producers"


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    fault = typer.Typer(
        no_args_is_help=True, help="Start, show and end faults of a running simulator's devices."
    )
    fault.command("inject", cls=SettingsCommand)(fault_inject)
    fault.command("status", cls=SettingsCommand)(fault_status)
    fault.command("clear", cls=SettingsCommand)(fault_clear)
    app.add_typer(fault, name="fault", rich_help_panel=_PANEL)
    app.add_typer(devices_commands(), name="devices", rich_help_panel=_PANEL)


@with_settings(options=[*SELECTION, *CONNECTION])
def fault_inject(
    given: Given,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Id of a device, or a pattern as oven-*.")],
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="Kind of fault; without it one of the type's, by weight."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration", metavar="LENGTH", help='15m, "10 readings" or forever; without it as the kind says.'
        ),
    ] = None,
    intensity: Annotated[
        float | None,
        typer.Option("--intensity", metavar="X", help="In the kind's scale, as 3 for three times the power."),
    ] = None,
    onset: Annotated[
        float | None,
        typer.Option(
            "--onset",
            min=0,
            max=1,
            metavar="SHARE",
            help="Part of the duration in which it comes up; 0: at once.",
        ),
    ] = None,
    one: Annotated[bool, typer.Option("--one", help="On one of the devices only, chosen at random.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a fault begin on a device, or on all that fit.

    It takes the place of a fault that is active. Every reading that it changes says so in its field fault: the ground truth
    for what the processor finds. `sigmawatch devices types` lists each type's faults.

    For example:

      sigmawatch fault inject hvac-001 power_spike --duration "10 readings" --intensity 3

      sigmawatch fault inject 'oven-*' drift --place factory --duration 15m --onset 0.5

      sigmawatch fault inject '*' --one
    """
    body = {
        "select": {"device_id": device, **selected(given)},
        "random_one": one,
        "fault": kind,
        "intensity": intensity,
        "onset": onset,
        **_length(duration),
    }
    with client_for(given) as client:
        touched = client.call("POST", "/faults", body=given_only(body))
    if as_json:
        print_json(touched)
        return
    if not touched["count"]:
        raise InputError("no device fits", "`sigmawatch devices list` shows which there are.")
    for view in touched["devices"]:
        say(f"{view['id']}: {fault_text(view['fault'])}")
    tell_more(touched)


@with_settings(options=[*SELECTION, *CONNECTION])
def fault_status(
    given: Given,
    device: Annotated[
        str | None, typer.Argument(metavar="[DEVICE]", help="Id of a device, or a pattern; all if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the devices with an active fault, and how long it still lasts.

    For example:

      sigmawatch fault status

      sigmawatch fault status 'oven-*' --json
    """
    with client_for(given) as client:
        found = list(client.pages("/faults", {"device_id": device, **selected(given)}))
    if as_json:
        print_json(found)
    elif not found:
        say("no device has a fault")
    else:
        rows = [
            (entry["device_id"], entry["type"], entry["location"], *fault_cells(entry["fault"]))
            for entry in found
        ]
        table(("device", "type", "place", "fault", "intensity", "left", "began"), rows)


@with_settings(options=[*SELECTION, *CONNECTION])
def fault_clear(
    given: Given,
    device: Annotated[
        str | None, typer.Argument(metavar="[DEVICE]", help="Id of a device, or a pattern; all if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """End the active faults of a device, or of all that fit.

    For example:

      sigmawatch fault clear hvac-001

      sigmawatch fault clear
    """
    select = given_only({"device_id": device, **selected(given)})
    with client_for(given) as client:
        touched = client.call("POST", "/faults/clear", body={"select": select})
    if as_json:
        print_json(touched)
    else:
        count = touched["count"]
        say(f"{count} fault{'' if count == 1 else 's'} ended")


def _length(duration: str | None) -> dict[str, Any]:
    """A duration as the API has it.

    Raises:
        ConfigError: it is none.
    """
    if duration is None:
        return {}
    if duration.strip().lower() in {"forever", "until cleared", "until-cleared"}:
        return {"until_cleared": True}
    from producers.devices.amounts import parse_span  # noqa: PLC0415

    try:
        span = parse_span(duration)
    except ValueError:
        span = None
    if span is None or span.low != span.high or (span.in_readings and not span.low.is_integer()):
        raise ConfigError(f"--duration {duration}", 'Give 15m, "10 readings", or forever.')
    return {"readings": int(span.low)} if span.in_readings else {"seconds": span.low}
