"""Answers to the page's questions. Methods block as long as the database takes; results are the page's JSON.

They raise DatabaseAwayError where the database does not answer, InputError where the question makes no sense.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import psycopg

from schemas.errors import InputError, SigmawatchError
from sinks.dashboard.shapes import (
    Json,
    anomaly_json,
    calm_band,
    chart_json,
    device_json,
    fleet_columns,
    fleet_state,
    ms,
    newest_times,
    quality_json,
)
from sinks.dashboard.sources import DashboardSources
from sinks.dashboard.warming import Warming, first_readings
from sinks.dashboard.watching import Injected, catch_of
from sinks.queries.anomalies import anomalies_touching, anomaly_page
from sinks.queries.devices import (
    LatestReading,
    all_devices,
    device_of,
    devices_version,
    is_unknown,
    latest_readings,
    open_anomalies,
)
from sinks.queries.query import Query
from sinks.queries.selection import Selection
from sinks.queries.series import Abilities, abilities_of, oldest, series_buckets
from sinks.queries.statistics import topic_statistics

MOST_METRICS = 24
"""Of one device's diagrams."""

_TOLD_OPEN = 1000  # devices of which the list says what is wrong, and not only how bad
_ON_DIAGRAM = 200  # episodes of one metric
_WATCHED = 50
_ABILITIES_SECONDS = 60.0  # `db maintain` may come to keep rollups meanwhile
_QUALITY_OF = timedelta(hours=1)

_LABELLED = """
SELECT min(time), max(time) FROM readings
WHERE device_id = %(device)s AND time >= %(since)s AND fault = %(fault)s
"""


@dataclass(frozen=True, slots=True)
class ChartQuestion:
    """A device's diagrams.

    Attributes:
        device_id: whose.
        span: their length; None for all that there is.
        end: their end; None for now.
        pixels: their width.
    """

    device_id: str
    span: timedelta | None
    end: datetime | None
    pixels: int


