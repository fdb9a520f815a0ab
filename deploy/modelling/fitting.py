"""Panes to a forest, by scikit-learn's IsolationForest; the flat form gives the same scores."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.engine.collecting_kernel import score_panes
from processors.engine.forests import NODE, Forest, joined
from processors.engine.profile import Table
from processors.models.info import ForestInfo

TREES = 100
SAMPLES = 1024
"""Panes that a tree is grown from, at most. On the fleet `evaluation` 1,024 find a tenth more of the faults than the usual 256
at the same false alarms; 4,096 little more for four times the memory."""

DAY_S = 86_400.0


def fit(panes: Table, seed: int, alarms_per_day: float, pane_s: float) -> tuple[Forest, ForestInfo]:
    """A forest of what is healthy.

    Args:
        panes: (n,) of `PANE`, two or more.
        seed: the same seed and panes give the same forest.
        alarms_per_day: how often a healthy series may alarm, by its panes: what the threshold follows from.
        pane_s: length of a pane.
    """
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - seconds, and nobody else needs it

    samples = min(SAMPLES, len(panes))
    trained = IsolationForest(n_estimators=TREES, max_samples=samples, random_state=seed)
    trained.fit(np.ascontiguousarray(panes["features"]))
    nodes, paths, roots = _flat([tree.tree_ for tree in trained.estimators_])
    length = TREES * average_path(samples)
    scores = scores_of(Forest(nodes, paths, roots, length, 0.0, 1.0), panes)
    usual = float(np.median(scores))
    share = min(max(1.0 - alarms_per_day * pane_s / DAY_S, 0.5), 1.0)
    threshold = max(float(np.quantile(scores, share)), usual + 1e-6)
    return Forest(nodes, paths, roots, length, usual, threshold), ForestInfo(
        trees=TREES, samples=samples, length=length
    )


def scores_of(forest: Forest, panes: Table) -> NDArray[np.float64]:
    """(m,) isolation scores of panes."""
    scores = np.zeros(len(panes))
    score_panes(joined([forest]), panes, scores)
    return scores


def average_path(samples: float) -> float:
    """Mean length of the path to a value among `samples`; Liu, Ting and Zhou (2008), equation 1."""
    if samples <= 1:
        return 0.0
    if samples == 2:
        return 1.0
    return 2.0 * (math.log(samples - 1.0) + np.euler_gamma) - 2.0 * (samples - 1.0) / samples


def _flat(trees: list[Any]) -> tuple[Table, NDArray[np.float64], NDArray[np.int64]]:
    """Nodes, path lengths and roots, see `Forest`."""
    parts, lengths = zip(*map(_nodes, trees), strict=True)
    paths, places = np.unique(np.concatenate(lengths), return_inverse=True)
    nodes = np.concatenate(parts)
    nodes["next"][nodes["feature"] < 0] = places
    sizes = [len(part) for part in parts]
    return nodes, paths, np.cumsum([0, *sizes[:-1]])


def _nodes(tree: Any) -> tuple[Table, NDArray[np.float64]]:
    """The nodes of scikit-learn's tree, which come in depth-first order, and the path lengths of its leaves."""
    left, right, feature, cut, samples = (
        np.asarray(getattr(tree, name))
        for name in ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    )
    inner = np.flatnonzero(left >= 0)
    if (left[inner] != inner + 1).any():
        raise RuntimeError("this scikit-learn orders the nodes of its trees in another way")
    depth = np.zeros(len(left))
    for node in inner:
        depth[[left[node], right[node]]] = depth[node] + 1.0
    nodes = np.zeros(len(left), NODE)
    nodes["feature"] = -1
    nodes["feature"][inner] = feature[inner]
    nodes["next"][inner] = right[inner] - inner
    nodes["cut"][inner] = _rounded_down(cut[inner])
    leaves = np.flatnonzero(left < 0)
    return nodes, depth[leaves] + [average_path(int(count)) for count in samples[leaves]]


def _rounded_down(cuts: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above: features are float32, so that the same ones are below."""
    near = cuts.astype(np.float32)
    return np.where(near > cuts, np.nextafter(near, np.float32(-np.inf)), near)
