"""Isolation forests as flat tables, which the compiled loops walk through.

F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation forest", ICDM 2008: what few random cuts set apart from all else is unusual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processors.engine.profile import Table

NODE = np.dtype(
    [
        ("cut", "f4"),
        ("feature", "i2"),  # that is compared with the cut; -1 in a leaf
        ("next", "u2"),  # how many nodes further on larger values go on; in a leaf the place in `paths`
    ]
)
"""Values up to the cut go on with the next node. Eight bytes, for a forest is walked through in main memory's time."""

FOREST = np.dtype(
    [
        ("first", "i8"),  # of its trees, in the list of roots
        ("paths", "i8"),  # where its own begin
        ("trees", "i8"),
        ("length", "f8"),  # of the usual paths of all trees together
        ("usual", "f8"),  # the median score
        ("threshold", "f8"),  # the score of an alarm
    ]
)


class Forests(NamedTuple):
    """All forests in force.

    Attributes:
        nodes: (n,) of `NODE`.
        paths: (p,) lengths of paths to leaves.
        roots: (t,) nodes with which the trees begin.
        table: (k,) of `FOREST`.
    """

    nodes: Table
    paths: NDArray[np.float64]
    roots: NDArray[np.int64]
    table: Table


NO_FORESTS = Forests(np.zeros(0, NODE), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, FOREST))


@dataclass(frozen=True, eq=False, slots=True)
class Forest:
    """One forest.

    Attributes:
        nodes: (n,) of `NODE`.
        paths: (p,) lengths of paths to leaves.
        roots: (t,) nodes with which the trees begin.
        length: of the usual paths of all trees together.
        usual: the median score of what was healthy.
        threshold: the score of an alarm, above `usual`.
    """

    nodes: Table
    paths: NDArray[np.float64]
    roots: NDArray[np.int64]
    length: float
    usual: float
    threshold: float


def joined(forests: Sequence[Forest]) -> Forests:
    """Forests as rows of one table, in their order."""
    if not forests:
        return NO_FORESTS
    table = np.zeros(len(forests), FOREST)
    node = path = tree = 0
    roots = []
    for row, forest in zip(table, forests, strict=True):
        row["first"], row["paths"], row["trees"] = tree, path, len(forest.roots)
        row["length"], row["usual"], row["threshold"] = forest.length, forest.usual, forest.threshold
        roots.append(forest.roots + node)
        node, path, tree = node + len(forest.nodes), path + len(forest.paths), tree + len(forest.roots)
    return Forests(
        np.concatenate([forest.nodes for forest in forests]),
        np.concatenate([forest.paths for forest in forests]),
        np.concatenate(roots),
        table,
    )
