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
        ("feature", "i4"),  # that is compared; -1 in a leaf
        ("left", "i4"),  # where to go on with values up to `value`
        ("right", "i4"),  # with larger ones
        ("value", "f8"),  # the cut; in a leaf the length of the path to it
    ]
)

FOREST = np.dtype(
    [
        ("first", "i8"),  # of its trees, in the list of roots
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
        roots: (t,) nodes with which the trees begin.
        table: (k,) of `FOREST`.
    """

    nodes: Table
    roots: NDArray[np.int64]
    table: Table


NO_FORESTS = Forests(np.zeros(0, NODE), np.zeros(0, np.int64), np.zeros(0, FOREST))


@dataclass(frozen=True, eq=False, slots=True)
class Forest:
    """One forest.

    Attributes:
        nodes: (n,) of `NODE`; children lie behind their parents.
        roots: (t,) nodes with which the trees begin.
        length: of the usual paths of all trees together.
        usual: the median score of what was healthy.
        threshold: the score of an alarm, above `usual`.
    """

    nodes: Table
    roots: NDArray[np.int64]
    length: float
    usual: float
    threshold: float


def joined(forests: Sequence[Forest]) -> Forests:
    """Forests as rows of one table, in their order."""
    if not forests:
        return NO_FORESTS
    table = np.zeros(len(forests), FOREST)
    nodes, roots = [], []
    node = tree = 0
    for row, forest in zip(table, forests, strict=True):
        row["first"], row["trees"] = tree, len(forest.roots)
        row["length"], row["usual"], row["threshold"] = forest.length, forest.usual, forest.threshold
        moved = forest.nodes.copy()
        inner = moved["feature"] >= 0
        for side in ("left", "right"):
            moved[side][inner] += node
        nodes.append(moved)
        roots.append(forest.roots.astype(np.int64) + node)
        node += len(forest.nodes)
        tree += len(forest.roots)
    return Forests(np.concatenate(nodes), np.concatenate(roots), table)