class DashboardData:
    """The questions. Safe for many threads, as long as `state` is asked by one at a time.

    Args:
        sources: where the answers come from.
    """

    def __init__(self, sources: DashboardSources) -> None:
        self._sources = sources
        self._warming = Warming(sources.warmup_readings)
        self._abilities: Abilities | None = None
        self._looked_at = 0.0

    def fleet(self) -> Json:
        """What seldom changes of all devices."""
        with self._sources.connection() as connection:
            version = _version(connection)
            return fleet_columns(all_devices(connection), version)

    def state(self) -> Json:
        """What often changes of all devices: open episodes, warm-up; and what the sink has stored."""
        with self._sources.connection() as connection:
            devices = [row[0] for row in Query("SELECT device_id FROM devices").rows(connection)]
            told = anomaly_page(connection, Selection(states=("OPENED",)), _TOLD_OPEN)
            return {
                "version": _version(connection),
                "warmup": self._sources.warmup_readings,
                "warming": self._warming.among(connection, devices),
                "topics": _topics(connection),
                "readings": self._sources.readings_topic,
                "now": ms(datetime.now(UTC)),
                **fleet_state(open_anomalies(connection), told.rows),
            }

    def latest(self, device_ids: Sequence[str]) -> Json:
        """Device -> time of its newest reading."""
        Selection(devices=tuple(device_ids))  # checks them
        with self._sources.connection() as connection:
            return {"newest": newest_times(latest_readings(connection, device_ids))}

    def device(self, device_id: str) -> Json:
        """A device, what it reads, and whether anything is known of it."""
        Selection(devices=(device_id,))
        with self._sources.connection() as connection:
            found = device_of(connection, device_id)
            if found is None and is_unknown(connection, device_id):
                return {"id": device_id, "known": False}
            units = {} if found is None else found.units
            latest = latest_readings(connection, [device_id])
            return {
                **device_json(device_id, found),
                "known": True,
                "metrics": [
                    {
                        "metric": one.metric,
                        "unit": units.get(one.metric, ""),
                        "value": one.value,
                        "time": ms(one.time),
                    }
                    for one in latest
                ],
            }

    def charts(self, asked: ChartQuestion) -> Json:
        """A device's diagrams, one a metric."""
        Selection(devices=(asked.device_id,))
        with self._sources.connection() as connection:
            latest = latest_readings(connection, [asked.device_id])[:MOST_METRICS]
            if not latest:
                return {"from": None, "to": None, "newest": None, "metrics": []}
            begin, end = _stretch(connection, asked, latest, self._known_abilities(connection))
            found = device_of(connection, asked.device_id)
            units = {} if found is None else found.units
            warming = first_readings(connection, [asked.device_id], self._sources.warmup_readings)
            readings = warming.get(asked.device_id, 0)
            is_warming = readings < self._sources.warmup_readings
            return {
                "from": ms(begin),
                "to": ms(end),
                "newest": max(ms(one.time) for one in latest),
                "warmup": self._sources.warmup_readings,
                "metrics": [
                    self._chart(
                        connection, asked, one.metric, units, begin, end, readings if is_warming else None
                    )
                    for one in latest
                ],
            }

    def anomalies(self, selection: Selection, limit: int, cursor: str | None) -> Json:
        """A page of episodes, newest first."""
        with self._sources.connection() as connection:
            page = anomaly_page(connection, selection, limit, cursor)
        return {"rows": [anomaly_json(row) for row in page.rows], "next": page.next}

    def watch(self, injected: Injected) -> Json:
        """How an injected fault is being caught."""
        Selection(devices=(injected.device_id,))
        # What its first reading says may be a moment before the command was answered.
        since = injected.began - timedelta(seconds=2)
        asked = {"device": injected.device_id, "fault": injected.fault, "since": since}
        with self._sources.connection() as connection:
            ((first, last),) = Query(_LABELLED, asked).rows(connection)
            selection = Selection(devices=(injected.device_id,), begin=since)
            rows = anomaly_page(connection, selection, _WATCHED).rows
            latest = latest_readings(connection, [injected.device_id])
        return {
            **catch_of(injected, first, last, rows),
            "newest": max((ms(one.time) for one in latest), default=None),
        }

    def pipeline(self) -> Json:
        """What the sink has stored, and what the processors say, or why they say nothing."""
        told, trouble = None, None
        if self._sources.pipeline is not None:
            try:
                told = asdict(self._sources.pipeline())
            except SigmawatchError as error:
                trouble = f"{error.message}. {error.remedy or ''}".strip()
        with self._sources.connection() as connection:
            topics = _topics(connection)
        return {"topics": topics, "processors": told, "trouble": trouble, "now": ms(datetime.now(UTC))}

    def quality(self) -> Json:
        """Detection against ground truth, in the last hour.

        Raises:
            SigmawatchError: there is no ground truth, or nothing to compare.
        """
        if self._sources.quality is None:
            raise InputError(
                "nothing here measures the quality of detection",
                "Run `sigmawatch evaluate run`, or the dashboard by `sigmawatch up`.",
            )
        return quality_json(self._sources.quality(_QUALITY_OF))

    def _chart(
        self,
        connection: psycopg.Connection,
        asked: ChartQuestion,
        metric: str,
        units: dict[str, str],
        begin: datetime,
        end: datetime,
        warming: int | None,
    ) -> Json:
        device, abilities = asked.device_id, self._known_abilities(connection)
        buckets = series_buckets(connection, device, metric, begin, end, asked.pixels, abilities)
        rows = anomalies_touching(connection, device, metric, begin, end, _ON_DIAGRAM)
        band = calm_band(buckets, rows)
        return chart_json(metric, units.get(metric, ""), buckets, band, rows, warming)

    def _known_abilities(self, connection: psycopg.Connection) -> Abilities:
        if self._abilities is None or monotonic() - self._looked_at > _ABILITIES_SECONDS:
            self._abilities, self._looked_at = abilities_of(connection), monotonic()
        return self._abilities


def end_of(newest: datetime, now: datetime, span: timedelta) -> datetime:
    """Where a live diagram ends: a device that has fallen silent moves out of it, and replayed history stays in it."""
    return now if newest <= now <= newest + span else newest + timedelta(milliseconds=1)


def _stretch(
    connection: psycopg.Connection,
    asked: ChartQuestion,
    latest: Sequence[LatestReading],
    abilities: Abilities,
) -> tuple[datetime, datetime]:
    newest = max(one.time for one in latest)
    if asked.span is not None:
        end = asked.end or end_of(newest, datetime.now(UTC), asked.span)
        return end - asked.span, end
    firsts = [oldest(connection, asked.device_id, one.metric, abilities) for one in latest]
    return min(filter(None, firsts), default=newest), newest + timedelta(milliseconds=1)


def _version(connection: psycopg.Connection) -> str:
    count, changed = devices_version(connection)
    return f"{count}-{changed.isoformat() if changed else ''}"


def _topics(connection: psycopg.Connection) -> list[dict[str, Any]]:
    return [{**asdict(topic), "moved_at": ms(topic.moved_at)} for topic in topic_statistics(connection)]


__all__ = ["MOST_METRICS", "ChartQuestion", "DashboardData", "end_of"]
