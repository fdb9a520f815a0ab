"""Compiled loop of the engine: one reading after the other against its series' state.

A reading is judged by the series' readings before it, in the partition's order, and by nothing else: how the readings
were cut into batches cannot be seen in the result, so a replay gives the same bits. What is due at a time and not
at a reading follows the partition's event time (`deadlines`).
"""

from processors.engine.channels import VALUE_CHANNELS, Channel, gap, window
from processors.engine.channels.window import NEVER
from processors.engine.deadlines import UNSET, set_key, tell_time
from processors.engine.episodes_kernel import (
    GAP_OPEN,
    MOST_EVENTS_OF_A_READING,
    close_gap,
    follow_quality,
    follow_value,
    open_gap,
    stamp,
)
from processors.engine.judging_kernel import (
    CHANNELS,
    judge_switch,
    judge_value,
    judge_window,
    only_wanted,
    strongest,
)
from processors.engine.prefetch import prefetch
from processors.engine.states import HOT_LINES, RECENT_TIMES, SLOW_FIRST, SLOW_LINES
from schemas.compiled import compiled_borrowing

LATE, REPEATED, WARMING, NORMAL, FLAGGED, ALREADY_APPLIED = 1, 2, 3, 4, 5, 6
"""What became of a reading."""

_WINDOW, _INVALID = int(Channel.WINDOW), int(Channel.INVALID)
_INVALID_Q = 2.0
_HOUR_US = 3.6e9

_AHEAD, _SOON = 12, 6
"""Readings ahead of which a series' state is asked for, as long as memory takes; and what only the end of a pane needs, when
it can be seen that one ends."""


@compiled_borrowing
def remember(s, time):
    """Note a reading's time: NORMAL for a new one, REPEATED for a known, LATE where that cannot be known."""
    recent, filled, place = s.recent, s.recent_count, s.recent_next
    if filled == 0 or time > recent[place - 1 if place > 0 else RECENT_TIMES - 1]:
        recent[place] = time
        s.recent_next = place + 1 if place + 1 < RECENT_TIMES else 0
        s.recent_count = min(filled + 1, RECENT_TIMES)
        return NORMAL
    newer = 0  # remembered times that are newer than this one
    while newer < filled and recent[(place - 1 - newer) % RECENT_TIMES] > time:
        newer += 1
    if newer < filled and recent[(place - 1 - newer) % RECENT_TIMES] == time:
        return REPEATED
    if newer == filled and filled == RECENT_TIMES:
        return LATE
    for k in range(newer):
        recent[(place - k) % RECENT_TIMES] = recent[(place - 1 - k) % RECENT_TIMES]
    recent[(place - newer) % RECENT_TIMES] = time
    s.recent_next = (place + 1) % RECENT_TIMES
    s.recent_count = min(filled + 1, RECENT_TIMES)
    return NORMAL


@compiled_borrowing
def ends_pane(s, p, time):
    """Whether the slow channels will judge a pane at this time."""
    return s.pane != NEVER and time >= (s.pane + 1) * int(p.meaning.pane_s * 1e6)


@compiled_borrowing
def fire_deadlines(states, profiles, profile_of, heap, clock, row, stamp_us, offset, changed, events, used):
    """Open the gaps of all series that are overdue by the partition's clock, in the order of their deadlines.

    Returns:
        Events there now, and whether that was all: False where there was no room for more.
    """
    order, place, key, tie = heap
    steps, episodes, conditions = events
    room = len(steps) - MOST_EVENTS_OF_A_READING
    while len(order) > 0 and key[order[0]] <= clock.time:
        if used > room:
            return used, False
        series = order[0]
        s, p = states[series], profiles[profile_of[series]]
        silence = gap.deadline_us(s.gap, p.gap)
        if silence == 0 or s.open & GAP_OPEN:
            set_key(order, place, key, tie, series, UNSET)
            continue
        due = s.last_time + silence
        overdue = due + gap.patience_us(s.gap)
        if overdue > key[series]:  # it was looked at too early: its turn comes in the order of the times
            set_key(order, place, key, tie, series, overdue)
            continue
        set_key(order, place, key, tie, series, UNSET)
        before = used
        used = open_gap(
            s, p, row, series, due, stamp_us, s.gap.interval_us, steps, episodes, conditions, used
        )
        if used > before:
            s.touched = offset
            changed[series] = True
    return used, True


