"""Changes laid over a device type, as plain data: by a type that extends it, or by a group of a fleet."""

from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]

_ENTRIES = frozenset({"metrics", "faults", "parameters", "states"})
"""Parts of a type that are made of entries with a name."""


def merge_types(base: Data, changes: Data) -> dict[str, Any]:
    """`changes` over `base`: an entry's keys replace those of the base's entry, null removes an entry or a key."""
    merged = dict(base)
    for key, value in changes.items():
        if key in _ENTRIES and isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = merge_entries(base[key], value)
        elif key == "attributes" and isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = _laid_over(base[key], value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}


def merge_entries(base: Data, changes: Data) -> dict[str, Any]:
    """Entries over entries, key by key."""
    merged = dict(base)
    for name, entry in changes.items():
        old = base.get(name)
        if isinstance(entry, Mapping) and isinstance(old, Mapping):
            merged[name] = _laid_over(old, entry)
        elif entry is None and name in base:
            del merged[name]
        else:
            merged[name] = entry
    return merged


def _laid_over(base: Data, changes: Data) -> dict[str, Any]:
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def without_metrics(kind: Data, dropped: frozenset[str]) -> dict[str, Any]:
    """A type without some of its metrics: what followed them does so no more, and faults only of them go too."""
    metrics = {}
    for name, metric in kind["metrics"].items():
        if name not in dropped:
            follows = {
                other: gain for other, gain in metric.get("follows", {}).items() if other not in dropped
            }
            metrics[name] = {**metric, "follows": follows}
    faults = {}
    for name, fault in kind.get("faults", {}).items():
        named = fault.get("metrics", ())
        left = [metric for metric in named if metric not in dropped]
        if left or not named:
            faults[name] = {**fault, "metrics": left}
    return {**kind, "metrics": metrics, "faults": faults}
