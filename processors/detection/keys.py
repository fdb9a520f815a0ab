"""Every key that a rule can have beside its patterns: the fields of `Profile`, with what they mean and may be.

The defaults are the dataclasses' own. `docs/detection-rules.md` has this table; a test compares the three.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from processors.engine.channels.window import PANES
from processors.engine.profile import Profile
from processors.engine.settings import Sides
from processors.engine.storms import USUAL_STORMS
from schemas.durations import format_duration

KINDS = (
    "build_up", "deviation", "device_failure", "drift", "drop", "flicker", "invalid", "level_shift", "missing_data", "noise",
    "oscillation", "pattern", "spike", "stuck", "stuck_off", "stuck_on", "surge",
)  # fmt: skip
"""What the detector calls anomalies; `kinds` of a rule gives them other names."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section.

    Attributes:
        field: of the section's dataclass.
        meaning: for people.
        minimum, maximum: what it may be; for a duration in seconds.
        above: whether it must be above `minimum`.
        scale: of a duration, how many of the field's units a second is; None for what is no duration.
        optional: whether `null` is a value, and says that there is none.
    """

    field: str
    meaning: str
    minimum: float = -math.inf
    maximum: float = math.inf
    above: bool = False
    scale: float | None = None
    optional: bool = False

    def allowed(self, default: Any) -> str:
        """What it may be, in words; `default` tells its type."""
        if isinstance(default, Sides):
            return "below, both, above"
        if isinstance(default, bool) or (default is None and self.optional):
            return "true, false, null" if self.optional else "true, false"
        number = "whole number" if isinstance(default, int) else "number"
        word = number if self.scale is None else "duration"
        show = _plain if self.scale is None else format_duration
        limits = []
        if self.minimum > -math.inf:
            limits.append(f"{'above' if self.above else 'from'} {show(self.minimum)}")
        if self.maximum < math.inf:
            limits.append(f"up to {show(self.maximum)}")
        return " ".join([word, *limits]) + (", null" if self.optional else "")


def _positive(field: str, meaning: str, maximum: float = math.inf) -> Key:
    return Key(field, meaning, 0.0, maximum, above=True)


def _share(field: str, meaning: str) -> Key:
    return Key(field, meaning, 0.0, 1.0)


def _at_least(minimum: float, field: str, meaning: str) -> Key:
    return Key(field, meaning, minimum)


def _on(what: str) -> Key:
    return Key("on", f"whether the channel alarms: {what}")


def _record() -> Key:
    return _at_least(0, "record", "how many times its largest of before, remembered, a statistic must be")


_MEMORY = (
    _share("calm_decay", "what the largest statistic of calm readings loses per reading"),
    _share("alarmed_decay", "what the part that alarmed loses per reading"),
    _at_least(0, "cap", "how far above its threshold an alarm is remembered, as a multiple of it"),
    _share("share", "how far the memory goes towards what alarmed"),
    _at_least(0, "block", "readings behind which the memory follows"),
)

_DAY = 86_400.0

SECTIONS: Mapping[str, tuple[Key, ...]] = {
    "meaning": (
        Key("counter", "a total that only grows: judged by its growth per hour"),
        Key("switch", "says 0 or 1, on or off; null: found out from the values", optional=True),
        _at_least(0, "period", "of circular values, as 360 for degrees; 0: not circular"),
        Key("lowest", "least valid value; lower ones are `invalid`", optional=True),
        Key("highest", "largest valid value; higher ones are `invalid`", optional=True),
        Key("pane_s", "length of the panes whose means the slow channels judge", 1.0, _DAY, scale=1.0),
    ),
    "alarm": (
        _at_least(2, "warmup", "readings before a series is judged; `processor.minimum_readings` if no rule says it"),
        _at_least(1, "calm", "calm readings in a row that end an episode"),
        _positive("calm_q", "share of the threshold below which a reading is calm", 1.0),
        _at_least(1, "accept", "readings after which an episode's level is taken for the new normal"),
        _at_least(0, "refractory", "readings behind an opening in which the series opens nothing else"),
        _at_least(0, "urgent_after", "readings behind an opening after which a far stronger alarm is let through"),
        _at_least(1, "urgent", "how many thresholds strong that is"),
        _at_least(0, "urgent_share", "and how strong, as a share of the last alarm"),
        _at_least(0, "heat", "what each alarm adds to the threshold of the next, as a share of it"),
        Key("heat_decay_s", "time after which a third of that is left", 0.0, above=True, scale=1.0),
        _at_least(0, "minimum_deviation", "least distance from what is expected, in the metric's unit"),
        Key("sides", "which deviations count"),
    ),
    "window": (
        _on("far from the mean of a sliding window of event time, in its std"),
        Key("pane_us", "length of a pane; the window slides by one", 1e-6, scale=1e6),
        Key("panes", "panes of the window", 1, PANES),
        _positive("k", "std from the mean beyond which a reading deviates"),
    ),
    "spike": (
        _on("far from the mean of the last readings, in their std"),
        _at_least(1, "window", "readings of the mean"),
        _positive("threshold", "std"),
        _record(),
        _at_least(0, "warmup", "readings before it judges"),
    ),
    "jump": (
        _on("far from the last value and from where it was heading, in usual steps"),
        _at_least(1, "window", "readings of the usual step"),
        _positive("threshold", "usual steps"),
        _record(),
        _positive("clip", "of a squared step, in usual ones: what more teaches no more"),
        _at_least(0, "warmup", "readings before it judges"),
        _share("floor", "least usual step, as a share of the series' extent"),
        _at_least(0, "alone", "usual steps of one that stands alone, for what is switched and has inertia; 0: not judged"),
    ),
    "range": (
        _on("beyond all that was seen"),
        _positive("threshold", "share of the extent's width"),
        _share("shrink", "what the extent loses per reading, as a share of its width"),
        _share("share", "how far the extent goes towards a value beyond"),
        _at_least(0, "warmup", "readings before it judges"),
    ),
    "rare": (
        _on("where the series hardly ever stays"),
        Key("fine", "whether it tells levels apart that are half as far from each other, as a machine's"),
        _positive("threshold", "bits"),
        _record(),
        _at_least(1, "readings", "readings of the mean"),
        _at_least(0, "level", "bits that a usual value may have"),
        _positive("cap", "bits of one reading at most"),
        _at_least(1, "window", "readings that are remembered"),
        _at_least(0, "caution", "how much less a rare value teaches, per bit"),
        _at_least(0, "warmup", "readings before it judges"),
    ),
    "energy": (
        _on("changes more than it used to"),
        _at_least(1, "window", "readings of the usual step"),
        _at_least(1, "long_window", "readings of the usual energy"),
        _positive("threshold", "std"),
        _record(),
        _positive("clip", "of a squared step, in usual ones: what more teaches no more"),
        _positive("cap", "of one step, in usual ones"),
        _positive("floor", "least std"),
    ),
    "pattern": (
        _on("not usual at this time of day"),
        _positive("threshold", "std"),
        _record(),
        _share("learning", "weight of the newest day in what is usual"),
        _at_least(1, "window", "panes of the usual distance"),
        _at_least(1, "long_window", "panes of the usual statistic"),
        _positive("clip", "of a squared distance, in usual ones: what more teaches no more"),
        _positive("cap", "of one distance, in usual ones"),
        _positive("floor", "least std"),
    ),
    "shift": (
        _on("the mean has moved beyond its usual level"),
        _positive("threshold", "share of the means' extent"),
        _at_least(0, "spread", "share of the values' extent that is added"),
        _share("shrink", "what the extent loses per pane, as a share of its width"),
        _share("share", "how far the extent goes towards a mean beyond"),
        _at_least(0, "warmup", "panes before it judges"),
    ),
    "model": (
        _on("unusual to the trained model"),
        _positive("threshold", "multiple of the model's own threshold"),
    ),
    "stuck": (
        _on("the same value again and again"),
        _at_least(2, "threshold", "readings"),
        _record(),
        _share("repeats", "share of readings that normally repeat the last value; where more do, none is stuck"),
    ),
    "flicker": (
        _on("on and off too often"),
        Key("threshold", "toggles within eight readings", 1, 8),
        _record(),
        _at_least(0, "warmup", "readings before it judges"),
    ),
    "dwell": (
        _on("on, or off, for too long"),
        _at_least(2, "threshold", "readings"),
        _record(),
        _at_least(0, "mean", "how many times the mean stay a stay must be"),
        _at_least(0, "stays", "stays before it judges"),
        _at_least(0, "warmup", "readings before it judges"),
    ),
    "gap": (
        _on("no readings for too long"),
        _at_least(1, "threshold", "usual intervals"),
        _record(),
    ),
}  # fmt: skip
"""Keys of each section, in the profile's order; sections with a `memory` have `MEMORY` in it as well."""

