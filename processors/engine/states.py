"""The state of a series: one numpy record, all that it needs to go on after a crash, and nothing else.

A partition keeps its series as the rows of one table: what a reading touches lies side by side in memory, and a row's
bytes are what the changelog carries.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.engine.channels import (
    energy,
    extent,
    gap,
    jump,
    model,
    pattern,
    rare,
    shift,
    spike,
    stuck,
    switching,
    window,
)
from processors.engine.channels.window import NEVER

Table = NDArray[Any]

RECENT_TIMES = 20
"""How many reading times a series remembers. A late reading that is older than all of them cannot be told from
one that was counted before, so it is stored and counted but not scored. 20 covers a third of a minute at one reading a
second for 160 bytes a series."""

_FIRST_CAPACITY = 256

SHAPE = np.dtype(
    [
        ("base", "f8"),  # the value expected when it opened
        ("unit", "f8"),  # the usual step then
        ("count", "f8"),  # flagged readings
        ("sum", "f8"),  # of their distances from the base
        ("squares", "f8"),
        ("slope", "f8"),  # sum of distance times place, in readings from the opening
        ("places", "f8"),  # sum of places
        ("places_squares", "f8"),
        ("first", "f8"),  # distance of the first
        ("furthest", "f8"),  # distance of the furthest
        (
            "spread",
            "f8",
        ),  # std of the series when it opened: of its day and of what it strays from it; 0: not known
        ("last", "f8"),  # distance of the last reading, flagged or not
        ("step", "f8"),  # from the reading before it
        ("bend", "f8"),  # the change of the step, now and before
        ("bend_before", "f8"),
        ("steps", "f8"),  # sum of the sizes of the steps, and the largest of them
        ("largest_step", "f8"),
        ("squared_bends", "f8"),  # sums of the bends' squares and of the products of bends two apart
        ("lagged_bends", "f8"),
        ("returns", "i4"),  # 1 where the series came back by a jump from where it had gone unnoticed
        ("over", "i4"),  # 1 once it has come back by a jump: what follows is not the fault's
    ]
)
"""What an episode looked like, in few numbers: its kind is read off them when it is over, see `telling`."""

EPISODE = np.dtype(
    [
        ("opened_at", "i8"),  # event time, µs; NEVER while there is none
        ("detected_at", "i8"),  # Kafka timestamp of the record that opened it, µs
        ("channel", "i4"),
        ("calm", "i4"),  # calm readings in a row
        ("flagged", "i8"),  # readings
        ("since", "i8"),  # readings since it opened
        ("q", "f8"),  # of the most deviating reading so far, as are the next six
        ("value", "f8"),
        ("expected", "f8"),
        ("mean", "f8"),
        ("std", "f8"),
        ("lower", "f8"),
        ("upper", "f8"),
        ("band_lower", "f8"),  # back inside of these bounds it is calm
        ("band_upper", "f8"),
        ("shape", SHAPE),
    ]
)

CONDITION = np.dtype(
    [
        ("opened_at", "i8"),
        ("detected_at", "i8"),
        ("channel", "i4"),
        ("calm", "i4"),
        ("flagged", "i8"),
        ("q", "f8"),
        ("value", "f8"),
        ("usual", "f8"),  # readings or µs that are usual
        ("seen", "f8"),  # readings or µs that were seen
    ]
)
"""An episode about the data's quality: stuck, flickering, dwelling, invalid, or missing."""

SERIES = np.dtype(
    [
        ("last_offset", "i8"),  # of the last reading applied; NEVER before the first
        ("origin", "u8"),  # what the state belongs to, see `ProfileBook.origin`; 0 where that does not matter
        ("touched", "i8"),  # offset of the last record that changed this state, of another series too (gaps)
        ("last_time", "i8"),  # newest event time, µs
        ("last_value", "f8"),  # the value of that reading
        ("readings", "i8"),  # that entered or were judged, flagged ones included
        ("late", "i8"),  # too old for the window or for the remembered times
        ("repeated", "i8"),  # whose time was seen before
        ("episodes", "i8"),  # opened so far
        ("judged", "i8"),  # values that the channels have had, in the order of their times
        ("level", "f8"),  # the last of them
        ("change", "f8"),  # its distance from the one before
        ("bend", "f8"),  # the change of that distance; 0 behind a gap
        ("total", "f8"),  # a counter's last reading
        ("total_time", "i8"),
        ("is_switch", "i4"),  # 1 while all values were 0 or 1
        ("open", "i4"),  # which slots have an open episode, a bit each: `episodes_kernel`
        ("pane", "i8"),  # the slow channels' pane, as event time // length; NEVER before the first
        ("pane_sum", "f8"),
        ("pane_count", "i8"),
        ("pane_time", "i8"),  # newest event time in it
        ("panes", "i8"),  # panes that are complete
        ("slow_q", "f8"),  # what the slow channels said of the last one
        ("heat", "f8"),  # of past alarms, as of `heat_time`
        ("heat_time", "i8"),
        ("last_opening", "i8"),  # `judged` at the last alarm about a value; NEVER before the first
        ("last_opening_q", "f8"),
        ("recent_count", "i8"),
        ("recent_next", "i8"),  # where the next time goes in `recent`
        # What nearly every reading touches comes first: it lies side by side in memory.
        ("gap", gap.STATE),
        ("extent", extent.STATE),
        ("spike", spike.STATE),
        ("jump", jump.STATE),
        ("stuck", stuck.STATE),
        ("rare", rare.STATE),
        ("energy", energy.STATE),
        (
            "recent",
            "i8",
            (RECENT_TIMES,),
        ),  # newest distinct reading times, ascending from `recent_next` round
        ("window", window.STATE),
        ("pattern", pattern.STATE),
        ("shift", shift.STATE),
        ("model", model.STATE),
        ("switching", switching.STATE),
        ("value_alarm", EPISODE),
        ("quality_alarm", CONDITION),
        ("gap_alarm", CONDITION),
    ]
)

_LINE = 64


def _begin(name: str) -> int:
    return int(SERIES.fields[name][1])  # type: ignore[index]  # it has fields


HOT_LINES = _begin("window") // _LINE + 2
"""Cache lines at the beginning of a state that nearly every reading touches, wherever in a line it begins."""

SLOW_FIRST = _begin("pattern") // _LINE
SLOW_LINES = _begin("switching") // _LINE + 2 - SLOW_FIRST
"""Those that the end of a pane touches."""

_NEVER_AT_FIRST = ("last_offset", "touched", "last_time", "total_time", "pane", "heat_time", "last_opening")
_ALARMS = ("value_alarm", "quality_alarm", "gap_alarm")


def new_states(count: int) -> Table:
    """(count,) series that have seen nothing."""
    states = np.zeros(count, SERIES)
    for name in _NEVER_AT_FIRST:
        states[name] = NEVER
    states["window"]["head"] = NEVER
    states["is_switch"] = 1
    for name in _ALARMS:
        states[name]["opened_at"] = NEVER
    return states


def grown(states: Table, series: int) -> Table:
    """The same table with room for at least `series` series; itself where it has it."""
    if series <= len(states):
        return states
    capacity = max(_FIRST_CAPACITY, len(states))
    while capacity < series:
        capacity *= 2
    wider = new_states(capacity)
    wider[: len(states)] = states
    return wider
