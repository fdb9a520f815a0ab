"""Which episode a reading belongs to: two streams in the order of series and time, merged. Pure but for the query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sinks.queries.query import Query
from sinks.queries.selection import Selection, anomaly_conditions, where

_EPISODES = """SELECT a.device_id, a.metric, a.opened_at, a.cleared_at, a.anomaly_id, a.kind
FROM anomalies AS a LEFT JOIN devices AS d ON d.device_id = a.device_id"""

NO_LABEL = (None, None)

Label = tuple[str | None, str | None]
"""anomaly_id and kind of the episode, None and None where the reading is in none."""


class Episode(NamedTuple):
    """Of a series; `cleared_at` is the time of the reading that ended it, which is not part of it; None while it is open."""

    device_id: str
    metric: str
    opened_at: datetime
    cleared_at: datetime | None
    anomaly_id: UUID
    kind: str


def episodes_query(selection: Selection) -> Query:
    """The episodes of a selection's series that touch its stretch of time, in the order of series and opening."""
    narrow = replace(selection, begin=None, end=None, kinds=(), severities=(), states=())
    parts, values = anomaly_conditions(narrow)
    if selection.begin is not None:
        parts.append("(a.cleared_at IS NULL OR a.cleared_at > %(begin)s)")
        values["begin"] = selection.begin
    if selection.end is not None:
        parts.append("a.opened_at < %(end)s")
        values["end"] = selection.end
    return Query(
        f"{_EPISODES} {where(parts)} ORDER BY a.device_id, a.metric, a.opened_at, a.anomaly_id", values
    )


@dataclass(slots=True)
class _Series:
    name: tuple[str, str] | None = None
    coming: list[Episode] | None = None
    open: list[Episode] | None = None


class Labeller:
    """Labels readings that come in the order of series, then time; keeps the episodes of one series alone.

    Of several episodes at once, it is the one that opened first.

    Args:
        episodes: in blocks, as `episodes_query` orders them.
    """

    def __init__(self, episodes: Iterator[Sequence[tuple[Any, ...]]]) -> None:
        self._rows = (Episode(*row) for block in episodes for row in block)
        self._next = next(self._rows, None)
        self._series = _Series()

    def labels(self, rows: Sequence[tuple[Any, ...]]) -> list[Label]:
        """A label for each of some readings, which begin (device_id, metric, time, ...)."""
        series, labels = self._series, list[Label]()
        for device_id, metric, time, *_ in rows:
            if series.name != (device_id, metric):
                self._begin((device_id, metric))
            labels.append(self._label(time) if series.coming or series.open else NO_LABEL)
        return labels

    def _begin(self, name: tuple[str, str]) -> None:
        """Take the episodes of a series, and leave those of series before it, which have no readings."""
        coming: list[Episode] = []
        # Both the database's collation "C" and Python compare by code points.
        while self._next is not None and self._next[:2] <= name:
            if self._next[:2] == name:
                coming.append(self._next)
            self._next = next(self._rows, None)
        coming.reverse()
        self._series.name, self._series.coming, self._series.open = name, coming, []

    def _label(self, time: datetime) -> Label:
        coming, opened = self._series.coming or [], self._series.open or []
        while coming and coming[-1].opened_at <= time:
            opened.append(coming.pop())
        opened[:] = [one for one in opened if one.cleared_at is None or time < one.cleared_at]
        self._series.open = opened
        return (str(opened[0].anomaly_id), opened[0].kind) if opened else NO_LABEL