STORM_KEYS: tuple[Key, ...] = (
    Key("on", "whether storms are told"),
    Key("window_us", "within how long the devices' anomalies open", 1.0, scale=1e6),
    _at_least(2, "devices", "devices of a group that it takes"),
    _share("share", "share of the group's devices in the partition that it takes, too"),
    Key("quiet_us", "time without a further device after which it is over", 1.0, scale=1e6),
)
"""Keys of the file's `storms`: of no series, but of all that have a type or a place in common."""

_NAMES = {
    "pane_s": "pane",
    "pane_us": "pane",
    "heat_decay_s": "heat_decay",
    "window_us": "window",
    "quiet_us": "quiet",
}


def name_of(key: Key) -> str:
    """How a rules file calls it: a duration carries its unit itself."""
    return _NAMES.get(key.field, key.field)


def keys_of(section: str) -> dict[str, Key]:
    """Keys of a section (`spike`, `spike.memory`, `storms`) by the names that they have in a file."""
    if section == "storms":
        return {name_of(key): key for key in STORM_KEYS}
    keys = _MEMORY if section.endswith(".memory") else SECTIONS[section]
    return {name_of(key): key for key in keys}


def sections() -> Iterator[tuple[str, Any]]:
    """Every section's name, as `spike` and `spike.memory`, and its defaults, in the profile's order."""
    for section in SECTIONS:
        defaults = getattr(Profile(), section)
        yield section, defaults
        for entry in fields(defaults):
            if is_dataclass(below := getattr(defaults, entry.name)):
                yield f"{section}.{entry.name}", below


