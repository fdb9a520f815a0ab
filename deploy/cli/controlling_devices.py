"""`devices`: what a running simulator's fleet is made of."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from deploy.cli.controlling_shared import (
    CONNECTION,
    SELECTION,
    WHICH,
    JsonOption,
    client_for,
    fault_text,
    given_only,
    pairs,
    readings_text,
    selected,
    state_text,
    table,
    tell_more,
    tell_touched,
)
from deploy.cli.flags import Given, SettingsCommand, with_settings
from deploy.cli.terminal import print_json, say
from schemas.errors import ConfigError, InputError

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Without asking.")]


def devices_commands() -> typer.Typer:
    """The group of commands."""
    devices = typer.Typer(
        no_args_is_help=True, help="List, create, change and delete a running simulator's devices."
    )
    for name, command in (
        ("list", devices_list),
        ("show", devices_show),
        ("create", devices_create),
        ("update", devices_update),
        ("delete", devices_delete),
        ("types", devices_types),
    ):
        devices.command(name, cls=SettingsCommand)(command)
    return devices


@with_settings(options=[*SELECTION, *CONNECTION])
def devices_list(
    given: Given,
    device: Annotated[
        str | None, typer.Argument(metavar="[PATTERN]", help="Ids that match, as oven-*.")
    ] = None,
    faulty: Annotated[
        bool, typer.Option("--faulty", help="Only those with an active fault.", rich_help_panel=WHICH)
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="The first N of them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the simulator's devices with their last readings, by id.

    For example:

      sigmawatch devices list

      sigmawatch devices list 'oven-*' --place factory --json
    """
    query = {"device_id": device, "faulty": "true" if faulty else None, **selected(given)}
    with client_for(given) as client:
        found = _first(client.pages("/devices", query), limit)
    if as_json:
        print_json(found)
    elif not found:
        say("no device fits")
    else:
        rows = [
            (
                view["id"],
                view["type"],
                view["name"],
                view["location"],
                state_text(view),
                readings_text(view),
            )
            for view in found
        ]
        table(("device", "type", "name", "place", "state", "last readings"), rows)


@with_settings(options=CONNECTION)
def devices_show(
    given: Given,
    device: Annotated[str, typer.Argument(metavar="ID", help="Id of a device.")],
    as_json: JsonOption = False,
) -> None:
    """Show a device: what it is, how it is set, its last readings and its fault.

    For example:

      sigmawatch devices show hvac-001
    """
    from deploy.control_client import device_path  # noqa: PLC0415

    with client_for(given) as client:
        view = client.call("GET", device_path(device))
    if as_json:
        print_json(view)
        return
    place: dict[str, Any] = view["place"] or {"name": "", "latitude": None, "longitude": None, "timezone": ""}
    where = " ".join(str(part) for part in place.values() if part not in (None, ""))
    rows = [
        ("id", view["id"]), ("name", view["name"]), ("type", view["type"]), ("place", where),
        ("made by", " ".join(part for part in (view["manufacturer"], view["model"]) if part)),
        ("firmware", view["firmware"]), ("serial number", view["serial_number"]),
        ("state", state_text(view)), ("fault", fault_text(view["fault"]) if view["fault"] else "none"),
        ("parameters", pairs(view["parameters"])), ("attributes", pairs(view["attributes"])),
        ("last readings", readings_text(view)), ("at", view["last_update"] or "never"),
    ]  # fmt: skip
    table((), [row for row in rows if row[1]])


