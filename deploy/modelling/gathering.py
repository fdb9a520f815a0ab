"""Histories to panes, as the engine sees them: through its own compiled code."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processors.engine.collecting_kernel import PANE, collect
from processors.engine.forests import NODE, Forest, joined
from processors.engine.judging_kernel import CHANNELS, EXPECTATION
from processors.engine.profile import Table
from processors.engine.states import new_states

if TYPE_CHECKING:
    from sinks.timescale.history import History


def _leaf() -> Forest:
    """A forest that says the same of everything: panes are described for a model only, which is yet to be."""
    nodes = np.zeros(1, NODE)
    nodes["feature"] = -1
    return Forest(nodes, np.ones(1), np.zeros(1, np.int64), length=1.0, usual=0.0, threshold=1.0)


_UNTRAINED = joined([_leaf()])


class Gatherer:
    """One series' history through the channels, a piece at a time.

    Args:
        profile: record of `PROFILE` that the series is judged by.
    """

    def __init__(self, profile: Table) -> None:
        self.state: Any = new_states(1)[0]
        self._profile: Any = profile.copy()
        self._profile["model"]["number"] = 0
        self._expectation: Any = np.zeros(1, EXPECTATION)[0]
        self._q = np.zeros(CHANNELS)
        self._carried = np.zeros(1, np.int64)

    def take(self, history: "History", anomalous: NDArray[np.int64]) -> Table:
        """The next readings; gives (m,) of `PANE`, the panes that they complete.

        Args:
            history: behind all readings before.
            anomalous: (k, 2) first and last times of stretches that are nothing to learn from, beside faults.
        """
        excluded = history.faulty.copy()
        for begin, end in anomalous:
            first, last = np.searchsorted(history.time, (begin, end + 1))
            excluded[first:last] = True
        panes = np.zeros(len(history.time), PANE)
        used = collect(
            self.state,
            self._profile,
            _UNTRAINED,
            self._expectation,
            self._q,
            history.time,
            history.value,
            excluded,
            self._carried,
            panes,
        )
        return panes[:used].copy()
