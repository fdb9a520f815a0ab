"""The compiled draws are those of `producers.exact`, to the bit."""

import numba
import numpy as np
import pytest

from producers import exact, exact_kernel
from producers.exact import Stream

RNG = np.random.default_rng(7)
KEYS = RNG.integers(0, 2**64, 20_000, dtype=np.uint64)
COUNTERS = np.concatenate([RNG.integers(0, 2**62, 19_998), [0, -1]])


@numba.njit
def drawn(keys, counters, stream):
    uniform, normal, sine = np.empty(len(keys)), np.empty(len(keys)), np.empty(len(keys))
    for row in range(len(keys)):
        uniform[row] = exact_kernel.draw_uniform(keys[row], counters[row], stream)
        normal[row] = exact_kernel.draw_normal(keys[row], counters[row], stream)
        sine[row] = exact_kernel.sine_of(9.0 * uniform[row] - 4.0)
    return uniform, normal, sine


@pytest.mark.parametrize("stream", [Stream.NOISE, Stream.CHOICE])
def test_same_bits(stream):
    uniform, normal, sine = drawn(KEYS, COUNTERS, int(stream))
    assert uniform.tobytes() == exact.uniform(KEYS, COUNTERS, stream).tobytes()
    assert normal.tobytes() == exact.normal(KEYS, COUNTERS, stream).tobytes()
    assert sine.tobytes() == exact.sine(9.0 * uniform - 4.0).tobytes()


def test_streams_have_numbers_of_their_own():
    assert len({int(stream) for stream in Stream}) == len(Stream.__members__)
