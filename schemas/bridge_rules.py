"""Rules of the MQTT bridge: which topics are read, and where in topic and payload a reading's parts stand.

    - topic: plant/{line}/{device_id}          a named part matches one level; + and # as MQTT has them
      device_id: "{line}-{device_id}"          text with the topic's parts in it, or a path into the payload ($.id)
      time: $.at                               path; without it the time of arrival
      time_format: epoch_ms
      metrics: {$.temperature: temperature, "$.axes[0].load": load-x}

    - topic: energy/devices/{device_id}/data
      metrics: "*"                             every number of the payload, under its own name,
      ignore: [anomaly_duration_remaining]     but for these
      fault: $.anomaly_type                    kind of the injected fault
      fault_when: $.anomaly                    only where this is true
      fault_metrics: $.anomaly_metrics         only of the fields in this list, where there is one

A path is `$` for the whole payload, then `.name`, `["name"]` and `[number]` steps; `power` alone means `$.power`.
"""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

JsonPath = tuple[str | int, ...]
"""Keys and indexes from the payload's root to a value."""

EVERY_NUMBER = "*"

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PART = re.compile(rf"\{{({_NAME})\}}")
_LEVEL = re.compile(rf"\{{{_NAME}\}}|\+|[^+#{{}}\0]*")
_STEP = re.compile(r"""\.([^.\[\]\s"']+)|\[(\d{1,6})\]|\["([^"]+)"\]|\['([^']+)'\]""")


def parse_path(text: str) -> JsonPath:
    """The steps of a path.

    Raises:
        ValueError: it is none.
    """
    whole = text if text.startswith("$") else f"$.{text}"
    steps: list[str | int] = []
    position = 1
    while position < len(whole):
        match = _STEP.match(whole, position)
        if match is None:
            raise ValueError(f"{text!r} is no path, as $.status.power or $.values[0] is")
        name, index = match[1] or match[3] or match[4], match[2]
        steps.append(int(index) if index else name)
        position = match.end()
    return tuple(steps)


