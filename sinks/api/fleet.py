"""The devices as they are now: descriptions and open anomalies from the database, newest readings from there and from Kafka.

Kept in memory, as a dashboard asks for thousands of devices every few seconds: the database is asked for what changed
only. Without Kafka the newest readings come from the database alone, seldom.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from schemas.errors import SigmawatchError
from schemas.readings import Reading
from schemas.times import EPOCH, to_datetime
from sinks.queries.connection import Readers
from sinks.queries.devices import (
    DeviceRow,
    LatestReading,
    OpenAnomalies,
    all_devices,
    devices_version,
    latest_readings,
    open_anomalies,
)
from sinks.queries.selection import Selection

_LOG = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0
"""Between two looks at open anomalies and changed descriptions: the age that a page may have."""

_READINGS_SECONDS = 60.0
"""Between two questions for the newest readings of all devices, of which Kafka tells sooner."""

_SHARE = 10
"""The newest readings of all are asked for a tenth of the time at most, however long that takes."""

_SNAPSHOT_AGE = timedelta(seconds=1)

_BATCH = 500  # devices of one such question: the pool's connection is free for others in between

SILENT_AFTER = timedelta(minutes=5)
"""A device without a reading for so long is silent; whether that is an anomaly the processors say (a gap)."""

NO_ANOMALIES = OpenAnomalies()
STATES = ("critical", "warning", "info", "silent", "unseen", "quiet")
"""Of a device, the worst first: its worst open anomaly; no reading for long; none ever; all well."""


@dataclass(frozen=True, slots=True)
class FleetDevice:
    """A device as it is now; `description` is None where it sends and was never described."""

    device_id: str
    description: DeviceRow | None
    latest: Mapping[str, LatestReading]
    open: OpenAnomalies
    last_seen: datetime | None
    state: str


@dataclass(slots=True)
class _Known:
    described: dict[str, DeviceRow] = field(default_factory=dict)
    latest: dict[str, dict[str, LatestReading]] = field(default_factory=dict)
    open: dict[str, OpenAnomalies] = field(default_factory=dict)


class Fleet:
    """Looks at the database from a thread of its own, between `start` and `stop`.

    Args:
        readers: connections to the database.
        silent_after: see `SILENT_AFTER`.
    """

    def __init__(self, readers: Readers, silent_after: timedelta = SILENT_AFTER) -> None:
        self._readers = readers
        self._silent_after = silent_after
        self._known = _Known()
        self._version: tuple[int, datetime | None] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_readings = 0.0
        self._snapshot: tuple[datetime, list[FleetDevice]] = (EPOCH, [])
        self.ready = threading.Event()
        """Set once the devices are known."""
        self.trouble: str | None = "the database has not been asked yet"
        """Why the database could not be asked lately."""

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; blocks for a question under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def take(self, readings: Iterable[Reading]) -> None:
        """Readings that came just now; from any thread."""
        with self._lock:
            latest = self._known.latest
            for reading in readings:
                series = latest.setdefault(reading.device_id, {})
                known = series.get(reading.metric)
                when = to_datetime(reading.time) if _MIN <= reading.time <= _MAX else None
                if when is not None and (known is None or known.time <= when):
                    series[reading.metric] = LatestReading(
                        reading.device_id, reading.metric, when, reading.value
                    )

    def devices(self, selection: Selection | None = None, now: datetime | None = None) -> list[FleetDevice]:
        """The devices that a selection asks for (ids, types, places, search), by id."""
        everything = self._now_or_just_before(now or datetime.now(UTC))
        return list(everything) if selection is None else _wanted(selection, everything)

    def device(self, device_id: str, now: datetime | None = None) -> FleetDevice | None:
        """One device."""
        with self._lock:
            known = self._known
            if (
                device_id not in known.described
                and device_id not in known.latest
                and device_id not in known.open
            ):
                return None
            return self._device(device_id, now or datetime.now(UTC))

    def look(self) -> None:
        """Ask the database for what changed; blocks.

        Raises:
            DatabaseAwayError: it does not answer.
        """
        with self._readers.connection() as connection:
            version = devices_version(connection)
            described = None
            if version != self._version:
                described = {row.device_id: row for row in all_devices(connection)}
            opened = open_anomalies(connection)
        with self._lock:
            self._known.open = opened
            if described is not None:
                gone = self._known.described.keys() - described.keys()
                self._known.described = described
                for device_id in gone:  # deleted: what it sends from now on brings it back
                    self._known.latest.pop(device_id, None)
        self._version = version
        self.trouble = None
        self.ready.set()

    def look_for_readings(self) -> None:
        """Ask for the newest readings of all devices; blocks, some seconds with many thousands.

        Raises:
            DatabaseAwayError: it does not answer.
        """
        with self._lock:
            names = sorted({*self._known.described, *self._known.latest, *self._known.open})
        for start in range(0, len(names), _BATCH):
            with self._readers.connection() as connection:
                self._take_latest(latest_readings(connection, names[start : start + _BATCH]))
            if self._stop.is_set():
                return

    def _take_latest(self, found: Sequence[LatestReading]) -> None:
        with self._lock:
            for one in found:
                series = self._known.latest.setdefault(one.device_id, {})
                known = series.get(one.metric)
                if known is None or known.time < one.time:
                    series[one.metric] = one

    def _now_or_just_before(self, now: datetime) -> Sequence[FleetDevice]:
        """All devices; several who ask within a second get the same."""
        with self._lock:
            at, found = self._snapshot
            if not found or abs(now - at) > _SNAPSHOT_AGE:
                known = self._known
                names = sorted({*known.described, *known.latest, *known.open})
                found = [self._device(name, now) for name in names]
                self._snapshot = now, found
            return found

    def _device(self, device_id: str, now: datetime) -> FleetDevice:
        known = self._known
        latest = dict(known.latest.get(device_id, ()))
        opened = known.open.get(device_id, NO_ANOMALIES)
        last = max((one.time for one in latest.values()), default=None)
        state = _state(opened, last, now - self._silent_after)
        return FleetDevice(device_id, known.described.get(device_id), latest, opened, last, state)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
                if time.monotonic() >= self._next_readings:
                    began = time.monotonic()
                    self.look_for_readings()
                    took = time.monotonic() - began
                    self._next_readings = began + max(_READINGS_SECONDS, _SHARE * took)
            except SigmawatchError as error:
                self._complain(str(error))
            except Exception:  # noqa: BLE001 - the thread must outlive what it meets
                _LOG.exception("the devices cannot be looked at")
                self._complain("a fault of ours; the log has the particulars")
            self._stop.wait(_LOOK_SECONDS)

    def _complain(self, reason: str) -> None:
        if self.trouble is None or not self.ready.is_set():
            _LOG.warning("the database cannot be asked now", reason=reason)
        self.trouble = reason


_MIN = -62_135_596_800_000_000
_MAX = 253_402_300_799_000_000


def _state(opened: OpenAnomalies, last: datetime | None, silent_before: datetime) -> str:
    worst = opened.worst
    if worst is not None:
        return worst.lower()
    if last is None:
        return "unseen"
    return "silent" if last < silent_before else "quiet"


def _wanted(selection: Selection, everything: Sequence[FleetDevice]) -> list[FleetDevice]:
    text = selection.search.casefold()
    devices = frozenset(selection.devices)
    types, places = frozenset(selection.types), frozenset(selection.places)

    def fits(one: FleetDevice) -> bool:
        row = one.description
        if devices and one.device_id not in devices:
            return False
        if (types and (row is None or row.type not in types)) or (
            places and (row is None or row.place not in places)
        ):
            return False
        if not text or text in one.device_id.casefold():
            return True
        return row is not None and any(
            text in (part or "").casefold() for part in (row.name, row.type, row.place)
        )

    return [one for one in everything if fits(one)]
