"""Rows as the page's JSON. Pure; times are ms since 1970 UTC, numbers that are none are null."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.dashboard.sources import QualityFigures
from sinks.queries.anomalies import AnomalyRow
from sinks.queries.band import Band, expected_band
from sinks.queries.devices import DeviceRow, LatestReading, OpenAnomalies
from sinks.queries.series import Buckets

Json = dict[str, Any]


def ms(time: datetime) -> int:
    """An aware time as ms since 1970 UTC."""
    return round(time.timestamp() * 1000)


def number(value: float | None) -> float | None:
    """A number, None in place of NaN and infinities: JSON has neither."""
    return value if value is not None and math.isfinite(value) else None


def numbers(values: NDArray[np.float64]) -> list[float | None]:
    """(n,) numbers."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def fleet_columns(devices: Sequence[DeviceRow], version: str) -> Json:
    """What seldom changes of all devices, as columns: 10,000 devices are half a megabyte, packed a tenth of it."""
    return {
        "version": version,
        "id": [device.device_id for device in devices],
        "name": [device.name for device in devices],
        "type": [device.type for device in devices],
        "place": [device.place or "" for device in devices],
    }


def fleet_state(open_: Mapping[str, OpenAnomalies], newest: Iterable[AnomalyRow]) -> Json:
    """Device -> its open episodes by severity, and the newest of them; only devices that have some."""
    told: Json = {}
    for row in newest:
        told.setdefault(row.device_id, [row.kind, row.metric, row.severity, ms(row.opened_at)])
    return {
        "open": {
            device: [counts.critical, counts.warning, counts.info, *told.get(device, ())]
            for device, counts in open_.items()
        }
    }


def newest_times(latest: Iterable[LatestReading]) -> dict[str, int]:
    """Device -> time of its newest reading."""
    times: dict[str, int] = {}
    for reading in latest:
        times[reading.device_id] = max(times.get(reading.device_id, 0), ms(reading.time))
    return times


def device_json(device_id: str, device: DeviceRow | None) -> Json:
    """A device's description; of one that was never described its id alone."""
    if device is None:
        return {"id": device_id, "described": False, "name": "", "type": "", "place": "", "more": []}
    more = [
        ("Manufacturer", device.manufacturer),
        ("Model", device.model),
        ("Firmware", device.firmware),
        ("Serial number", device.serial_number),
        ("Time zone", device.timezone),
        *device.attributes.items(),
    ]
    return {
        "id": device_id,
        "described": True,
        "name": device.name,
        "type": device.type,
        "place": device.place or "",
        "more": [[name, value] for name, value in more if value],
    }


def anomaly_json(row: AnomalyRow) -> Json:
    """An episode."""
    return {
        "id": str(row.anomaly_id),
        "device": row.device_id,
        "name": row.device_name or "",
        "type": row.device_type or "",
        "place": row.place or "",
        "metric": row.metric,
        "unit": row.unit or "",
        "kind": row.kind,
        "severity": row.severity,
        "open": row.state == "OPENED",
        "opened": ms(row.opened_at),
        "cleared": None if row.cleared_at is None else ms(row.cleared_at),
        "value": number(row.value),
        "expected": number(row.expected),
        "lower": number(row.lower),
        "upper": number(row.upper),
        "score": number(row.score),
        "readings": row.readings,
        "channel": row.channel,
        "reason": row.reason,
        "fault": row.fault,
    }


def chart_json(
    metric: str, unit: str, buckets: Buckets, band: Band, anomalies: Sequence[AnomalyRow], warming: int | None
) -> Json:
    """One metric's diagram: the line, what was expected, episodes, and where readings say that they have a fault.

    Args:
        metric, unit: whose.
        buckets: n of them; single readings have no extent, and low and high are left out.
        band: of the same n.
        anomalies: that touch the stretch.
        warming: readings of the series so far, None where the warm-up is over.
    """
    times = [ms(time) for time in buckets.time]
    width_ms = buckets.width // timedelta(milliseconds=1)
    chart: Json = {
        "metric": metric,
        "unit": unit,
        "width": width_ms,
        "readings": int(buckets.count.sum()),
        "t": times,
        "mean": numbers(buckets.mean),
        "expected": numbers(band.expected),
        "lower": numbers(band.lower),
        "upper": numbers(band.upper),
        "faults": labelled_runs(times, buckets.labelled > 0, width_ms),
        "anomalies": [anomaly_json(row) for row in anomalies],
        "warming": warming,
    }
    if width_ms:
        chart |= {"low": numbers(buckets.low), "high": numbers(buckets.high)}
    return chart


def calm_buckets(buckets: Buckets, anomalies: Sequence[AnomalyRow]) -> NDArray[np.bool_]:
    """(n,) whether each bucket is outside of all episodes: what is expected is learnt from those."""
    times = np.array([time.timestamp() for time in buckets.time])
    calm = np.ones(len(times), np.bool_)
    for row in anomalies:
        end = math.inf if row.cleared_at is None else row.cleared_at.timestamp()
        calm &= (times + buckets.width.total_seconds() < row.opened_at.timestamp()) | (times > end)
    return calm


def calm_band(buckets: Buckets, anomalies: Sequence[AnomalyRow]) -> Band:
    """The expected band of n buckets; an episode's own readings do not widen it."""
    calm = calm_buckets(buckets, anomalies)
    mean, low, high = (np.where(calm, values, np.nan) for values in (buckets.mean, buckets.low, buckets.high))
    return expected_band(mean, low, high)


def labelled_runs(times: Sequence[int], labelled: NDArray[np.bool_], width_ms: int) -> list[list[int]]:
    """[[begin, end], ...] of the runs of buckets that have a fault as ground truth, ms.

    A run ends with its last bucket; where each bucket is one reading, with the reading behind it.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labelled, [False]]).astype(np.int8)))
    runs = []
    for first, behind in edges.reshape(-1, 2).tolist():
        last = times[behind - 1] + width_ms if width_ms else times[min(behind, len(times) - 1)]
        runs.append([times[first], last])
    return runs


def quality_json(figures: QualityFigures) -> Json:
    """Quality, faults with the most events first."""
    faults = sorted(figures.faults, key=lambda fault: (-fault.events, fault.fault))
    return {
        **asdict(figures),
        "begin": ms(figures.begin),
        "end": ms(figures.end),
        "faults": [asdict(fault) for fault in faults],
    }
