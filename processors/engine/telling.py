"""An episode in words: its kind, named as a fault is, how severe it is, and why it was raised."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processors.engine.channels import Channel
from schemas.readings import AnomalySeverity

_SHORT = 12
"""Flagged readings up to which a departure is a spike or a drop, and no new level."""

_FEW = 4
"""Flagged readings from which their scatter says something."""

_SWINGS = -0.4
"""Correlation of bends two apart, below which readings swing; that of noise is 1/6."""

_CLIMBS = 0.75
"""Share of the furthest distance from which the first reading was there at once."""

_RESTLESS = 2.5
"""Usual steps from which an episode's steps are noise."""

_BEYOND_PATTERN = 5.0
"""Std of a series up to which a departure from its day's pattern may be just that."""

_UNSETTLED = 2.0
"""The same of so few flagged readings that they say little by themselves."""

_STRAIGHT = 0.9
"""Correlation with time from which large steps are those of a steep ramp."""

_UP = 0.75
"""Mean distance, as a share of the furthest, from which what climbed stayed up there: a ramp to the end has a half."""

_FAR = 9.0
"""Std of a series beyond which no slow drift takes it."""

_RAMP = 0.6
"""Correlation with time from which an episode is a ramp."""

_STEADY = 0.25
"""Std, as a share of the mean distance, up to which an episode stays at one value."""

_CRITICAL_Q = 4.0
_INFO_Q = 1.2


@dataclass(frozen=True, slots=True)
class Shape:
    """What an episode about a value looked like; see `states.SHAPE`. Distances are from what was expected when it opened.

    Attributes:
        readings: flagged ones.
        mean, std: of their distances.
        slope: how much of their std goes along a straight line, with its sign: +-1 a ramp, 0 none.
        first, furthest: distances.
        size: furthest distance in std of the series over its day; infinite where that is not known.
        swing: correlation of the bends two apart: near -1 an oscillation of some readings' period; noise has 1/6.
        unrest: mean size of the steps behind the opening but for the largest, in usual steps.
        returns: whether the series came back by a jump from where it had gone unnoticed; `size` is how far that was.
        followed: readings behind the opening, flagged or not.
    """

    readings: int
    mean: float
    std: float
    slope: float
    first: float
    furthest: float
    size: float
    swing: float
    unrest: float
    returns: bool
    followed: int

    @classmethod
    def of(cls, episode: Any) -> "Shape":
        """From a record of `EPISODE`."""
        shape = {name: float(episode["shape"][name]) for name in episode["shape"].dtype.names}
        n = max(shape["count"], 1.0)
        mean, place = shape["sum"] / n, shape["places"] / n
        var = max(shape["squares"] / n - mean * mean, 0.0)
        spread = max(shape["places_squares"] / n - place * place, 0.0)
        away = abs(shape["furthest"])
        if shape["returns"]:
            away = float(episode["band_upper"] - episode["band_lower"])
        covariance = shape["slope"] / n - mean * place
        return cls(
            readings=int(n),
            mean=mean,
            std=var**0.5,
            slope=covariance / (var * spread) ** 0.5 if var > 0.0 and spread > 0.0 else 0.0,
            first=shape["first"],
            furthest=shape["furthest"],
            size=away / shape["spread"] if shape["spread"] > 0.0 else math.inf,
            swing=shape["lagged_bends"] / shape["squared_bends"] if shape["squared_bends"] > 0.0 else 0.0,
            unrest=(shape["steps"] - shape["largest_step"])
            / max(float(episode["since"]) - 1.0, 1.0)
            / max(shape["unit"], 1e-12),
            returns=shape["returns"] > 0.0,
            followed=int(episode["since"]),
        )


FINER: Mapping[str, str] = {"build_up": "drift", "surge": "level_shift"}
"""Kinds that are told apart only where a rule gives them a name, and the kind that they are of otherwise.

A build-up climbs and stays, as dust does; a surge is there within a few readings, as smoke is.
"""

_QUALITY = {
    Channel.STUCK: "stuck",
    Channel.FLICKER: "flicker",
    Channel.INVALID: "invalid",
    Channel.GAP: "missing_data",
}

_AT_FIRST = {
    Channel.WINDOW: "deviation",
    Channel.ENERGY: "noise",
    Channel.PATTERN: "pattern",
    Channel.SHIFT: "drift",
    Channel.MODEL: "pattern",
}


def value_kind(episode: Any, cleared: bool) -> str:
    """Kind of an episode about a value; when it is over, its shape says more than the channel that opened it."""
    channel = Channel(int(episode["channel"]))
    if channel == Channel.WINDOW:
        return _AT_FIRST[channel]
    shape = Shape.of(episode)
    reads_nought = float(episode["value"]) == 0.0 and float(episode["band_lower"]) > 0.0
    if reads_nought and shape.std < _STEADY * abs(shape.mean):
        return "device_failure"
    if not cleared:
        if shape.returns:
            return "drift"
        return _AT_FIRST.get(channel) or ("spike" if shape.first >= 0.0 else "drop")
    return kind_of_shape(channel, shape)


