"""A series' state as bytes, as the changelog carries it: one packed, versioned record a series.

Layout, little-endian, without padding: a head (version, panes, remembered times, pane length), then the columns
of `SeriesColumns` in their order, then the open episode's fault as UTF-8. A record whose version is unknown is
refused; one whose window has other panes than today's settings keeps everything but the window, so that after a
change of settings a series warms up again and forgets nothing else.
"""

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from processors.engine.settings import DeviationSettings
from processors.engine.states import RECENT_TIMES, SeriesColumns, new_columns
from schemas.errors import SigmawatchError

VERSION = 1
_HEAD = struct.Struct("<BHHq")

_WINDOW = ("head_pane", "pane_count", "pane_mean", "pane_m2")


class StateRecordError(SigmawatchError):
    """A changelog record that this version of the software cannot read."""


@lru_cache
def _layout(panes: int) -> np.dtype[np.void]:
    """The columns of one series, side by side."""
    fields = [
        (name, column.dtype.newbyteorder("<"), column.shape[1:])
        for name, column in new_columns(1, panes)._asdict().items()
    ]
    return np.dtype(fields)


def pack(
    columns: SeriesColumns, numbers: NDArray[np.int64], faults: dict[int, str], settings: DeviationSettings
) -> list[bytes]:
    """Records of the series `numbers`, in their order; `faults` has the open episodes' faults by number."""
    layout = _layout(columns.pane_count.shape[1])
    table = np.empty(len(numbers), layout)
    for name, column in columns._asdict().items():
        table[name] = column[numbers]
    head = _HEAD.pack(VERSION, settings.panes, RECENT_TIMES, settings.pane_us)
    raw, size = table.tobytes(), layout.itemsize
    return [
        head + raw[i * size : (i + 1) * size] + faults.get(int(number), "").encode()
        for i, number in enumerate(numbers)
    ]


def unpack(record: bytes, settings: DeviationSettings) -> tuple[SeriesColumns, str | None]:
    """The columns of one series and its open episode's fault.

    Raises:
        StateRecordError: another version, or not a record of ours.
    """
    if len(record) < _HEAD.size or record[0] != VERSION:
        raise StateRecordError(
            f"state record of version {record[0] if record else 'none'}, this software reads version {VERSION}",
            "Use the version that wrote it, or start with a new processor group.",
        )
    _, panes, remembered, pane_us = _HEAD.unpack_from(record)
    layout = _layout(panes)
    if remembered != RECENT_TIMES or len(record) < _HEAD.size + layout.itemsize:
        raise StateRecordError("damaged state record", "Start with a new processor group.")
    row = np.frombuffer(record, layout, 1, _HEAD.size)
    fault = record[_HEAD.size + layout.itemsize :].decode(errors="replace") or None
    columns = SeriesColumns(**{name: row[name] for name in SeriesColumns._fields})
    if (panes, pane_us) != (settings.panes, settings.pane_us):
        fresh = new_columns(1, settings.panes)
        columns = columns._replace(**{name: getattr(fresh, name) for name in _WINDOW})
    return columns, fault
