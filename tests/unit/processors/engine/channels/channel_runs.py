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
    return np.array([spike.step(state, limits, i, float(v)) for i, v in enumerate(values)])


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
            jump.step(state, limits, i, change, bend, floor, i not in breaks)
            for i, (change, bend) in enumerate(moves)
        ]
    )


def energies(values, limits, floor=1e-12, breaks=()):
    """The same of the channel energy."""
    state, limits = new_state(energy.STATE), limits_of("energy", limits=limits)
    _, bends = _moves(values)
    return np.array(
        [energy.step(state, limits, i, bend, floor, i not in breaks) for i, bend in enumerate(bends)]
    )
