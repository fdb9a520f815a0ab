"""A series' state as bytes, as the changelog carries it: a version, the record of `SERIES`, its open episodes' faults."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.engine.states import SERIES, Table
from schemas.errors import SigmawatchError

VERSION = 4
_LITTLE_ENDIAN = SERIES.newbyteorder("<")


class StateRecordError(SigmawatchError):
    """A changelog record that this version of the software cannot read."""


def pack(states: Table, numbers: NDArray[np.int64], faults: dict[int, dict[int, str]]) -> list[bytes]:
    """Records of the series `numbers`, in their order; `faults` has those of their open episodes, by number and slot."""
    raw, size = states[numbers].astype(_LITTLE_ENDIAN, copy=False).tobytes(), SERIES.itemsize
    head = bytes([VERSION])
    return [
        head + raw[i * size : (i + 1) * size] + _faults(faults.get(int(number)))
        for i, number in enumerate(numbers)
    ]


def unpack(record: bytes) -> tuple[Any, dict[int, str]]:
    """The state of one series, a record of `SERIES`, and its open episodes' faults by slot.

    Raises:
        StateRecordError: another version, or not a record of ours.
    """
    if not record or record[0] != VERSION:
        raise StateRecordError(
            f"state record of version {record[0] if record else 'none'}, this software reads version {VERSION}",
            "Use the version that wrote it, or start with a new processor group.",
        )
    end = 1 + SERIES.itemsize
    try:
        row = np.frombuffer(record[:end], _LITTLE_ENDIAN, 1, 1).astype(SERIES)[0]
        faults = json.loads(record[end:]) if len(record) > end else {}
        return row, {int(slot): str(fault) for slot, fault in faults.items()}
    except (ValueError, AttributeError) as error:
        raise StateRecordError("damaged state record", "Start with a new processor group.") from error


def _faults(faults: dict[int, str] | None) -> bytes:
    return json.dumps(faults).encode() if faults else b""
