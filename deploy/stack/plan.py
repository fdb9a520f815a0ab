"""What a run of `up` is made of: the settings of its parts, which part is which command. Pure."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas import failpoints
from schemas.durations import format_duration
from schemas.readings import Reading
from schemas.settings import Settings, describe_settings, plain_list

DEMO_FLEET: Mapping[str, str] = {
    # Four readings a second of each series: a few seconds fill what the detector needs to judge.
    "simulate.interval": "250ms",
    # A fault every few seconds over the fleet: there is something to see at once.
    "simulate.anomaly_rate": "0.001",
}
DEMO_WINDOW: Mapping[str, str] = {
    "processor.window": "60s",
    "processor.panes": "10",
    "processor.minimum_readings": "40",
}
_NOT_HANDED_ON = frozenset(
    {"mqtt.url", *(f"database.{role}_password" for role in ("migrator", "writer", "reader"))}
)
"""`up` has Kafka between its parts: its fleet does not publish by MQTT. Roles' passwords are for `db roles` alone."""

WINDOW_INTERVALS = 100
"""Readings of one series that a guessed window holds."""

_WINDOW_KEYS = ("window", "panes", "minimum_readings")
_ENOUGH_READINGS = 20_000  # of a file, to know how far apart its readings are


def demo_overrides(settings: Settings) -> dict[str, str]:
    """Settings of the demo fleet and of a window to go with it, but for what the user has set."""
    chosen: dict[str, str] = {}
    simulate = settings.simulate.model_fields_set
    if not simulate & {"interval", "rate"}:
        chosen["simulate.interval"] = DEMO_FLEET["simulate.interval"]
    if not simulate & {"anomaly_rate", "fleet"}:
        chosen["simulate.anomaly_rate"] = DEMO_FLEET["simulate.anomaly_rate"]
    if not window_is_set(settings):
        chosen |= DEMO_WINDOW
        # A slower fleet needs a longer window, or it never warms up.
        interval = fleet_interval(settings, chosen)
        if interval is not None and interval > 1.0:
            chosen |= window_overrides(interval, settings.processor.panes) | {
                "processor.panes": str(settings.processor.panes)
            }
    return chosen


def fleet_interval(settings: Settings, overrides: Mapping[str, str]) -> float | None:
    """Seconds between two readings of one series; None where the overrides set it.

    Raises:
        ConfigError: there is no such fleet.
    """
    if "simulate.interval" in overrides:
        return None
    from producers.simulation.choosing import choose, options_of  # noqa: PLC0415

    return choose(options_of(settings)).options.interval


def window_is_set(settings: Settings) -> bool:
    """Whether the user chose anything about the processor's window."""
    return bool(settings.processor.model_fields_set & set(_WINDOW_KEYS))


def window_overrides(interval: float, panes: int) -> dict[str, str]:
    """A window of about `WINDOW_INTERVALS` readings that are `interval` seconds apart, in whole panes."""
    pane_us = max(1, math.ceil(interval * 1e6 * WINDOW_INTERVALS / panes))
    return {"processor.window": format_duration(pane_us * panes / 1e6)}


def median_interval(readings: Iterable[Reading]) -> float | None:
    """Median seconds between consecutive readings of one series; None where no series has two.

    Looks at the first 20,000 readings.
    """
    last: dict[tuple[str, str], int] = {}
    gaps: list[int] = []
    for count, reading in enumerate(readings):
        if count == _ENOUGH_READINGS:
            break
        series = reading.device_id, reading.metric
        before = last.get(series)
        if before is not None and reading.time > before:
            gaps.append(reading.time - before)
        last[series] = max(reading.time, before or reading.time)
    return statistics.median(gaps) / 1e6 if gaps else None


def environment(settings: Settings, mine: Iterable[str]) -> dict[str, str | None]:
    """Environment variables that give another process exactly these settings, secrets among them.

    Args:
        settings: to be handed on.
        mine: names of the variables that this process was given; those that say something else are taken away.
    """
    variables: dict[str, str | None] = {name: None for name in mine if name.startswith("SIGMAWATCH_")}
    variables.pop(failpoints.VARIABLE, None)  # no setting, and meant for every process
    for described in describe_settings():
        if described.key in _NOT_HANDED_ON:
            continue
        value: Any = settings
        for key in described.key.split("."):
            value = getattr(value, key)
        text = _as_text(value)
        if text is not None:
            variables[described.variable] = text
    return variables


def _as_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, dict | tuple):
        # dict(): its own repr masks, its items do not
        plain = dict(value) if isinstance(value, dict) else plain_list(value)
        return json.dumps(plain) if value else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "max" if math.isinf(value) else repr(value)
    if hasattr(value, "get_secret_value"):
        return str(value.get_secret_value())
    return str(value)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run's readings come from.

    Attributes:
        name: what messages call it.
        command: the arguments of `sigmawatch` that produce them.
        seconds: how long they flow, None to the end of the file or until stopped.
        file: the replayed file.
    """

    name: str
    command: tuple[str, ...]
    seconds: float | None = None
    file: Path | None = None

    def command_for(self, passed_seconds: float) -> tuple[str, ...]:
        """The command, for a start when the readings have flowed for a while already."""
        if self.file is not None or self.seconds is None:
            return self.command
        return (*self.command, "--duration", f"{max(0.001, self.seconds - passed_seconds):.3f}s")
