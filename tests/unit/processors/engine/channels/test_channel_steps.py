"""Jump and energy: steps that are larger than usual, once or for a while; ramps are neither."""

import numpy as np

from processors.engine.profile import EnergyLimits, JumpLimits, RecordLimits
from tests.unit.processors.engine.channels.channel_runs import energies, jumps, steps_alone

JUMP = JumpLimits(window=500.0, threshold=6.0, record=1.3, clip=25.0)
ENERGY = EnergyLimits(window=8000.0, long_window=16000.0, threshold=5.0, record=1.7, clip=25.0)


def noise(count, seed=1, std=1.0):
    return np.random.default_rng(seed).normal(0.0, std, count)


def test_a_new_level_is_a_jump_where_it_begins_alone():
    values = noise(600)
    values[300:] += 40.0
    assert np.flatnonzero(jumps(values, JUMP) >= 1.0).tolist() == [300]


def test_noise_is_no_jump():
    assert jumps(noise(5000, seed=3), JUMP).max() < 1.0


def test_a_ramp_is_at_most_a_jump_where_it_begins_and_ends():
    values = noise(900, std=0.1)
    ramp = np.arange(100) * 3.0
    values[300:400] += ramp
    values[400:] += ramp[-1]
    q = jumps(values, JUMP)
    assert set(np.flatnonzero(q >= 1.0)) <= {300, 301, 400}
    assert q[305:399].max() < 0.5


def test_a_steep_saw_tooth_of_ramps_does_not_hide_a_jump_off_the_line():
    values = noise(600, std=0.1) + np.arange(600) * 1.0
    values[450] += 30.0
    assert jumps(values, JUMP)[450] >= 1.0


def test_behind_a_gap_a_step_says_nothing():
    values = noise(600)
    values[300:] += 40.0
    assert jumps(values, JUMP, breaks={300}).max() < 1.0


def test_the_floor_is_the_least_usual_step():
    values = np.zeros(300)
    values[200] = 0.4
    assert jumps(values, JUMP)[200] > 1.0
    assert jumps(values, JUMP, floor=0.1)[200] < 1.0


def test_a_jump_that_is_judged_does_not_set_its_own_scale():
    values = noise(600)
    values[300:] += 1e6
    values[450:] += 40.0
    once = JumpLimits(window=500.0, threshold=6.0, record=1.3, memory=RecordLimits(alarmed_decay=0.1))
    assert np.flatnonzero(jumps(values, once) >= 1.0).tolist() == [300, 450]


def oven(minutes=4000, shift=0.0, at=3015):
    """A reading a minute of what is heated to 200 and cools to 80 in turn, with inertia; shifted from `at` on."""
    target = np.where(np.arange(minutes) // 60 % 2 == 0, 200.0, 80.0)
    level, values = 200.0, np.empty(minutes)
    for minute in range(minutes):
        level += 0.1 * (target[minute] - level)
        values[minute] = level
    values += noise(minutes, std=0.6)
    values[at:] += shift
    return values


def test_a_step_that_stands_alone_is_told_from_the_first_of_many():
    """A shift as large as the step with which the oven begins to cool: the step alone tells a reading later."""
    limits = JumpLimits(threshold=5.0, record=1.1, alone=2.0)
    values = oven(shift=-13.0)
    assert jumps(values, limits)[1000:].max() < 1.0
    assert np.flatnonzero(steps_alone(values, limits)[1000:] >= 1.0).tolist() == [2016]
    assert steps_alone(oven(), limits)[1000:].max() < 1.0


def test_steps_are_not_judged_alone_by_default():
    assert steps_alone(oven(shift=-60.0), JumpLimits()).max() == 0.0


def test_noise_that_grows_has_energy():
    values = noise(2000)
    values[1500:1560] *= 8.0
    q = energies(values, ENERGY)
    assert q[:1500].max() < 1.0
    assert q[1502:1560].max() > 1.0
    assert q[1600:].max() < 1.0


def test_an_oscillation_within_the_usual_range_has_energy():
    time = np.arange(3000)
    values = 10 * np.sin(2 * np.pi * time / 500) + noise(3000, std=0.1)
    values[2000:2100] = 10 * np.sin(2 * np.pi * time[2000:2100] / 7)
    q = energies(values, ENERGY)
    assert q[:2000].max() < 1.0
    assert q[2000:2100].max() > 1.0


def test_a_ramp_has_none():
    values = noise(2000, std=0.1)
    values[1000:1200] += np.arange(200) * 5.0
    values[1200:] += 995.0
    q = energies(values, ENERGY, breaks={1000, 1001, 1200, 1201})
    assert q.max() < 1.0


def test_scale_makes_no_difference():
    values = noise(500)
    values[300:] += 40.0
    scaled = values * 2.0**40
    assert jumps(scaled, JUMP).tobytes() == jumps(values, JUMP).tobytes()
    assert energies(scaled, ENERGY).tobytes() == energies(values, ENERGY).tobytes()
