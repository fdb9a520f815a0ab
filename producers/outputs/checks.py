"""What cannot be written to a file so that it reads back the same."""

import numpy as np

from producers.batches import ReadingBatch, SeriesTable
from producers.replay.rows import read_id
from schemas.errors import ConfigError, InputError


def checked_names(table: SeriesTable, start: int) -> list[tuple[str, str]]:
    """Device id and metric of the series from number `start` on; errors as `check_name`."""
    names = list(zip(table.device_ids[start:], table.metrics[start:], strict=True))
    for device, metric in names:
        check_name(device, "device id")
        check_name(metric, "metric")
    return names


def checked_faults(table: SeriesTable, start: int) -> list[str]:
    """The faults from number `start` on; errors as `check_name`."""
    faults = table.faults[start:]
    for fault in faults:
        check_name(fault, "fault")
    return faults


def check_name(text: str, what: str) -> None:
    """Refuse a device id, metric or fault that replay would not give back as it is.

    Raises:
        ConfigError: it is empty, too long, has a NUL in it, or blanks at its ends.
    """
    try:
        same = read_id(text, what) == text
    except ValueError as error:
        raise ConfigError(
            f"{text!r} cannot be written to a file: {error}", "Give it another name."
        ) from error
    if not same:
        raise ConfigError(
            f"the {what} {text!r} has blanks at its ends", "Files do not keep them: take them away."
        )


def require_finite(batch: ReadingBatch, table: SeriesTable) -> None:
    """Refuse values that are no numbers.

    Raises:
        InputError: one is not finite; names its series.
    """
    bad = np.flatnonzero(~np.isfinite(batch.value))
    if len(bad):
        series = int(batch.series[bad[0]])
        raise InputError(
            f"{table.device_ids[series]}, {table.metrics[series]}: the value {batch.value[bad[0]]} is no number",
            "Files hold finite values only.",
        )
