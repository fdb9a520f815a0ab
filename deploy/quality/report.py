"""A quality for programs and for people. Pure."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.quality.model import Rules
from deploy.quality.scoring import Quality, wilson
from schemas.durations import format_duration

_COMMON_KINDS = 3


def as_json(quality: Quality) -> dict[str, Any]:
    """The quality as a JSON object; what cannot be said is null."""
    return {
        "recall": _rounded(quality.recall),
        "precision": _rounded(quality.precision),
        "false_alarms_per_device_day": _rounded(quality.false_alarms_per_device_day),
        "kind_accuracy": _rounded(quality.kind_accuracy),
        "by_fault": {
            fault: {
                "events": score.events,
                "recall": _rounded(score.recall),
                "median_delay_s": _rounded(score.median_delay_s),
            }
            for fault, score in quality.faults.items()
        },
        "confusion": {
            fault: dict(sorted(score.kinds.items())) for fault, score in quality.faults.items() if score.kinds
        },
        "events": {"total": quality.events, "detected": quality.detected},
        "alarms": {
            "total": quality.true_alarms + quality.false_alarms,
            "true": quality.true_alarms,
            "false": quality.false_alarms,
        },
        "device_days": _rounded(quality.device_days),
    }


def rules_as_json(rules: Rules) -> dict[str, Any]:
    """What counted, as a JSON object."""
    return {
        "warm_up_s": rules.warmup_us / 1e6,
        "slack_s": rules.slack_us / 1e6,
        "slack_readings": rules.slack_readings,
    }


def table(quality: Quality) -> RenderableType:
    """The quality for people: faults with their recall and its 95 % confidence interval, then the alarms."""
    faults = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False, expand=True)
    faults.add_column("fault", no_wrap=True)
    for name in ("events", "recall", "95 %", "median delay"):
        faults.add_column(name, justify="right", no_wrap=True)
    # What the others leave is its width: on a narrow terminal it is what is cut off.
    faults.add_column("first called", no_wrap=True, overflow="ellipsis", ratio=1)
    for fault, score in quality.faults.items():
        common = ", ".join(f"{kind} {count}" for kind, count in score.kinds.most_common(_COMMON_KINDS))
        faults.add_row(
            fault,
            f"{score.events:,}",
            _percent(score.recall),
            _interval(score.detected, score.events),
            "-" if score.median_delay_s is None else format_duration(round(score.median_delay_s, 1)),
            Text(common, style="dim"),
        )
    faults.add_section()
    everything = _interval(quality.detected, quality.events)
    faults.add_row("all", f"{quality.events:,}", _percent(quality.recall), everything, "", "", style="bold")
    return Group(faults, Text(""), *alarm_lines(quality))


def alarm_lines(quality: Quality) -> list[Text]:
    """Alarms, precision and kinds."""
    rate = quality.false_alarms_per_device_day
    return [
        Text.assemble(
            ("alarms         ", "dim"),
            (f"{quality.true_alarms:,}", "bold"),
            " true   ",
            (f"{quality.false_alarms:,}", "bold"),
            f" false   precision {_percent(quality.precision)}",
        ),
        Text.assemble(
            ("false alarms   ", "dim"),
            ("-" if rate is None else f"{rate:.3f}", "bold"),
            f" a device-day   ({quality.device_days:,.1f} device-days)",
        ),
        Text.assemble(("right kind     ", "dim"), (_percent(quality.kind_accuracy), "bold")),
    ]


def one_line(said: Mapping[str, Any]) -> str:
    """The quality, as `as_json` says it, in a line."""
    return (
        f"{said['events']['detected']:,} of {said['events']['total']:,} faults found"
        f" ({_percent(said['recall'])})   false alarms {said['alarms']['false']:,}"
        f" (precision {_percent(said['precision'])})"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _interval(part: int, whole: int) -> str:
    if not whole:
        return ""
    low, high = wilson(part, whole)
    return f"{low:.0%}-{high:.0%}"