def kind_of_shape(channel: Channel, shape: Shape) -> str:
    """The fault that leaves such a trace; of `FINER` kinds the finer one.

    Steps that come and go regularly are an oscillation, large ones without a level noise; few readings are a spike or a
    drop, many at one level a level shift, a ramp or what comes back from afar a drift; and values that are usual, but
    not at this time of day, break the pattern.
    """
    if shape.returns:
        return "build_up" if shape.size > _FAR else "drift"
    if shape.swing < _SWINGS and shape.followed >= _FEW:
        return "oscillation"
    if _scatters(channel, shape):
        return "noise"
    climbs = abs(shape.first) < _CLIMBS * abs(shape.furthest)
    return _short(shape, climbs) if shape.readings <= _SHORT else _long(channel, shape, climbs)


def _scatters(channel: Channel, shape: Shape) -> bool:
    if channel == Channel.ENERGY:
        return True
    if shape.readings < _FEW:  # too few for their own scatter to say much
        return shape.unrest > _UNSETTLED
    if abs(shape.slope) > _STRAIGHT:
        return False
    if shape.unrest > _RESTLESS and abs(shape.slope) < _RAMP and shape.std > _STEADY * abs(shape.mean):
        return True
    return abs(shape.mean) < (2.0 if shape.unrest > _RESTLESS else 1.0) * shape.std


def _short(shape: Shape, climbs: bool) -> str:
    if climbs and shape.readings >= _FEW:
        return "build_up" if _stays(shape) else "drift"
    return "spike" if shape.mean >= 0.0 else "drop"


def _long(channel: Channel, shape: Shape, climbs: bool) -> str:
    if channel == Channel.PATTERN:
        return "pattern"
    ramp = climbs and shape.slope * shape.mean > _RAMP * abs(shape.mean)
    if ramp or channel == Channel.SHIFT:
        return "build_up" if (ramp and _stays(shape)) or shape.size > _FAR else "drift"
    if shape.size <= _BEYOND_PATTERN:
        return "pattern"
    return "surge" if climbs else "level_shift"


def _stays(shape: Shape) -> bool:
    """Whether what climbed was up there for most of the time."""
    return abs(shape.mean) > _UP * abs(shape.furthest)


def named(kind: str, names: Mapping[str, str]) -> str:
    """What a kind is called where rules give such names."""
    if kind in FINER and kind not in names:
        kind = FINER[kind]
    return names.get(kind, kind)


def quality_kind(condition: Any) -> str:
    """Kind of an episode about the data's quality."""
    channel = Channel(int(condition["channel"]))
    if channel == Channel.DWELL:
        return "stuck_on" if float(condition["value"]) > 0.0 else "stuck_off"
    return _QUALITY[channel]


def severity(q: float) -> AnomalySeverity:
    """How severe an episode is, by its most deviating reading."""
    if q >= _CRITICAL_Q:
        return AnomalySeverity.CRITICAL
    return AnomalySeverity.INFO if q < _INFO_Q else AnomalySeverity.WARNING


def score(q: float) -> float:
    """From q (1 is the alarm level) to a score from 0 to 1, in which 0.5 is the alarm level."""
    return float(1.0 - 2.0 ** -min(q, 50.0))


_REASONS = {
    Channel.WINDOW: "is {stds} from the mean of the window",
    Channel.SPIKE: "is {stds} from the mean of the last readings",
    Channel.JUMP: "jumped from {expected}",
    Channel.RANGE: "is beyond all that was seen",
    Channel.RARE: "is where the series hardly ever stays",
    Channel.ENERGY: "changes more than it used to",
    Channel.PATTERN: "is not usual at this time of day",
    Channel.SHIFT: "has moved beyond its usual level",
    Channel.MODEL: "is unusual to the trained model",
}


def value_reason(metric: str, episode: Any) -> str:
    """Why, for people, as "temperature 91.2 jumped from 52.0 (expected 50.1 to 53.9)"."""
    std = float(episode["std"])
    distance = abs(float(episode["value"]) - float(episode["mean"]))
    words = _REASONS[Channel(int(episode["channel"]))].format(
        stds=f"{distance / std:.1f} std" if std > 0.0 else "far", expected=_number(episode["expected"])
    )
    bounds = f"expected {_number(episode['lower'])} to {_number(episode['upper'])}"
    return f"{metric} {_number(episode['value'])} {words} ({bounds})"


def quality_reason(metric: str, condition: Any) -> str:
    """Why, for people."""
    channel = Channel(int(condition["channel"]))
    seen, usual = float(condition["seen"]), float(condition["usual"])
    value = _number(condition["value"])
    if channel == Channel.GAP:
        return f"no reading of {metric} for {_duration(seen)}, usual is one every {_duration(usual)}"
    if channel == Channel.STUCK:
        return f"{metric} has said {value} for {seen:.0f} readings, more than {usual:.0f} are unusual"
    if channel == Channel.FLICKER:
        return f"{metric} toggled {seen:.0f} times within eight readings, more than {usual:.0f} are unusual"
    if channel == Channel.INVALID:
        return f"{metric} {value} cannot be: it is outside of the valid range"
    return f"{metric} has been {'on' if float(condition['value']) > 0.0 else 'off'} for {seen:.0f} readings, more than {usual:.0f} are unusual"


def _number(value: Any) -> str:
    return f"{float(value):.4g}"


def _duration(micros: float) -> str:
    seconds = micros / 1e6
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
