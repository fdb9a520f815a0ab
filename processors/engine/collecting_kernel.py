"""Compiled: a series' history through the channels for numbers, for the panes that a model is trained on.

The same code as in `engine_kernel`, without alarms: what a model learns from is what it is asked about later.
"""

import numpy as np

from processors.engine.channels import gap, model
from processors.engine.channels.window import NEVER
from processors.engine.engine_kernel import is_switch, meaning_of
from processors.engine.judging_kernel import judge_value
from schemas.compiled import compiled_borrowing

ECHO = 20
"""Panes behind one that is excluded, which have it in their means (see `shift`), and teach nothing either."""

PANE = np.dtype(
    [
        ("pane", "i8"),  # event time // length
        ("closed", "i8"),  # event time of the first reading behind it, µs
        ("excluded", "u1"),  # a reading of it, or of a pane not far behind, is nothing to learn from
        ("features", "f4", (len(model.FEATURES),)),
    ]
)


@compiled_borrowing
def collect(s, p, forests, expectation, q, times, values, excluded, carried, panes):
    """Apply readings of one series, and gather its panes.

    Args:
        s, p: state and profile of the series; the profile has a model.
        forests: `Forests`.
        expectation, q: room to work in: one `EXPECTATION`, (channels,).
        times, values, excluded: (n,) event times in µs, ascending; values; True for what is nothing to learn from.
        carried: (1,) panes, the present one among them, that such a reading excludes; kept for the next call.
        panes: (m,) of `PANE`, filled; at most one a reading.

    Returns:
        How many panes there are.
    """
    used = 0
    for row in range(len(times)):
        time, value = times[row], values[row]
        follows = True
        if s.last_time != NEVER:
            interval = float(time - s.last_time)
            follows = gap.continues(s.gap, interval)
            gap.step(s.gap, p.gap, interval, 0.0)
        s.last_time = time
        s.last_value = value
        if value < p.meaning.lowest or value > p.meaning.highest:
            continue
        judged, there = meaning_of(s, p, time, value)
        if not there or is_switch(s, p, value):
            if there:
                s.level = value
                s.judged += 1
            continue
        pane = s.pane
        expectation.described = 0
        judge_value(s, p, forests, expectation, time, judged, follows, q)
        if expectation.described == 1:
            found = panes[used]
            found.pane = pane
            found.closed = time
            found.excluded = carried[0] > 0
            for i in range(len(found.features)):
                found.features[i] = expectation.features[i]
            used += 1
        if s.pane != pane:
            carried[0] = max(carried[0] - 1, 0)
        if excluded[row]:
            carried[0] = 1 + ECHO
    return used


@compiled_borrowing
def score_panes(forests, panes, scores):
    """Fill in the isolation scores of (m,) panes by the first forest."""
    for row in range(len(panes)):
        scores[row] = model.score(forests, 0, panes[row].features)
