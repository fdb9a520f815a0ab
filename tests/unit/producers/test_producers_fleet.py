"""The simulated fleet: same seed, same bits, however its time is cut."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.batches import ReadingBatch
from producers.fleet import SignalFleet
from producers.signals import Shape
from schemas.errors import ConfigError

START = 1_795_261_139_000_000


def joined(batches: list[ReadingBatch]) -> list[bytes]:
    columns = ("series", "time", "value", "fault")
    return [np.concatenate([getattr(batch, name) for batch in batches]).tobytes() for name in columns]


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 2_000_000),
    st.integers(0, 2**63),
    st.lists(st.integers(0, 5_000_000), max_size=8),
)
def test_any_chunking_gives_the_same_bits(devices, interval, seed, cuts):
    interval = max(interval, 1000 * devices)
    fleet = SignalFleet(devices, interval, seed, 0.1)
    end = START + min(5_000_000, 50 * interval)
    edges = sorted({START, end, *(START + cut for cut in cuts if START + cut < end)})
    pieces = [SignalFleet(devices, interval, seed, 0.1).between(a, b) for a, b in itertools.pairwise(edges)]
    whole = fleet.between(START, end)
    assert joined(pieces) == joined([whole])
    assert (np.diff(whole.time) >= 0).all()
    assert ((whole.time >= START) & (whole.time < end)).all()


def test_each_series_is_read_once_an_interval():
    fleet = SignalFleet(7, 1_000_000, 1, 0.0)
    batch = fleet.between(START, START + 60_000_000)
    assert len(batch) == 7 * 2 * 60
    for series in range(14):
        times = batch.time[batch.series == series]
        assert set(np.diff(times).tolist()) == {1_000_000}
    assert fleet.rate == 14.0


def test_devices_are_spread_over_the_interval():
    batch = SignalFleet(10, 1_000_000, 1, 0.0).step(START)
    assert sorted(set((batch.time - START).tolist())) == [i * 100_000 for i in range(10)]


def test_step_is_one_interval():
    fleet = SignalFleet(3, 1_000_000, 5, 0.5)
    assert joined([fleet.step(START + 123)]) == joined([fleet.between(START, START + 1_000_000)])


def test_next_time_is_that_of_the_next_reading():
    fleet = SignalFleet(3, 1_000_000, 5, 0.5)
    for begin in range(START - 5, START + 2_000_000, 77_777):
        assert fleet.next_time(begin) == fleet.between(begin, begin + 1_000_001).time[0]


def test_a_larger_fleet_has_the_same_signals():
    """A series' recipe hangs on its name, not on its place in the fleet."""
    small, large = (
        SignalFleet(1, 1_000_000, 3, 0.1).step(START),
        SignalFleet(50, 1_000_000, 3, 0.1).step(START),
    )
    assert small.value.tolist() == large.value[:2].tolist()


def test_pinned_readings():
    """What seed 1 means; a change here breaks the promise that it stays the same."""
    batch = SignalFleet(2, 1_000_000, 1, 0.5).step(START)
    assert [value.hex() for value in batch.value.tolist()] == PINNED
    assert batch.fault.tolist() == PINNED_FAULTS


PINNED = ["0x1.593f161c6cc3ap+5", "0x1.61b015bd21858p+5", "0x1.589dd061b66e2p+5", "0x1.d872374104bdep+4"]
PINNED_FAULTS = [-1, -1, -1, 0]


def test_statistics():
    """Normal values stay in their range; outliers come as often as asked, one to two widths off, up and down."""
    fleet = SignalFleet(20, 1_000_000, 11, 0.01, (40.0, 50.0))
    batch = fleet.between(START, START + 4 * 3_600_000_000)
    spikes = batch.fault >= 0
    n = len(batch)
    assert abs(spikes.mean() - 0.01) < 5 * math.sqrt(0.01 * 0.99 / n)
    calm = batch.value[~spikes]
    assert ((calm > 40.0) & (calm < 50.0)).mean() > 0.9999
    assert (np.abs(batch.value[spikes] - 45.0) > 5.0).all()
    up = (batch.value[spikes] > 45.0).mean()
    assert abs(up - 0.5) < 5 * math.sqrt(0.25 / spikes.sum())
    # A sinusoid of amplitude a has the variance a^2 / 2; amplitudes are 1.25 to 2.5.
    for number in range(0, 40, 2):
        series = batch.value[~spikes & (batch.series == number)]
        assert 1.25 / math.sqrt(2) * 0.95 < series.std() < 2.5 / math.sqrt(2) * 1.1
        trend = batch.value[~spikes & (batch.series == number + 1)]
        slopes = np.diff(trend[::300])
        assert np.abs(slopes).max() < 5.0  # it never jumps
    assert fleet.table.faults == ["spike"]


def test_device_records():
    fleet = SignalFleet(3, 1_000_000, 1, 0.0)
    assert [device.device_id for device in fleet.devices] == ["signal-001", "signal-002", "signal-003"]
    assert fleet.devices[0].type == "signal"
    assert set(fleet.devices[0].units) == {shape.metric for shape in Shape}
    assert fleet.table.device_ids[:2] == ["signal-001", "signal-001"]
    assert fleet.table.metrics[:2] == ["sinusoid", "trend"]


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1000, 1, 0.1),
        (1, 0, 1, 0.1),
        (1, 1000, 1, 1.1),
        (1, 1000, 1, float("nan")),
        (1, 1000, 1, 0.1, (5.0, 5.0)),
    ],
)
def test_nonsense_is_refused(arguments):
    with pytest.raises(ConfigError):
        SignalFleet(*arguments)
