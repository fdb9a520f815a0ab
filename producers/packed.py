"""Texts that compiled loops copy: byte strings one behind the other in one buffer."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class PackedTexts:
    """Byte strings; number i is `data[start[i]:start[i + 1]]`.

    Attributes:
        data: the strings, one behind the other.
        start: (count + 1,) where each begins, and where the last one ends.
    """

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self.data: Bytes = np.empty(0, np.uint8)
        self.start: Ints = np.zeros(1, np.int64)
        self.extend(texts)

    def __len__(self) -> int:
        return len(self.start) - 1

    def extend(self, texts: Iterable[bytes]) -> None:
        """Put more behind those that are there."""
        new = list(texts)
        if not new:
            return
        lengths = np.fromiter(map(len, new), np.int64, len(new))
        self.data = np.concatenate([self.data, np.frombuffer(b"".join(new), np.uint8)])
        self.start = np.concatenate([self.start, self.start[-1] + np.cumsum(lengths)])