@compiled_borrowing
def _arrive(s, p, row, series, time, stamp_us, clock, steps, episodes, conditions, used):
    """What the time of a reading says, before its value: the end of a gap, the usual interval.

    Returns:
        Events there now, and whether the reading follows the last one as usual.
    """
    if s.last_time == NEVER:
        return used, True
    interval = float(time - s.last_time)
    silence = gap.deadline_us(s.gap, p.gap)
    if not s.open & GAP_OPEN and silence > 0 and interval > silence and p.gap.on:
        due = s.last_time + silence
        used = open_gap(
            s, p, row, series, due, stamp_us, s.gap.interval_us, steps, episodes, conditions, used
        )
    used = close_gap(s, row, series, time, steps, conditions, used)
    follows = gap.continues(s.gap, interval)
    lag = float(clock.time - time) if clock.time != NEVER else 0.0
    gap.step(s.gap, p.gap, interval, max(lag, 0.0))
    return used, follows


@compiled_borrowing
def meaning_of(s, p, time, value):
    """The number that the channels judge, and whether there is one: a counter's growth, a direction's turn."""
    if p.meaning.counter:
        before, before_time = s.total, s.total_time
        s.total = value
        s.total_time = time
        if before_time == NEVER or value < before:
            return 0.0, False
        return (value - before) / (time - before_time) * _HOUR_US, True
    if p.meaning.period > 0.0:
        before, before_time = s.total, s.total_time
        s.total = value
        s.total_time = time
        if before_time == NEVER:
            return 0.0, False
        half = 0.5 * p.meaning.period
        return (value - before + half) % p.meaning.period - half, True
    return value, True


@compiled_borrowing
def is_switch(s, p, value):
    """Whether the series says 0 or 1; a series that does so until now and says something else begins anew."""
    if p.meaning.switch >= 0:
        return p.meaning.switch == 1
    if s.is_switch == 1 and value not in (0.0, 1.0):
        s.is_switch = 0
        s.judged = 0
    return s.is_switch == 1


