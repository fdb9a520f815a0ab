"""How the rows of each kind are stored. Each `store` runs in the caller's savepoint and counts exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from schemas.columns import ReadingColumns
from schemas.failpoints import fail_point
from schemas.readings import Anomaly, Device
from schemas.times import to_datetime
from sinks.logs import Counts
from sinks.timescale.copy_format import COPY_COLUMNS, encode_rows

_READING_COLUMNS = ", ".join(COPY_COLUMNS)
_COPY = f"COPY readings ({_READING_COLUMNS}) FROM STDIN (FORMAT binary)"
# Only for batches that hit the key. Dropped with the transaction, so that it also works through a connection pooler.
_STAGE = f"""CREATE TEMPORARY TABLE IF NOT EXISTS sigmawatch_staging ON COMMIT DROP
AS SELECT {_READING_COLUMNS} FROM readings WITH NO DATA"""  # noqa: S608
_COPY_STAGE = f"COPY sigmawatch_staging ({_READING_COLUMNS}) FROM STDIN (FORMAT binary)"
_MERGE = f"""INSERT INTO readings ({_READING_COLUMNS}) SELECT {_READING_COLUMNS} FROM sigmawatch_staging
ON CONFLICT (device_id, metric, time) DO NOTHING"""  # noqa: S608

_ANOMALY_COLUMNS = (
    "anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score, mean, std, lower, upper, "
    "readings, fault, detected_at, severity, channel, expected, reason, storm_id"
)
_INSERT_ANOMALY = f"""INSERT INTO anomalies ({_ANOMALY_COLUMNS})
VALUES ({", ".join(f"%({name})s" for name in _ANOMALY_COLUMNS.split(", "))})
ON CONFLICT (anomaly_id, opened_at) DO NOTHING"""  # noqa: S608
# An episode only goes forward: it gathers readings, then it is cleared, once. It may join a storm, and does not leave it.
_UPDATE_ANOMALY = """UPDATE anomalies
SET kind = %(kind)s, state = %(state)s, cleared_at = %(cleared_at)s, value = %(value)s, score = %(score)s,
    mean = %(mean)s, std = %(std)s, lower = %(lower)s, upper = %(upper)s, readings = %(readings)s, fault = %(fault)s,
    severity = %(severity)s, channel = %(channel)s, expected = %(expected)s, reason = %(reason)s,
    storm_id = coalesce(%(storm_id)s, storm_id)
WHERE anomaly_id = %(anomaly_id)s AND opened_at = %(opened_at)s AND state = 'OPENED'
  AND (%(state)s = 'CLEARED' OR %(readings)s > readings)"""

_DEVICE_COLUMNS = (
    "device_id, type, name, location, latitude, longitude, timezone, manufacturer, model, firmware, serial_number, "
    "units, attributes"
)
_DEVICE_VALUES = ", ".join(f"%({name})s" for name in _DEVICE_COLUMNS.split(", "))
_INSERT_DEVICE = f"""INSERT INTO devices ({_DEVICE_COLUMNS}) VALUES ({_DEVICE_VALUES})
ON CONFLICT (device_id) DO NOTHING"""  # noqa: S608
_UPDATE_DEVICE = f"""UPDATE devices SET ({_DEVICE_COLUMNS}, changed_at) = ({_DEVICE_VALUES}, clock_timestamp())
WHERE device_id = %(device_id)s AND ({_DEVICE_COLUMNS}) IS DISTINCT FROM ({_DEVICE_VALUES})"""  # noqa: S608
_DELETE_DEVICE = "DELETE FROM devices WHERE device_id = ANY(%s)"


class Rows(Protocol):
    """Rows of one log on their way into a table; `messages` are their indexes in the batch they came from."""

    @property
    def messages(self) -> Sequence[int] | NDArray[np.int64]:
        """(n,) ascending."""
        ...

    def __len__(self) -> int: ...

    def split(self) -> tuple[Self, Self]:
        """Earlier and later half; neither is empty when there are two or more."""
        ...

    def store(self, connection: psycopg.Connection, *, staged: bool) -> Counts:
        """Write them within the caller's transaction and count what came of them.

        Args:
            connection: in a transaction.
            staged: allow for keys that are in the table already. Without it such a key is a UniqueViolation.

        Raises:
            psycopg.Error: an outage or a refused row; the caller's savepoint undoes all of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadingRows:
    """Rows of `readings`: binary COPY straight into the table, through a staging table where a key repeats.

    `messages` must not hold a key twice (`plan.first_of_each_key`).
    """

    columns: ReadingColumns
    messages: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.messages)

    def split(self) -> tuple[Self, Self]:
        """Earlier and later half."""
        middle = len(self.messages) // 2
        kind = type(self)
        return kind(self.columns, self.messages[:middle]), kind(self.columns, self.messages[middle:])

    def store(self, connection: psycopg.Connection, *, staged: bool) -> Counts:
        """As `Rows.store`; duplicates are rows whose key was in the table."""
        stream = encode_rows(self.columns, self.messages)
        if not staged:
            self._copy(connection, _COPY, stream)
            fail_point("sink.after_copy")
            return Counts(stored=len(self.messages))
        connection.execute(_STAGE)
        self._copy(connection, _COPY_STAGE, stream)
        stored = connection.execute(_MERGE).rowcount
        connection.execute("TRUNCATE sigmawatch_staging")
        fail_point("sink.after_staging")
        return Counts(stored=stored, duplicates=len(self.messages) - stored)

    @staticmethod
    def _copy(connection: psycopg.Connection, statement: str, stream: NDArray[np.uint8]) -> None:
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(stream.data)


