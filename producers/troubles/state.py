"""What waits, on its way to disk and back: with names in place of numbers, which another table may give otherwise."""

import numpy as np
from numpy.typing import NDArray

from producers.batches import SeriesTable
from producers.troubles.sends import Sends

State = dict[str, NDArray[np.generic]]
"""Arrays by name, none of objects: what `numpy.savez` takes."""

_NAMES = {"series": ("device_ids", "metrics"), "fault": ("faults",)}


def save_sends(sends: Sends, table: SeriesTable) -> State:
    """Messages as arrays; `device_ids`, `metrics` and `faults` have the names that `series` and `fault` number."""
    state: State = {name: column.copy() for name, column in sends.columns().items()}
    for name, lists in _NAMES.items():
        column = np.asarray(state[name], np.int64)
        used = np.unique(column[column >= 0])
        state[name] = np.where(column < 0, column, np.searchsorted(used, column))
        for names in lists:
            known: list[str] = getattr(table, names)
            state[names] = np.array([known[number] for number in used.tolist()], np.str_)
    return state


def load_sends(state: State, table: SeriesTable) -> Sends:
    """The messages that `save_sends` saved, with the numbers of `table`, which gets the names that it does not have.

    Raises:
        KeyError: an array is missing.
        ValueError, IndexError: the arrays do not fit together.
    """
    series = map(table.series, state["device_ids"].tolist(), state["metrics"].tolist())
    faults = map(table.fault, state["faults"].tolist())
    numbers = {"series": list(series), "fault": list(faults)}
    return Sends.of_columns(state | {name: _renumbered(state[name], new) for name, new in numbers.items()})


def _renumbered(column: NDArray[np.generic], numbers: list[int]) -> NDArray[np.int64]:
    # -1, which is none, takes the last one.
    return np.array([*numbers, -1], np.int64)[np.asarray(column, np.int64)]
