"""What the devices of a group draw: each draw by its name, each device by its number."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from producers.exact import Stream, bits, key_of, uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Choice = TypeVar("_Choice")

_PART = 1 << 20
"""Room for the numbers of one group, so that they do not meet those of the next one like it."""
_HALF_BITS = 12
_HALF = (1 << _HALF_BITS) - 1
_ROUNDS = 4
CODES = 1 << (2 * _HALF_BITS)
"""How many codes there are: as many as six hexadecimal digits can say."""


class Draws:
    """Draws of the devices `first` to `first + count - 1` of a type.

    Args:
        seed: same seed, same draws.
        kind, template: the type's name and the template of its ids.
        first: number of the first device.
        count: how many devices.
        part: sets groups apart that have the rest in common.
    """

    def __init__(self, seed: int, kind: str, template: str, first: int, count: int, part: int) -> None:
        self.numbers = range(first, first + count)
        self._names = (seed, "devices", kind, template)
        self._index: Ints = np.arange(first, first + count, dtype=np.int64) + part * _PART

    def uniform(self, what: str) -> Floats:
        """(count,) draws in [0, 1) for `what`."""
        return uniform(self._key(what), self._index, Stream.RECIPE)

    def choices(self, what: str, among: Sequence[_Choice]) -> list[_Choice]:
        """One of `among` for each device."""
        if len(among) == 1:
            return [among[0]] * len(self._index)
        return [among[at] for at in (self.uniform(what) * len(among)).astype(np.int64).tolist()]

    def codes(self, what: str) -> list[int]:
        """A number below `CODES` for each device, no two the same.

        A Feistel network of four rounds: a permutation that looks random (Luby and Rackoff, 1988).
        """
        key = self._key(what)
        code = self._index % CODES
        left, right = code >> _HALF_BITS, code & _HALF
        for number in range(_ROUNDS):
            mixed = bits(key, right * _ROUNDS + number, Stream.RECIPE) & np.uint64(_HALF)
            left, right = right, left ^ mixed.astype(np.int64)
        codes: list[int] = ((left << _HALF_BITS) | right).tolist()
        return codes

    def _key(self, what: str) -> NDArray[np.uint64]:
        seed, *names = self._names
        return np.full(len(self._index), key_of(int(seed), *map(str, names), what), np.uint64)
