"""Draws and elementary functions: right, and the same bits everywhere."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.exact import Stream, bits, key_of, logarithm, normal, normal_quantile, sine, uniform


@given(st.floats(1e-300, 1e300))
def test_logarithm_is_that_of_the_c_library(x):
    assert logarithm(np.array([x]))[0] == pytest.approx(math.log(x), rel=4e-16, abs=3e-16)


@given(st.floats(-3.0, 3.0))
def test_sine_is_that_of_the_c_library(turns):
    assert sine(np.array([turns]))[0] == pytest.approx(math.sin(2 * math.pi * turns), abs=4e-15)


@given(st.floats(1e-12, 1.0 - 1e-12))
def test_quantile_turns_probabilities_back(p):
    assert normal_quantile(np.array([p]))[0] == pytest.approx(
        statistics.NormalDist().inv_cdf(p), rel=1e-9, abs=1e-9
    )


def test_pinned_bits():
    """These bits are what a seed means: a change breaks the promise of same seed, same readings."""
    key = np.full(4, key_of(1, "signal-001", "trend"), np.uint64)
    counter = np.array([0, 1, 2, 1_795_261_139_000_000])
    assert [hex(word) for word in bits(key, counter, Stream.NOISE)] == PINNED_BITS
    assert [x.hex() for x in normal(key, counter, Stream.NOISE).tolist()] == PINNED_NORMAL
    assert sine(np.array([0.1234567]))[0].hex() == PINNED_SINE


PINNED_BITS = ["0x7bafb5a2fd639bb", "0x675857953d8908c", "0x7c812ae807469a95", "0xdf508b349da4fdd5"]
PINNED_NORMAL = [
    "-0x1.e0be96712002ep+0",
    "-0x1.f4be777db8996p+0",
    "-0x1.186e68a93122bp-5",
    "0x1.232f40549a9edp+0",
]
PINNED_SINE = "0x1.6682d5d0d6288p-1"


@pytest.mark.parametrize("step", [1, 1_000_000, 2**40 + 1])
def test_draws_are_independent_and_normal(step):
    n = 200_000
    key = np.full(n, key_of(7, "x"), np.uint64)
    draws = normal(key, np.arange(n) * step, Stream.NOISE)
    others = normal(key, np.arange(n) * step, Stream.OUTLIER)
    limit = 5.0 / math.sqrt(n)
    assert abs(draws.mean()) < limit
    assert abs(draws.std() - 1.0) < limit
    assert abs((draws**4).mean() - 3.0) < 5.0 * math.sqrt(96.0 / n)
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < limit
    assert abs(np.corrcoef(draws, others)[0, 1]) < limit
    share = (uniform(key, np.arange(n) * step, Stream.RECIPE) < 0.25).mean()
    assert abs(share - 0.25) < limit


def test_keys_tell_names_apart():
    keys = {key_of(1, "a", "b"), key_of(2, "a", "b"), key_of(1, "ab", ""), key_of(1, "a"), key_of(12, "b")}
    assert len(keys) == 5
