"""Stored readings and anomalies for `sigmawatch read`: the newest rows, those that come, how they look."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from rich.text import Text

from deploy.showing import SEVERITY_STYLES
from sinks.queries.anomalies import AnomalyRow, anomaly_page
from sinks.queries.readings import ReadingRow, reading_page
from sinks.queries.selection import Selection

AT_ONCE = 10_000
"""Rows of one look at most."""

LATE = timedelta(minutes=1)
"""A row comes into the database some time after its event. So far back is looked each time, and what was shown left out."""

_PAUSE_SECONDS = 1.0
_REMEMBERED = 200_000

Row = ReadingRow | AnomalyRow
Page = Callable[[Selection, int], Sequence[Row]]


def rows_as_they_come(
    page: Page,
    selection: Selection,
    limit: int,
    stop: threading.Event | None,
    look_back: timedelta | None = LATE,
) -> Iterator[Row]:
    """The newest rows in the order of time, then, unless `stop` is None, those that come until it is set.

    Args:
        page: gives the newest rows of a selection, the newest first.
        selection: which.
        limit: how many of those that are there.
        stop: ends the waiting.
        look_back: how long after others of its time a row may come and still be shown; None looks at all of the newest
            ten thousand, for rows that change.
    """
    there = page(selection, limit if stop is None else AT_ONCE)
    yield from reversed(there[:limit])
    if stop is None:
        return
    last = time_of(there[0]) if there else selection.begin
    shown = OrderedDict((key_of(row), None) for row in there)
    while not stop.wait(_PAUSE_SECONDS):
        for row in reversed(page(_from(selection, last, look_back), AT_ONCE)):
            if key_of(row) not in shown:
                shown[key_of(row)] = None
                last = time_of(row) if last is None else max(last, time_of(row))
                yield row
        while len(shown) > _REMEMBERED:
            shown.popitem(last=False)


def _from(selection: Selection, last: datetime | None, look_back: timedelta | None) -> Selection:
    """The selection, from a little before the last row on."""
    if last is None or look_back is None:
        return selection
    begin = min(last, datetime.now(UTC)) - look_back  # the clock of a device may be ahead
    return replace(selection, begin=begin if selection.begin is None else max(begin, selection.begin))


def key_of(row: Row) -> tuple[Any, ...]:
    """What makes a row another one: an anomaly that went on or was cleared is shown again."""
    if isinstance(row, ReadingRow):
        return row.device_id, row.metric, row.time
    return row.anomaly_id, row.state, row.readings


def time_of(row: Row) -> datetime:
    """The time that rows are in the order of."""
    return row.time if isinstance(row, ReadingRow) else row.opened_at


def json_of(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {field.name: _plain(getattr(row, field.name)) for field in fields(row)}


def printable(text: str) -> str:
    """Text from a message, without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def line_of(row: Row) -> Text:
    """A row for people."""
    time = f"{time_of(row):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    if isinstance(row, ReadingRow):
        fault = f"  {row.fault}" if row.fault else ""
        return Text.assemble(
            (time, "dim"),
            f"  {printable(row.device_id)}  {printable(row.metric)}  ",
            (f"{row.value:g}", "bold"),
            printable(fault),
        )
    style = SEVERITY_STYLES.get(row.severity, "")
    return Text.assemble(
        (time, "dim"),
        "  ",
        (f"{row.state:<7}", "bold"),
        "  ",
        (f"{row.severity:<8}", style),
        printable(f"  {row.device_id}  {row.metric}  {row.kind}  {row.reason}"),
    )


def page_of(connection: psycopg.Connection, *, anomalies: bool) -> Page:
    """What gives the newest rows of a selection, the newest first."""

    def page(selection: Selection, limit: int) -> Sequence[Row]:
        if anomalies:
            return anomaly_page(connection, selection, limit).rows
        return reading_page(connection, selection, limit).rows

    return page


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
