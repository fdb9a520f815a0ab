"""Messages on their way out, as columns: readings with the troubles that befell them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Self

import numpy as np
from numpy.typing import NDArray

from producers.batches import ReadingBatch

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Trouble(IntFlag):
    """What befell a message; bits of `Sends.troubles`."""

    LATE = 1
    OUT_OF_ORDER = 2
    HELD = 4
    """Kept by a device without a link (burst)."""
    SKEWED = 8
    DUPLICATE = 16
    """It is a copy, not the first."""
    MALFORMED = 32


DELAYED = Trouble.LATE | Trouble.OUT_OF_ORDER | Trouble.HELD | Trouble.DUPLICATE


@dataclass(frozen=True, slots=True)
class Sends:
    """n messages.

    Attributes:
        send_us: (n,) virtual time at which each goes out, µs; never before it was read.
        true_us: (n,) when it was read; `batch.time` is what its device says, whose clock may be wrong.
        batch: the readings; what a malformed message replaces, where the value may be non-finite.
        malformed: (n,) 0, or 1 + the number of its `MalformedKind`.
        troubles: (n,) bits of `Trouble`.
        copy: (n,) 0 for the first message of a reading, 1, 2, ... for its copies.
    """

    send_us: Ints
    true_us: Ints
    batch: ReadingBatch
    malformed: Bytes
    troubles: Bytes
    copy: Bytes

    def __len__(self) -> int:
        return len(self.send_us)

    @classmethod
    def untroubled(cls, batch: ReadingBatch) -> Self:
        """Readings that go out as they are, when they are read."""
        nothing = np.zeros(len(batch), np.uint8)
        return cls(batch.time, batch.time, batch, nothing, nothing, nothing)

    @classmethod
    def joined(cls, parts: Sequence["Sends"]) -> Self:
        """The messages of all parts, one behind the other."""
        return cls.of_columns(
            {name: np.concatenate([part.columns()[name] for part in parts]) for name in COLUMNS}
        )

    @classmethod
    def of_columns(cls, columns: dict[str, NDArray[np.generic]]) -> Self:
        """The inverse of `columns`.

        Raises:
            KeyError: a column is missing.
            ValueError: the columns are not of one length.
        """
        typed = {name: np.asarray(columns[name], kind) for name, kind in COLUMNS.items()}
        if len({column.shape for column in typed.values()}) > 1:
            raise ValueError("the columns are not of one length")
        return cls(
            typed["send_us"],
            typed["true_us"],
            ReadingBatch(typed["series"], typed["time"], typed["value"], typed["fault"]),
            typed["malformed"],
            typed["troubles"],
            typed["copy"],
        )

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """All columns by name, sharing memory."""
        batch = self.batch
        return {
            "send_us": self.send_us,
            "true_us": self.true_us,
            "series": batch.series,
            "time": batch.time,
            "value": batch.value,
            "fault": batch.fault,
            "malformed": self.malformed,
            "troubles": self.troubles,
            "copy": self.copy,
        }

    def take(self, rows: Ints) -> Self:
        """The messages of these rows, in this order."""
        return self._each(rows)

    def rows(self, start: int, stop: int) -> Self:
        """Messages `start` to `stop - 1`, sharing memory."""
        return self._each(slice(start, stop))

    def _each(self, index: Ints | slice) -> Self:
        batch = self.batch
        return type(self)(
            self.send_us[index],
            self.true_us[index],
            ReadingBatch(batch.series[index], batch.time[index], batch.value[index], batch.fault[index]),
            self.malformed[index],
            self.troubles[index],
            self.copy[index],
        )


COLUMNS: dict[str, type[np.generic]] = {
    "send_us": np.int64,
    "true_us": np.int64,
    "series": np.int64,
    "time": np.int64,
    "value": np.float64,
    "fault": np.int64,
    "malformed": np.uint8,
    "troubles": np.uint8,
    "copy": np.uint8,
}
"""Name and type of each column."""