def shown(key: Key, value: Any) -> str:
    """A value of the dataclass as a rules file has it."""
    if isinstance(value, Sides):
        return value.name.lower()
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and math.isinf(value)):
        return "null"
    return _plain(value) if key.scale is None else format_duration(value / key.scale)


def _plain(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 else str(int(value))


@dataclass(frozen=True, slots=True)
class Described:
    """A key for people; `key` is dotted."""

    key: str
    default: str
    allowed: str
    meaning: str


def describe_keys() -> list[Described]:
    """Every key of every section of a rule, for the documentation."""
    return [said for section, defaults in sections() for said in _described(section, defaults)]


def describe_storm_keys() -> list[Described]:
    """Every key of `storms`, likewise."""
    return _described("storms", USUAL_STORMS)


def _described(section: str, defaults: Any) -> list[Described]:
    return [
        Described(
            f"{section}.{name}",
            shown(key, getattr(defaults, key.field)),
            key.allowed(getattr(defaults, key.field)),
            key.meaning,
        )
        for name, key in keys_of(section).items()
    ]


def flat(profile: Profile) -> dict[str, str]:
    """Each key's value in a profile, as a rules file has it; what is called otherwise as `kinds.spike`."""
    values: dict[str, str] = {}
    for section, _ in sections():
        part: Any = profile
        for name in section.split("."):
            part = getattr(part, name)
        values |= {
            f"{section}.{name}": shown(key, getattr(part, key.field))
            for name, key in keys_of(section).items()
        }
    return values | {f"kinds.{kind}": name for kind, name in sorted(profile.kinds.items())}
