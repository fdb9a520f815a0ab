"""What is let in from outside is what the processor believes, no more and no less."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.checks import NotBelievableError, check_id, check_time, check_value
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.readings import Reading

NOW_US = 1_795_261_139_000_000
BOUNDS = TimeBounds()
CODEC = Codec(Catalogue())

ids = st.one_of(st.text(max_size=4), st.sampled_from(["a" * 255, "a" * 256, "ü" * 128, "a\0", ""]))
values = st.one_of(st.floats(), st.sampled_from([1e150, -1e150, 1.1e150, float("nan"), float("inf")]))
times = st.one_of(
    st.integers(-(2**62), 2**62), st.integers(NOW_US + 86_399_999_000, NOW_US + 86_400_001_000), st.just(0)
)


def verdict(device_id, metric, time, value):
    """What our checks say of a reading, in the processor's order."""
    try:
        check_id(device_id)
        check_id(metric, DeadLetterReason.BAD_METRIC)
        check_value(value)
        check_time(time, NOW_US, BOUNDS)
    except NotBelievableError as error:
        return error.reason
    return DeadLetterReason.OK


@given(ids, ids, times, values)
@example("d", "m", NOW_US + 86_400_000_000, 1.0)
@example("d", "m", NOW_US + 86_400_000_001, 1.0)
@example("d", "m", -1, 1.0)
def test_the_processor_agrees(device_id, metric, time, value):
    message = CODEC.encode_reading(Reading(device_id, metric, time, value))
    columns = decode_readings([message], np.array([NOW_US // 1000]), CODEC, BOUNDS)
    assert verdict(device_id, metric, time, value) == columns.status[0]


@pytest.mark.parametrize("value", [None, True, "1", [], {}, 10**400, -(10**400), float("nan"), float("-inf")])
def test_no_value(value):
    with pytest.raises(NotBelievableError):
        check_value(value)


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), (-0.5, -0.5), (10**150, 1e150)])
def test_a_value_is_a_float(value, expected):
    assert check_value(value) == expected
    assert type(check_value(value)) is float


@pytest.mark.parametrize("text", [None, 1, b"a", [], "\ud800"])
def test_no_id(text):
    with pytest.raises(NotBelievableError):
        check_id(text)


def test_a_time_in_another_unit_is_hinted_at():
    for time in (NOW_US * 1000, 10**400):
        with pytest.raises(NotBelievableError, match="in another unit"):
            check_time(time, NOW_US, BOUNDS)
    with pytest.raises(NotBelievableError, match=r"1\.5 days ahead of the clock$"):
        check_time(NOW_US + 129_600_000_000, NOW_US, BOUNDS)