@dataclass(frozen=True, slots=True)
class AnomalyRows:
    """Rows of `anomalies`, one an episode: a repeat changes nothing, OPENED never overwrites CLEARED."""

    anomalies: Sequence[Anomaly]
    messages: Sequence[int]

    def __len__(self) -> int:
        return len(self.messages)

    def split(self) -> tuple[Self, Self]:
        """Earlier and later half."""
        middle = len(self.messages) // 2
        kind = type(self)
        return (
            kind(self.anomalies[:middle], self.messages[:middle]),
            kind(self.anomalies[middle:], self.messages[middle:]),
        )

    def store(self, connection: psycopg.Connection, *, staged: bool) -> Counts:  # noqa: ARG002
        """As `Rows.store`; stored are new episodes, updated are episodes that went on or were cleared."""
        values = [anomaly_values(anomaly) for anomaly in self.anomalies]
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT_ANOMALY.encode(), values)
            stored = cursor.rowcount
            cursor.executemany(_UPDATE_ANOMALY.encode(), values)
            updated = cursor.rowcount
        fail_point("sink.after_anomalies")
        return Counts(stored, updated, len(values) - stored - updated)


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Rows of `devices`: the last message of a device says what it is, None that it is no more."""

    device_ids: Sequence[str]
    devices: Sequence[Device | None]
    messages: Sequence[int]

    def __len__(self) -> int:
        return len(self.messages)

    def split(self) -> tuple[Self, Self]:
        """Earlier and later half."""
        middle = len(self.messages) // 2
        kind = type(self)
        return (
            kind(self.device_ids[:middle], self.devices[:middle], self.messages[:middle]),
            kind(self.device_ids[middle:], self.devices[middle:], self.messages[middle:]),
        )

    def store(self, connection: psycopg.Connection, *, staged: bool) -> Counts:  # noqa: ARG002
        """As `Rows.store`; a message that a later one of the batch overtook counts as a duplicate."""
        newest = dict(zip(self.device_ids, self.devices, strict=True))
        values = [device_values(device) for device in newest.values() if device is not None]
        gone = [device_id for device_id, device in newest.items() if device is None]
        stored = updated = 0
        with connection.cursor() as cursor:
            if values:
                cursor.executemany(_INSERT_DEVICE.encode(), values)
                stored = cursor.rowcount
                cursor.executemany(_UPDATE_DEVICE.encode(), values)
                updated = cursor.rowcount
            if gone:
                updated += cursor.execute(_DELETE_DEVICE, (gone,)).rowcount
        fail_point("sink.after_devices")
        return Counts(stored, updated, len(self) - stored - updated)


def anomaly_values(anomaly: Anomaly) -> dict[str, object]:
    """Column -> value of an anomaly's row.

    Raises:
        OverflowError: a time before year 1 or after year 9999.
    """
    return {
        "anomaly_id": anomaly.anomaly_id,
        "device_id": anomaly.device_id,
        "metric": anomaly.metric,
        "kind": anomaly.kind,
        "state": str(anomaly.state),
        "opened_at": to_datetime(anomaly.opened_at),
        "cleared_at": None if anomaly.cleared_at is None else to_datetime(anomaly.cleared_at),
        "value": anomaly.value,
        "score": anomaly.score,
        "mean": anomaly.mean,
        "std": anomaly.std,
        "lower": anomaly.lower,
        "upper": anomaly.upper,
        "readings": anomaly.readings,
        "fault": anomaly.fault,
        "detected_at": to_datetime(anomaly.detected_at),
        "severity": str(anomaly.severity),
        "channel": anomaly.channel,
        "expected": anomaly.expected,
        "reason": anomaly.reason,
        "storm_id": anomaly.storm_id,
    }


def device_values(device: Device) -> dict[str, object]:
    """Column -> value of a device's row."""
    place = device.location
    return {
        "device_id": device.device_id,
        "type": device.type,
        "name": device.name,
        "location": place.name if place else None,
        "latitude": place.latitude if place else None,
        "longitude": place.longitude if place else None,
        "timezone": place.timezone if place else None,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "firmware": device.firmware,
        "serial_number": device.serial_number,
        "units": Jsonb(device.units),
        "attributes": Jsonb(device.attributes),
    }
