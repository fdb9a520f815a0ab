"""What is asked for: by device, type, place, metric, time, kind, severity, state. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from schemas.errors import InputError
from schemas.readings import AnomalySeverity, AnomalyState

MOST_NAMES = 1000
"""Of one field of a selection."""

LONGEST_NAME = 1000
"""Characters of a name that is asked for."""

LARGEST_PAGE = 10_000
"""Rows of one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Each field that is not empty narrows the answer; several values of one field widen it again.

    Attributes:
        devices: ids.
        types, places: of devices, as their descriptions say (`devices.type`, `devices.location`).
        metrics: names.
        kinds: of anomalies.
        severities: of anomalies: INFO, WARNING, CRITICAL.
        states: of anomalies: OPENED, CLEARED.
        search: text that is in a device's id, name, type or place, whatever its case.
        begin, end: begin <= time < end, aware; of anomalies it is the time they opened.

    Raises:
        InputError: nothing in the database can be so: too many or too long names, a zero byte, times in no order.
    """

    devices: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    search: str = ""
    begin: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        for name, text in self._texts():
            check_text(name, text)
        _check_known("severity", self.severities, AnomalySeverity)
        _check_known("state", self.states, AnomalyState)
        for name in ("begin", "end"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise InputError(f"{name} has no time zone", "Write it as 2026-03-01T12:00:00Z.")
        if self.begin is not None and self.end is not None and self.begin >= self.end:
            raise InputError("the stretch of time ends before it begins", "Let `from` be before `to`.")

    def _texts(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                yield field.name, value
            elif isinstance(value, tuple):
                if len(value) > MOST_NAMES:
                    raise InputError(f"more than {MOST_NAMES} {field.name}", "Ask for fewer at once.")
                for text in value:
                    yield field.name, text


def check_text(name: str, text: str) -> str:
    """A name that PostgreSQL can compare.

    Raises:
        InputError: it is too long, or has a zero byte or half a surrogate pair.
    """
    if len(text) > LONGEST_NAME:
        raise InputError(f"a text in {name} is longer than {LONGEST_NAME} characters")
    if "\0" in text:
        raise InputError(f"a text in {name} has a zero byte")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"a text in {name} has half a surrogate pair") from None
    return text


def check_limit(limit: int) -> int:
    """A page's size.

    Raises:
        InputError: it is below 1 or beyond `LARGEST_PAGE`.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise InputError(
            f"limit is {limit}", f"Ask for 1 to {LARGEST_PAGE} rows; a cursor gives the next ones."
        )
    return limit


def _check_known(
    name: str, values: tuple[str, ...], known: type[AnomalySeverity] | type[AnomalyState]
) -> None:
    for value in values:
        if value not in tuple(known):
            raise InputError(f"{value[:50]!r} is no {name}", f"There are {', '.join(known)}.")


Conditions = tuple[list[str], dict[str, object]]
"""Parts of a WHERE clause, and their parameters."""


def device_conditions(selection: Selection) -> Conditions:
    """Conditions on a row `d` of `devices`."""
    parts, values = _one_of(
        {"d.device_id": selection.devices, "d.type": selection.types, "d.location": selection.places}
    )
    if selection.search:
        parts.append(
            "(d.device_id ILIKE %(search)s OR d.name ILIKE %(search)s OR d.type ILIKE %(search)s"
            " OR d.location ILIKE %(search)s)"
        )
        values["search"] = f"%{escaped(selection.search)}%"
    return parts, values


def anomaly_conditions(selection: Selection) -> Conditions:
    """Conditions on a row `a` of `anomalies`, with `d` its device or nulls."""
    parts, values = _one_of(
        {
            "a.device_id": selection.devices,
            "a.metric": selection.metrics,
            "a.kind": selection.kinds,
            "a.severity": selection.severities,
            "a.state": selection.states,
            "d.type": selection.types,
            "d.location": selection.places,
        }
    )
    if selection.search:
        parts.append(
            "(a.device_id ILIKE %(search)s OR d.name ILIKE %(search)s OR d.type ILIKE %(search)s"
            " OR d.location ILIKE %(search)s)"
        )
        values["search"] = f"%{escaped(selection.search)}%"
    _between(selection, "a.opened_at", parts, values)
    return parts, values


def reading_conditions(selection: Selection) -> Conditions:
    """Conditions on a row `r` of `readings`; type, place and search by a look at `devices`."""
    parts, values = _one_of({"r.device_id": selection.devices, "r.metric": selection.metrics})
    if selection.types or selection.places or selection.search:
        narrow = Selection(types=selection.types, places=selection.places, search=selection.search)
        of_device, more = device_conditions(narrow)
        among = f"SELECT d.device_id FROM devices AS d {where(of_device)}"  # noqa: S608 - values are parameters
        parts.append(f"r.device_id IN ({among})")
        values |= more
    _between(selection, "r.time", parts, values)
    return parts, values


def where(parts: list[str]) -> str:
    """The clause, empty without conditions."""
    return f"WHERE {' AND '.join(parts)}" if parts else ""


def escaped(text: str) -> str:
    """A text as LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _one_of(wanted: dict[str, tuple[str, ...]]) -> Conditions:
    parts, values = [], {}
    for column, names in wanted.items():
        if names:
            key = column.replace(".", "_")
            # One value by "=": the planner knows then that the index is in the order of what follows.
            parts.append(f"{column} = %({key})s" if len(names) == 1 else f"{column} = ANY (%({key})s)")
            values[key] = names[0] if len(names) == 1 else list(names)
    return parts, dict[str, object](values)


def _between(selection: Selection, column: str, parts: list[str], values: dict[str, object]) -> None:
    if selection.begin is not None:
        parts.append(f"{column} >= %(begin)s")
        values["begin"] = selection.begin
    if selection.end is not None:
        parts.append(f"{column} < %(end)s")
        values["end"] = selection.end
