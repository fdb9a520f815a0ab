"""One channel by itself, fed value by value."""

import numpy as np

from processors.engine.channels import energy, jump, spike
from processors.engine.profile import Profile, records


def limits_of(channel, **parts):
    """A channel's limits as the compiled loops read them."""
    return records([Profile(**{channel: parts["limits"]})])[0][channel]


def new_state(kind):
    """A state that has seen nothing."""
    return np.zeros(1, kind)[0]


def spikes(values, limits, state=None):
    """(n,) q of each value."""
    state, limits = new_state(spike.STATE) if state is None else state, limits_of("spike", limits=limits)
    return np.array(
        [
            spike.step(state, limits, i, 1.0 / (i + 1), float(v), state["var"] ** 0.5)
            for i, v in enumerate(values)
        ]
    )


def _moves(values):
    """(n,) distances from the value before, and their changes."""
    values = np.asarray(values, float)
    change = np.diff(values, prepend=values[:1])
    return change.tolist(), np.diff(change, prepend=0.0).tolist()


def jumps(values, limits, floor=1e-12, breaks=()):
    """(n,) q of each value; `breaks` are the values behind a gap."""
    state, limits = new_state(jump.STATE), limits_of("jump", limits=limits)
    moves = zip(*_moves(values), strict=True)
    return np.array(
        [
            jump.step(
                state,
                limits,
                i,
                1.0 / (i + 1),
                change,
                bend,
                max(state["power"] ** 0.5, floor),
                i not in breaks,
            )
            for i, (change, bend) in enumerate(moves)
        ]
    )


def steps_alone(values, limits, floor=1e-12):
    """(n,) q of each value by what the channel jump says of the step before it."""
    state, limits = new_state(jump.STATE), limits_of("jump", limits=limits)
    change, bend = _moves(values)
    q = np.zeros(len(values))
    for i in range(len(values)):
        unit = max(state["power"] ** 0.5, floor)
        stands_out = min(abs(change[i - 1]), abs(bend[i - 1]), abs(bend[i])) if i > 1 else 0.0
        q[i] = jump.step_alone(state, limits, i, stands_out, unit)
        jump.step(state, limits, i, 1.0 / (i + 1), change[i], bend[i], unit, True)
    return q


def energies(values, limits, floor=1e-12, breaks=()):
    """The same of the channel energy."""
    state, limits = new_state(energy.STATE), limits_of("energy", limits=limits)
    _, bends = _moves(values)
    return np.array(
        [
            energy.step(state, limits, i, 1.0 / (i + 1), bend, floor, i not in breaks)
            for i, bend in enumerate(bends)
        ]
    )
