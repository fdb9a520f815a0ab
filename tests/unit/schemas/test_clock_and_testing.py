"""The clocks, and the helpers that are shipped for tests."""

import doctest

import pytest

import schemas.testing
from schemas.catalogue import Catalogue
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.testing import START_US, ManualClock, anomaly, device, reading, readings


def test_the_system_clock_goes_on():
    clock: Clock = SystemClock()
    wall, steady = clock.now_us(), clock.monotonic()
    clock.sleep(0.01)
    clock.sleep(-1)
    assert clock.now_us() > wall > START_US
    assert clock.monotonic() - steady >= 0.01


def test_the_manual_clock_goes_on_when_told():
    clock = ManualClock()
    handed: Clock = clock
    assert (handed.now_us(), handed.monotonic()) == (START_US, 0.0)
    handed.sleep(1.5)
    handed.sleep(-1)
    clock.advance(0.5)
    assert (handed.now_us(), handed.monotonic()) == (START_US + 2_000_000, 2.0)
    assert clock.slept == [1.5, -1]
    clock.set_wall_clock(5)
    clock.advance(1)
    assert (handed.now_us(), handed.monotonic()) == (1_000_005, 3.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_what_is_built_can_be_sent():
    codec = Codec(Catalogue())
    assert codec.decode_reading(codec.encode_reading(reading(value=3.5))).value == 3.5
    assert codec.decode_device(codec.encode_device(device(model="X"))).model == "X"
    assert codec.decode_anomaly(codec.encode_anomaly(anomaly("d", readings=3))) == anomaly("d", readings=3)
    assert [item.value for item in readings([1, 2])] == [1, 2]


def test_the_examples_of_the_documentation():
    assert doctest.testmod(schemas.testing).failed == 0
