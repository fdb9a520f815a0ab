"""How an injected fault is being caught: injected, in the readings, detected, over. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sinks.dashboard.shapes import anomaly_json, ms
from sinks.queries.anomalies import AnomalyRow


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that was put into a device: since when, by the device's clock."""

    device_id: str
    fault: str
    began: datetime


def catch_of(
    injected: Injected, first: datetime | None, last: datetime | None, rows: Sequence[AnomalyRow]
) -> dict[str, Any]:
    """How far it is.

    An episode catches the fault if it opens at its beginning or later; one that was open already knew nothing of it. The delay
    is event time, from the fault's first reading: what passes between command and reading is nobody's slowness.

    Args:
        injected: the fault.
        first, last: times of the device's first and last reading that has it; None where none is stored.
        rows: episodes of the device, in any order.
    """
    begin = injected.began if first is None else min(first, injected.began)
    later = sorted((row for row in rows if row.opened_at >= begin), key=lambda row: row.opened_at)
    caught = later[0] if later else None
    since = first or injected.began
    return {
        "first": None if first is None else ms(first),
        "last": None if last is None else ms(last),
        "caught": None if caught is None else anomaly_json(caught),
        "delay": None if caught is None else max(0.0, (caught.opened_at - since).total_seconds()),
        "anomalies": [anomaly_json(row) for row in later],
    }