@with_settings(options=CONNECTION)
def devices_create(
    given: Given,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="`sigmawatch devices types` lists them.")],
    device: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Its id, or of many a template, as oven-{number:03}."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Its name.")] = None,
    location: Annotated[str | None, typer.Option("--location", metavar="TEXT", help="Its place.")] = None,
    city: Annotated[
        str | None, typer.Option("--city", metavar="CITY", help="A known city, for place and time zone.")
    ] = None,
    firmware: Annotated[
        str | None, typer.Option("--firmware", metavar="VERSION", help="Its firmware.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=NUMBER", help="As base_power=30; may be repeated."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=10_000, metavar="N", help="So many of them.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Create a device, or many; they send from the next interval on. What is not given comes from the type.

    A device of the same id has the same readings with the same seed; without --id it gets a new id.

    For example:

      sigmawatch devices create hvac --name "Main Building" --location "Building A" -p base_power=26.5

      sigmawatch devices create oven --count 20 --id 'load-{number:03}'
    """
    numbers = _parameters(parameters)
    common = {"firmware": firmware, "parameters": numbers or None}
    touched: dict[str, Any]
    with client_for(given) as client:
        if count == 1:
            body = {
                "device_type": kind,
                "device_id": device,
                "name": name,
                "location": location,
                "city": city,
                **common,
            }
            created = [client.call("POST", "/devices", body=given_only(body))]
            touched = {"count": 1, "devices": created}
        else:
            group = {
                "type": kind, "count": count, "device_id": device, "name": name,
                "locations": None if location is None else [{"name": location}], "cities": city, **common,
            }  # fmt: skip
            touched = client.call("POST", "/groups", body=given_only(group))
    if as_json:
        print_json(touched)
        return
    for view in touched["devices"]:
        say(f"created  {view['id']}")
    tell_more(touched)


@with_settings(options=[*SELECTION, *CONNECTION])
def devices_update(
    given: Given,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Id of a device, or a pattern as oven-*.")],
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="New name.")] = None,
    location: Annotated[str | None, typer.Option("--location", metavar="TEXT", help="New place.")] = None,
    online: Annotated[bool | None, typer.Option("--online/--offline", help="Link up, or cut.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Switched on, or off.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Operating state to go to.")
    ] = None,
    new_firmware: Annotated[
        str | None, typer.Option("--new-firmware", metavar="VERSION", help="Install this firmware.")
    ] = None,
    fault_factor: Annotated[
        float | None,
        typer.Option("--fault-factor", min=0, metavar="X", help="Multiplies the chance of faults."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=NUMBER", help="As base_power=30; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a device, or all that fit; what is not given stays as it is.

    For example:

      sigmawatch devices update hvac-001 -p base_power=40 --name "Roof, new motor"

      sigmawatch devices update '*' --city Denver --offline          its network is cut

      sigmawatch devices update '*' --manufacturer DataLogger --new-firmware 3.0-beta
    """
    body = given_only(
        {
            "name": name, "location": location, "online": online, "enabled": enabled, "state": state,
            "firmware": new_firmware, "fault_factor": fault_factor, "parameters": _parameters(parameters) or None,
        }
    )  # fmt: skip
    if not body:
        raise ConfigError("nothing to change", "Say what, as --offline or -p base_power=30.")
    with client_for(given) as client:
        touched = client.call("PATCH", "/devices", body=body, query={"device_id": device, **selected(given)})
    tell_touched(touched, "changed", as_json=as_json)


@with_settings(options=[*SELECTION, *CONNECTION])
def devices_delete(
    given: Given,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Id of a device, or a pattern as load-*.")],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a device, or all that fit. What they have sent stays.

    A pattern is asked about first, unless --yes is given.

    For example:

      sigmawatch devices delete hvac-001

      sigmawatch devices delete 'load-*' --yes
    """
    query = {"device_id": device, **selected(given)}
    with client_for(given) as client:
        if not yes and any(sign in device for sign in "*?"):
            _require_yes(len(list(client.pages("/devices", query))))
        touched = client.call("DELETE", "/devices", query=query)
    tell_touched(touched, "deleted", as_json=as_json)


@with_settings(options=CONNECTION)
def devices_types(
    given: Given,
    kind: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="One of them, in full.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the device types that the simulator knows, or show one with its metrics, parameters, states and faults.

    For example:

      sigmawatch devices types

      sigmawatch devices types oven
    """
    with client_for(given) as client:
        found = client.call("GET", "/catalogue")
    if kind is None:
        if as_json:
            print_json(found)
        else:
            rows = [
                (one["name"], one["title"], ", ".join(one["metrics"]), ", ".join(one["faults"]))
                for one in found
            ]
            table(("type", "title", "metrics", "faults"), rows)
        return
    one = next((one for one in found if one["name"] == kind), None)
    if one is None:
        from producers.documents import nearest  # noqa: PLC0415

        raise InputError(f"there is no device type {kind!r}", nearest(kind, [one["name"] for one in found]))
    if as_json:
        print_json(one)
    else:
        _show_type(one)


def _show_type(kind: dict[str, Any]) -> None:
    rows = [("type", kind["name"]), ("title", kind["title"])]
    rows += [("metric", f"{name} {unit}".rstrip()) for name, unit in kind["metrics"].items()]
    rows += [("parameter", f"{name} = {text}") for name, text in kind["parameters"].items()]
    rows += [("state", name) for name in kind["states"]]
    rows += [("fault", f"{name}: {text}" if text else name) for name, text in kind["faults"].items()]
    rows += [("made by", ", ".join(kind["manufacturers"])), ("places", ", ".join(kind["places"]))]
    table((), [row for row in rows if row[1]])


def _parameters(given: list[str] | None) -> dict[str, float]:
    """NAME=NUMBER, each.

    Raises:
        ConfigError: one is not.
    """
    found = {}
    for assignment in given or ():
        name, equals, number = assignment.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise ConfigError(f"--parameter {assignment}", "Write it as NAME=NUMBER, as base_power=30.")
    return found


def _first(found: Iterable[Any], limit: int | None) -> list[Any]:
    if limit is None:
        return list(found)
    return [entry for entry, _ in zip(found, range(limit), strict=False)]


def _require_yes(count: int) -> None:
    """Ask whether to go on.

    Raises:
        ConfigError: nobody can be asked.
        typer.Abort: no.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"{count} devices would be deleted", "Give --yes if that is meant.")
    typer.confirm(f"Delete {count} devices?", abort=True, err=True)
