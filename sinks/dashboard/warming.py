"""Which devices are still in their warm-up: their first readings, in which nothing is judged."""

from collections.abc import Collection, Sequence

import psycopg

# The first metric stands for all of a device's: they come together. No more rows are read than the warm-up has readings.
_COUNTS = """
SELECT w.device_id, (SELECT count(*) FROM (
    SELECT FROM readings AS r
    WHERE r.device_id = w.device_id
      AND r.metric = (SELECT min(f.metric) FROM readings AS f WHERE f.device_id = w.device_id)
    LIMIT %(enough)s
) AS first)
FROM unnest(%(devices)s::text[]) AS w(device_id)
"""


def first_readings(
    connection: psycopg.Connection, device_ids: Collection[str], enough: int
) -> dict[str, int]:
    """Device -> readings of its first metric, `enough` at most; blocks, raises psycopg.Error."""
    parameters = {"devices": list(device_ids), "enough": enough}
    return {device: int(count) for device, count in connection.execute(_COUNTS.encode(), parameters)}


class Warming:
    """Remembers whose warm-up is over, so that only new devices are asked for. For one thread at a time.

    Args:
        enough: readings of a warm-up.
    """

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._warm: set[str] = set()

    def among(self, connection: psycopg.Connection, device_ids: Sequence[str]) -> dict[str, int]:
        """Device -> readings so far, of those that are in their warm-up; blocks, raises psycopg.Error."""
        asked = [device for device in device_ids if device not in self._warm]
        if not asked:
            return {}
        counts = first_readings(connection, asked, self._enough)
        self._warm |= {device for device, count in counts.items() if count >= self._enough}
        return {device: count for device, count in counts.items() if count < self._enough}