class TopicPattern:
    """A topic filter with named parts.

    Attributes:
        text: as it was written.
        filter: as MQTT wants it.
        parts: the names, in order.

    Raises:
        ValueError: it is no topic filter.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._levels = text.split("/")
        if not text or len(text.encode()) > 60_000 or text.startswith("$share/"):
            raise ValueError("expected a topic as energy/devices/{device_id}/data")
        *above, last = self._levels
        for level in [*above, *([] if last == "#" else [last])]:
            if not _LEVEL.fullmatch(level):
                raise ValueError(
                    f"level {level!r} of the topic: expected a name, {{part}}, +, or # at the end; each alone"
                )
        self.parts = tuple(_PART.findall(text))
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("a named part of the topic is there twice")
        self.filter = _PART.sub("+", text)
        self._regex = re.compile(self._expression(), re.DOTALL)

    def match(self, topic: str) -> dict[str, str] | None:
        """The named parts of a topic, None where it does not fit."""
        found = self._regex.fullmatch(topic)
        return None if found is None else found.groupdict()

    def covers(self, other: Self) -> bool:
        """Whether every topic of `other` is one of ours."""
        ours, theirs = self.filter.split("/"), other.filter.split("/")
        for index, level in enumerate(ours):
            if level == "#":
                return True
            if index >= len(theirs) or theirs[index] == "#" or level not in ("+", theirs[index]):
                return False
        return len(ours) == len(theirs)

    def overlaps(self, other: Self) -> bool:
        """Whether a topic can fit both."""
        ours, theirs = self.filter.split("/"), other.filter.split("/")
        for left, right in zip(ours, theirs, strict=False):
            if "#" in (left, right):
                return True
            if "+" not in (left, right) and left != right:
                return False
        shorter, longer = sorted((ours, theirs), key=len)
        return len(longer) == len(shorter) or longer[len(shorter) :] == ["#"]

    def _expression(self) -> str:
        expression = ""
        for index, level in enumerate(self._levels):
            slash = "/" if index else ""
            if level == "#":
                return expression + (r"(?:/.*)?" if index else ".*")
            if part := _PART.fullmatch(level):
                expression += rf"{slash}(?P<{part[1]}>[^/]*)"
            else:
                expression += slash + ("[^/]*" if level == "+" else re.escape(level))
        return expression


def _path_text(value: str) -> str:
    parse_path(value)
    return value


def _topic_text(value: str) -> str:
    TopicPattern(value)
    return value


def _metrics(value: Any) -> dict[str, str] | str:
    if value == EVERY_NUMBER:
        return EVERY_NUMBER
    if not isinstance(value, dict) or not value:
        raise ValueError('expected {path: metric, ...}, or "*" for every number of the payload')
    for path, metric in value.items():
        if not isinstance(path, str) or not isinstance(metric, str) or not 0 < len(metric) <= 255:
            raise ValueError(f"expected {{path: metric, ...}}, found {path!r}: {metric!r}")
        parse_path(path)
    if len(set(value.values())) < len(value):
        raise ValueError("expected different metrics: one is there twice")
    return dict(value)


Path = Annotated[str, AfterValidator(_path_text)]
Template = Annotated[str, Field(min_length=1, max_length=255)]


class BridgeRule(BaseModel):
    """How messages of one topic filter become readings; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Annotated[str, AfterValidator(_topic_text)]
    format: Literal["json", "number"] = "json"
    device_id: Template = "{device_id}"
    time: Path | None = None
    time_format: Literal["iso", "epoch_s", "epoch_ms", "epoch_us"] = "iso"
    metrics: Annotated[dict[str, str] | Literal["*"], PlainValidator(_metrics)]
    fault: Path | None = None
    fault_when: Path | None = None
    fault_metrics: Path | None = None
    ignore: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    missing: Literal["refuse", "skip"] = "refuse"

    @cached_property
    def pattern(self) -> TopicPattern:
        """The topic, parsed."""
        return TopicPattern(self.topic)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        templates = [] if self.device_id.startswith("$") else [self.device_id]
        if self.device_id.startswith("$"):
            parse_path(self.device_id)
        if isinstance(self.metrics, dict):
            templates += self.metrics.values()
        for template in templates:
            self._require_parts(template)
        if self.fault_when is not None and self.fault is None:
            raise ValueError("fault_when: there is no fault whose condition it could be")
        if self.fault_metrics is not None and self.fault is None:
            raise ValueError("fault_metrics: there is no fault that they could have")
        if self.ignore and self.metrics != EVERY_NUMBER:
            raise ValueError('ignore: only metrics "*" takes what is not named')
        if self.format == "number":
            self._require_number()
        return self

    def _require_parts(self, template: str) -> None:
        if unknown := [part for part in _PART.findall(template) if part not in self.pattern.parts]:
            raise ValueError(f"{template!r}: {{{unknown[0]}}} is no part of the topic {self.topic}")

    def _require_number(self) -> None:
        whole = isinstance(self.metrics, dict) and list(self.metrics) == ["$"]
        if not whole or self.time or self.fault or self.device_id.startswith("$"):
            raise ValueError(
                "a payload of format number is one value: metrics is {$: NAME}, and time, fault and device_id "
                "have no path into it"
            )


def fill_in(template: str, parts: dict[str, str]) -> str:
    """A template with the topic's parts in it."""
    return _PART.sub(lambda match: parts[match[1]], template) if "{" in template else template


def require_separate(rules: tuple[BridgeRule, ...]) -> tuple[BridgeRule, ...]:
    """The rules, if each can be reached and no message can come by two subscriptions.

    Raises:
        ValueError: says which.
    """
    if not rules:
        raise ValueError("expected one rule at least")
    for second, later in enumerate(rules):
        for first, earlier in enumerate(rules[:second]):
            if earlier.pattern.covers(later.pattern):
                raise ValueError(f"rule [{second}] is never reached: [{first}] takes all of its topics")
            if earlier.pattern.overlaps(later.pattern) and not later.pattern.covers(earlier.pattern):
                raise ValueError(
                    f"rules [{first}] and [{second}] share some topics, whose messages would come twice; "
                    "make one of them narrower, or one a part of the other"
                )
    return rules


def subscriptions(rules: tuple[BridgeRule, ...]) -> list[str]:
    """The topic filters to subscribe to: those that no other one covers."""
    patterns = [rule.pattern for rule in rules]
    return [
        pattern.filter
        for pattern in patterns
        if not any(other is not pattern and other.covers(pattern) for other in patterns)
    ]


DEFAULT_RULES = (
    BridgeRule(
        topic="energy/devices/{device_id}/data",
        time="$.timestamp",
        metrics=EVERY_NUMBER,
        ignore=("anomaly_duration_remaining",),
        fault="$.anomaly_type",
        fault_when="$.anomaly",
        fault_metrics="$.anomaly_metrics",
    ),
)
"""What iot-mock-service publishes, and `sigmawatch simulate --mqtt` with devices of any type.

The latter says which metrics a fault changed. Every number is a metric but the readings that are left of a fault.
"""
