"""The columns of a running fleet: one row a device, one row a series, and the tables of their types."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.simulation.program import CYCLE, FAULT, FOLLOW, METRIC, NONE, STATE, TYPE, Program

Table = NDArray[Any]

DEVICE = np.dtype(
    [
        ("member", "i8"),  # which device it is, in the fleet's list
        ("type", "i8"),  # row of the types' table
        ("first_number", "i8"),
        ("first_series", "i8"),
        ("zone", "i8"),
        ("key", "u8"),
        ("offset", "i8"),  # µs after the beginning of each interval
        ("online", "i8"),
        ("enabled", "i8"),
        ("chance", "f8"),  # of a fault, per reading
        ("state", "i8"),
        ("last_us", "i8"),  # time of the last step, NONE before the first
        ("fault", "i8"),  # row of the faults' table, NONE while it is healthy
        ("fault_amount", "f8"),
        ("fault_begin", "i8"),
        ("fault_end", "i8"),
        ("fault_length", "f8"),  # µs; of one without end, what it would have been
        ("fault_onset", "f8"),  # µs
        ("fault_mask", "u8"),
        ("fault_injected", "i8"),
    ],
    align=True,
)

SERIES = np.dtype(
    [
        ("number", "i8"),  # in the fleet's SeriesTable
        ("key", "u8"),
        ("level", "f8"),
        ("wander", "f8"),
        ("healthy", "f8"),
        ("value", "f8"),  # as last reported, nan before the first
        ("total", "f8"),  # of a counter
        ("held", "f8"),  # what a frozen metric says
        ("label", "i8"),  # fault of the present step, NONE if there is none
    ],
    align=True,
)


@dataclass(slots=True)
class TypeTables:
    """The programs of all types, one behind the other."""

    types: Table
    states: Table
    metrics: Table
    cycles: Table
    follows: Table
    faults: Table

    @classmethod
    def of(cls, programs: list[Program]) -> "TypeTables":
        """Tables in which program i is type i."""
        types = np.zeros(len(programs), TYPE)
        parts: dict[str, list[Table]] = {
            name: [] for name in ("states", "metrics", "cycles", "follows", "faults")
        }
        sizes = dict.fromkeys(parts, 0)
        for row, program in zip(types, programs, strict=True):
            row["first_metric"], row["metrics"] = sizes["metrics"], len(program.metrics)
            row["first_state"], row["states"] = sizes["states"], len(program.states)
            row["first_fault"], row["faults"] = sizes["faults"], len(program.faults)
            metrics = program.metrics.copy()
            metrics["first_cycle"] += sizes["cycles"]
            metrics["first_follow"] += sizes["follows"]
            tables = {
                "states": program.states,
                "metrics": metrics,
                "cycles": program.cycles,
                "follows": program.follows,
                "faults": program.faults,
            }
            for name, part in tables.items():
                parts[name].append(part)
                sizes[name] += len(part)
        kinds = {"states": STATE, "metrics": METRIC, "cycles": CYCLE, "follows": FOLLOW, "faults": FAULT}
        whole = {name: np.concatenate([np.empty(0, kinds[name]), *parts[name]]) for name in parts}
        return cls(types, **whole)


def new_devices(count: int) -> Table:
    """`count` rows of healthy devices that were never stepped."""
    rows = np.zeros(count, DEVICE)
    rows["online"] = rows["enabled"] = 1
    rows["last_us"] = rows["fault"] = NONE
    return rows


def new_series(count: int) -> Table:
    """`count` rows of series without a reading."""
    rows = np.zeros(count, SERIES)
    rows["value"] = rows["held"] = np.nan
    rows["label"] = NONE
    return rows