@compiled_borrowing
def apply_readings(
    states,
    profiles,
    forests,
    profile_of,
    device_of,
    heap,
    clock,
    series,
    times,
    values,
    offsets,
    timestamps_ms,
    rows,
    begin,
    outcome,
    scores,
    changed,
    events,
    q,
    expectation,
):
    """Apply `rows[begin:]` of a batch, in order, to their series, until the room for events ends.

    Args:
        states: (series,) of `SERIES`.
        profiles: (k,) of `PROFILE`; profile_of: (series,) which of them a series has.
        forests: `Forests`.
        device_of: (series,) hash of a series' device.
        heap: order, place, key and tie of the deadlines' heap.
        clock: the partition's `CLOCK`.
        series: (n,) series number of each row of the batch.
        times, values, offsets, timestamps_ms: (n,) the batch's columns.
        rows: the rows to apply, ascending: those whose status is fine.
        outcome: (n,) filled with what became of each row.
        scores: (n,) filled with the largest q of the value channels.
        changed: (series,) set to True for each series touched.
        events: steps, episodes and conditions, filled from 0 on.
        q, expectation: room to work in: (channels,) and one `EXPECTATION`.

    Returns:
        Where in `rows` to go on (len(rows) when all are applied), and how many events there are.
    """
    steps, episodes, conditions = events
    order, place, key, tie = heap
    room = len(steps) - MOST_EVENTS_OF_A_READING
    used = stamped = 0
    for at in range(begin, len(rows)):
        stamped = stamp(steps, stamped, used, clock)
        if at + _AHEAD < len(rows):
            prefetch(states, series[rows[at + _AHEAD]], 0, HOT_LINES)
            soon = rows[at + _SOON]
            if ends_pane(states[series[soon]], profiles[profile_of[series[soon]]], times[soon]):
                prefetch(states, series[soon], SLOW_FIRST, SLOW_LINES)
        row = rows[at]
        number = series[row]
        s, p = states[number], profiles[profile_of[number]]
        time, offset, stamp_us = times[row], offsets[row], timestamps_ms[row] * 1000
        tell_time(clock, device_of[number], time)
        if len(order) > 0 and key[order[0]] <= clock.time:
            used, all_fired = fire_deadlines(
                states, profiles, profile_of, heap, clock, row, stamp_us, offset, changed, events, used
            )
            if not all_fired:
                break
        if used > room:
            break
        if offset <= s.last_offset:
            outcome[row] = ALREADY_APPLIED
            continue
        s.last_offset = offset
        s.touched = offset
        changed[number] = True
        seen = remember(s, time)
        if seen == REPEATED:
            s.repeated += 1
            outcome[row] = REPEATED
            continue
        window.follow(s.window, p.window.pane_us if p.window.on else -p.window.pane_us)
        pane = window.pane_of(time, p.window.pane_us, s.window.head)
        if seen == LATE or window.is_behind(s.window, pane, p.window.panes):
            s.late += 1
            outcome[row] = LATE
            continue
        s.readings += 1
        value = values[row]
        in_order = s.last_time == NEVER or time > s.last_time
        follows = True
        if in_order:
            used, follows = _arrive(
                s, p, row, number, time, stamp_us, clock, steps, episodes, conditions, used
            )
            s.last_time = time
            s.last_value = value
            silence = gap.deadline_us(s.gap, p.gap)
            overdue = time + silence + gap.patience_us(s.gap)
            if silence > 0 and overdue < key[number]:
                set_key(order, place, key, tie, number, overdue)
        for channel in range(CHANNELS):
            q[channel] = 0.0
        if value < p.meaning.lowest or value > p.meaning.highest:
            q[_INVALID] = _INVALID_Q
            used = follow_quality(s, p, q, row, number, time, stamp_us, value, steps, conditions, used)
            outcome[row] = FLAGGED
            continue
        if p.window.on:
            window.advance(s.window, pane, p.window.panes)
        else:
            s.window.head = max(s.window.head, pane)  # what is late is known by it all the same
        flagged, watched = False, s.readings >= p.alarm.warmup
        derived = p.meaning.counter or p.meaning.period > 0.0  # what a late reading tells of is over
        judged, there = meaning_of(s, p, time, value) if in_order else (value, not derived)
        numeric = there and not (in_order and is_switch(s, p, value))
        if in_order and there and not numeric:
            judge_switch(s, p, value, q)
        if p.window.on and there:
            q[_WINDOW], count, expectation.mean, expectation.std = judge_window(s, p, judged)
            expectation.level = expectation.low = expectation.high = expectation.mean
            expectation.unit = 0.0
            watched = count >= p.alarm.warmup
            if not watched:
                q[_WINDOW] = 0.0
        elif in_order and numeric:
            judge_value(s, p, forests, expectation, time, judged, follows, q)
            only_wanted(p, expectation.mean, judged, q)
        if there and (in_order or p.window.on):
            used, flagged = follow_value(
                s, p, expectation, q, row, number, time, stamp_us, judged, steps, episodes, used
            )
            used = follow_quality(s, p, q, row, number, time, stamp_us, value, steps, conditions, used)
        best, _ = strongest(q, 0, VALUE_CHANNELS)
        scores[row] = best
        if p.window.on and there and not flagged:
            window.add(s.window, pane, judged)
        outcome[row] = FLAGGED if flagged else (NORMAL if watched else WARMING)
    else:
        at = len(rows)
    stamp(steps, stamped, used, clock)
    return at, used
