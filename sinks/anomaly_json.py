"""An anomaly as a JSON object, the same in the log's lines and on MQTT."""

import math
from dataclasses import asdict
from typing import Any

from schemas.readings import Anomaly
from schemas.times import to_datetime


def anomaly_fields(anomaly: Anomaly) -> dict[str, Any]:
    """Its fields, times in ISO 8601, UTC, with µs; null where a number is not finite.

    Raises:
        OverflowError: a time before year 1 or after year 9999.
    """
    fields = asdict(anomaly)
    for name in ("opened_at", "cleared_at", "detected_at"):
        if fields[name] is not None:
            fields[name] = _iso(fields[name])
    fields["anomaly_id"] = str(anomaly.anomaly_id)
    fields["storm_id"] = None if anomaly.storm_id is None else str(anomaly.storm_id)
    fields["state"] = str(anomaly.state)
    fields["severity"] = str(anomaly.severity)
    for name, value in fields.items():
        if isinstance(value, float) and not math.isfinite(value):
            fields[name] = None  # JSON has no word for it
    return fields


def _iso(us: int) -> str:
    return to_datetime(us).isoformat(timespec="microseconds").replace("+00:00", "Z")
