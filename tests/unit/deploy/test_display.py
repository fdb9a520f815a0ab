"""The live view of `up`: its table of anomalies, as a terminal shows it."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from deploy.stack.database import AnomalyRow
from deploy.stack.display import Display
from deploy.stack.watching import Observation

OPENED_AT = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
REASON = "temperature 91.2 is 8.1 std above 52.0 (expected 50.1 to 53.9)"
GAP = AnomalyRow(OPENED_AT, None, "pump-7", "flow", "gap", "CRITICAL", "", 3.0, 8.25, 1.5)
SPIKE = AnomalyRow(
    OPENED_AT,
    OPENED_AT + timedelta(seconds=90),
    "oven-restaurant-1",
    "temperature",
    "spike",
    "WARNING",
    REASON,
    91.2,
    8.1,
    52.0,
)


def view(rows: list[AnomalyRow], width: int) -> list[str]:
    """Lines of the whole view on a terminal of a width."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    display = Display(console, "readings")
    display.flowing("127.0.0.1")
    try:
        display.show(Observation(at=1.0, anomalies=len(rows), latest=rows))
    finally:
        display.close()
    return [line.strip() for line in out.getvalue().splitlines()]


def test_an_anomaly_is_shown_with_kind_severity_and_reason() -> None:
    lines = view([SPIKE, GAP], 150)
    (spike,) = [line for line in lines if "oven-restaurant-1" in line]
    assert " ".join(spike.split()) == (
        f"2024-03-01 12:30 warn oven-restaurant-1 temperature spike {REASON} 1.5 min"
    )
    (gap,) = [line for line in lines if "pump-7" in line]
    assert " ".join(gap.split()) == "2024-03-01 12:30 crit pump-7 flow gap 3 is 8.2 std from 1.5 open"


@pytest.mark.parametrize("width", [90, 100])
def test_on_a_narrow_terminal_the_reason_is_cut(width: int) -> None:
    lines = view([SPIKE], width)
    (spike,) = [line for line in lines if "oven-restaurant-1" in line]
    shown, _, after = spike.partition("…")
    assert REASON.startswith(shown.split("spike  ")[1])
    assert after.split() == ["1.5", "min"]
