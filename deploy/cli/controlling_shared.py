"""What `fault` and `devices` have in common: where the simulator is, which devices are meant, how answers look."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.flags import Given, option_parameter
from deploy.cli.terminal import print_json, print_table, say

if TYPE_CHECKING:
    from deploy.control_client import ControlClient

_WHERE = "The simulator"
WHICH = "Which devices"

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as JSON on stdout.")]

CONNECTION = [
    option_parameter(
        "url", str | None, "--url", metavar="URL", rich_help_panel=_WHERE,
        help="Where it is; control.host and control.port of the settings, http://127.0.0.1:8090, if not given.",
    ),
    option_parameter(
        "token_env", str | None, "--token-env", metavar="NAME", rich_help_panel=_WHERE,
        help="Environment variable with its token; SIGMAWATCH_CONTROL__TOKEN if not given.",
    ),
]  # fmt: skip


def _choice(name: str, metavar: str, text: str) -> Any:
    return option_parameter(name, str | None, f"--{name}", metavar=metavar, help=text, rich_help_panel=WHICH)


SELECTION = [
    _choice("type", "TYPE", "Of this type."),
    _choice("place", "PLACE", "At this place, or kind of place; * and ? match."),
    _choice("city", "CITY", "In this city; * and ? match."),
    _choice("manufacturer", "NAME", "Of this maker; * and ? match."),
    _choice("firmware", "VERSION", "With this firmware; * and ? match."),
]
_SELECTING = ("type", "place", "city", "manufacturer", "firmware")


def client_for(given: Given) -> "ControlClient":
    """The client for what the settings and flags say."""
    from deploy.control_client import client_of  # noqa: PLC0415

    settings = given.begin()
    return client_of(settings, given.options.get("url"), given.options.get("token_env"))


def selected(given: Given) -> dict[str, str]:
    """Which devices the flags choose."""
    return {name: given.options[name] for name in _SELECTING if name in given.options}


def given_only(body: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given."""
    return {key: value for key, value in body.items() if value is not None}


def tell_touched(touched: dict[str, Any], what: str, *, as_json: bool) -> None:
    """Say which devices a change touched."""
    if as_json:
        print_json(touched)
        return
    for view in touched["devices"]:
        say(f"{what}  {view['id']}")
    tell_more(touched)
    if not touched["count"]:
        say("no device fits")


def tell_more(touched: dict[str, Any]) -> None:
    """Say how many more there are than were shown."""
    more = touched["count"] - len(touched["devices"])
    if more:
        say(f"and {more} more")


def fault_cells(fault: dict[str, Any]) -> tuple[str, str, str, str]:
    """An active fault as cells of a table: kind, intensity, what is left, when it began."""
    return fault["fault"], f"{fault['intensity']:.3g}", _left(fault), (fault["began"] or "")[:19]


def fault_text(fault: dict[str, Any] | None) -> str:
    """An active fault in words."""
    if fault is None:
        return "over before its first reading"
    return f"{fault['fault']}, intensity {fault['intensity']:.3g}, {_left(fault)}"


def _left(fault: dict[str, Any]) -> str:
    count = fault["readings_left"]
    return "until cleared" if count is None else f"{count} reading{'s' if count != 1 else ''}"


def state_text(view: dict[str, Any]) -> str:
    """A device's state in words."""
    parts = [
        view["status"],
        "" if view["enabled"] else "disabled",
        view["state"] or "",
        f"fault {view['fault']['fault']}" if view["fault"] else "",
    ]
    return ", ".join(filter(None, parts))


def readings_text(view: dict[str, Any]) -> str:
    """A device's last readings with their units."""
    units = view["units"]
    texts = [f"{name} {value:g} {units.get(name, '')}".rstrip() for name, value in view["readings"].items()]
    return ", ".join(texts)


def pairs(values: dict[str, Any]) -> str:
    """Names and values."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; without heads two columns, of names and texts."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(*heads, box=None, pad_edge=False, show_header=bool(heads), header_style="bold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    print_table(made)
