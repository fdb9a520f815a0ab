"""Spike: far from the mean of the last readings; and, with a record that follows at once, the reference's statistic."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from processors.engine.channels import spike
from processors.engine.profile import RecordLimits, SpikeLimits
from tests.unit.processors.engine.channels.channel_runs import new_state, spikes

REFERENCE = Path(__file__).parents[6] / "shared" / "detection" / "reference_detector.py"
LIMITS = SpikeLimits(window=60.0, threshold=6.0, record=1.5)


def noise(count, seed=1):
    return 50 + np.random.default_rng(seed).standard_normal(count)


def test_a_spike_and_what_is_none():
    values = noise(400)
    values[200] += 20.0
    values[300] -= 20.0
    q = spikes(values, LIMITS)
    assert q[200] > 1.5
    assert (np.flatnonzero(q >= 1.0) == [200, 300]).all()
    assert spikes(noise(5000, seed=2), LIMITS).max() < 1.0


def test_mean_and_std_are_welfords_over_the_first_window():
    values = noise(60)
    state = new_state(spike.STATE)
    spikes(values, LIMITS, state)
    assert state["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert state["var"] == pytest.approx(values.var(), rel=1e-12)


def test_a_hair_off_a_constant_is_no_spike():
    values = np.full(200, 1e-3)
    values[150] += 1e-10
    assert spikes(values, LIMITS).max() < 1.0


def test_the_same_spike_again_counts_for_less():
    values = noise(600)
    values[[200, 400]] = 70.0
    q = spikes(values, SpikeLimits(window=60.0, threshold=6.0, record=1.5, memory=RecordLimits(cap=3.0)))
    assert q[400] < q[200]


def test_an_absurd_value_leaves_finite_numbers():
    values = noise(400)
    values[[100, 200]] = 1e150, -1e150
    state = new_state(spike.STATE)
    assert np.isfinite(spikes(values, LIMITS, state)).all()
    assert np.isfinite([state["mean"], state["var"]]).all()


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_reference_detectors_statistic(seed):
    if not REFERENCE.exists():
        pytest.skip(f"no {REFERENCE}")
    spec = importlib.util.spec_from_file_location("reference_detector", REFERENCE)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    rng = np.random.default_rng(seed)
    values = 20 + rng.standard_normal(3000).cumsum() * 0.3 + rng.standard_normal(3000)
    values[rng.integers(100, 3000, 15)] += rng.choice([-30.0, 12.0, 60.0], 15)
    never = {"th1": 1e300, "th2": 1e300, "th3": 1e300, "emin": 1e300}  # its other channels
    detector = reference.Detector(NS=60, zmin=6.0, c=1.5, zd=1e-4, zcap=1.0, **never)
    expected = [detector.update(60.0 * i, value)[0] for i, value in enumerate(values.tolist())]
    at_once = RecordLimits(calm_decay=1e-4, alarmed_decay=1e-4, cap=1.0, share=1.0, block=1.0)
    q = spikes(values, SpikeLimits(window=60.0, threshold=6.0, record=1.5, warmup=20.0, memory=at_once))
    scores = 1.0 - 2.0 ** -np.minimum(q, 50.0)
    assert (scores > 0.5).sum() > 2
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)  # the record has single precision
