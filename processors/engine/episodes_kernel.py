"""Compiled: from q to alarms. An episode opens once, stays open while readings deviate, and is cleared once.

What keeps alarms fit to wake somebody: a series that is WARMING raises nothing; behind an opening the series opens
nothing for a while (refractory), unless it is far stronger; each alarm adds heat, which raises the threshold of the
next and cools slowly; an episode ends only after some calm readings in a row (hysteresis), or in silence; and a level
that stays is accepted after a bounded number of readings.
"""

import math

import numpy as np

from processors.engine.channels import VALUE_CHANNELS, Channel, pattern, rare
from processors.engine.channels.window import NEVER
from processors.engine.judging_kernel import strongest
from processors.engine.states import CONDITION, EPISODE
from schemas.compiled import compiled_borrowing

_WINDOW = int(Channel.WINDOW)
_SPIKE, _JUMP, _RANGE = int(Channel.SPIKE), int(Channel.JUMP), int(Channel.RANGE)
_PATTERN, _SHIFT, _RARE = int(Channel.PATTERN), int(Channel.SHIFT), int(Channel.RARE)
_MODEL, _ENERGY = int(Channel.MODEL), int(Channel.ENERGY)
_STUCK, _FLICKER, _INVALID, _GAP = (
    int(Channel.STUCK),
    int(Channel.FLICKER),
    int(Channel.INVALID),
    int(Channel.GAP),
)

OPENED, CLEARED = 1, 2
VALUE, QUALITY, GAP = 0, 1, 2

_VALUE_OPEN, _QUALITY_OPEN, GAP_OPEN = 1 << VALUE, 1 << QUALITY, 1 << GAP

EVENT = np.dtype(
    [("row", "i8"), ("series", "i8"), ("what", "i8"), ("slot", "i8"), ("time", "i8"), ("clock", "i8")]
)
"""A step of an episode: by which row, of which series, OPENED or CLEARED, in which slot, at which event time.

`clock` is what the partition's clock showed then.
"""

_BACK = 0.75
"""Share of its distance by which an episode's reading must come back at once for the fault to be over."""

_USUAL_STDS = 3.0
"""Half width, in std, of what is expected where a channel has no bounds of its own."""


class Events:
    """Room for the events of a part of a batch; the loop stops where it runs out.

    Attributes:
        steps: (n,) of `EVENT`.
        episodes: (n,) copies of a value's episode, as of the event.
        conditions: (n,) the same of the data's quality.
    """

    def __init__(self, room: int) -> None:
        self.steps = np.zeros(room, EVENT)
        self.episodes = np.zeros(room, EPISODE)
        self.conditions = np.zeros(room, CONDITION)


MOST_EVENTS_OF_A_READING = 8


@compiled_borrowing
def emit(steps, used, row, series, what, slot, time):
    """Note a step; the caller copies the episode."""
    step = steps[used]
    step.row = row
    step.series = series
    step.what = what
    step.slot = slot
    step.time = time


@compiled_borrowing
def stamp(steps, begin, end, clock):
    """Write the partition's time into the steps of a row; gives `end`."""
    for i in range(begin, end):
        steps[i].clock = clock.time
    return end


@compiled_borrowing
def heat_now(s, p, time):
    """Heat of past alarms at an event time."""
    if s.heat <= 0.0:
        return 0.0
    return s.heat * math.exp(-max(time - s.heat_time, 0) / (p.alarm.heat_decay_s * 1e6))


@compiled_borrowing
def follow_value(s, p, e, q, row, series, time, stamp_us, value, steps, episodes, used):
    """Take a reading's verdict into the series' episode about its value.

    Args:
        s, p: state and profile of the series.
        e: `EXPECTATION` before the reading.
        q: (channels,) what they said.
        row, series, time, stamp_us, value: the reading.
        steps, episodes, used: where events go, and how many are there.

    Returns:
        Events there now, and whether the reading is flagged.
    """
    best, channel = strongest(q, 0, VALUE_CHANNELS)
    if not s.open & _VALUE_OPEN:
        if best < 1.0 or not _may_open(s, p, best, time):
            return used, False
        _open(s, p, e, best, channel, time, stamp_us, value)
        emit(steps, used, row, series, OPENED, VALUE, time)
        episodes[used] = s.value_alarm
        return used + 1, True
    alarm = s.value_alarm
    if time < alarm.opened_at:  # it came late: what was before the episode does not end it
        return used, best >= p.alarm.calm_q
    alarm.since += 1
    flagged = _still_deviates(s, p, q, best, value)
    alarm.shape.over |= _comes_back(alarm.shape, value)
    _look(alarm.shape, value)
    if flagged:
        alarm.calm = 0
        alarm.flagged += 1
        if alarm.shape.over == 0:
            _look_closer(alarm.shape, value, float(alarm.since))
        if best > alarm.q:
            _peak(s, p, e, best, channel, value)
    else:
        alarm.calm += 1
    if alarm.calm >= p.alarm.calm or (alarm.since >= p.alarm.accept and alarm.channel != _WINDOW):
        emit(steps, used, row, series, CLEARED, VALUE, time)
        episodes[used] = s.value_alarm
        alarm.opened_at = NEVER
        s.open &= ~_VALUE_OPEN
        return used + 1, flagged
    return used, flagged


@compiled_borrowing
def _still_deviates(s, p, q, best, value):
    """Whether a reading belongs to the open episode: by the channel that opened it, or by its distance."""
    alarm = s.value_alarm
    if alarm.channel == _WINDOW:
        return best >= p.alarm.calm_q
    if alarm.channel in (_PATTERN, _SHIFT, _MODEL):
        return s.slow_q >= p.alarm.calm_q
    if alarm.channel in (_ENERGY, _RARE):
        return q[alarm.channel] >= p.alarm.calm_q
    return value < alarm.band_lower or value > alarm.band_upper


@compiled_borrowing
def _may_open(s, p, best, time):
    if s.readings < p.alarm.warmup:
        return False
    if s.last_opening != NEVER and p.alarm.refractory > 0:
        since = s.judged - s.last_opening
        urgent = since > p.alarm.urgent_after and best >= max(
            p.alarm.urgent, p.alarm.urgent_share * s.last_opening_q
        )
        if since <= p.alarm.refractory and not urgent:
            return False
    return best >= 1.0 + p.alarm.heat * heat_now(s, p, time)


@compiled_borrowing
def _open(s, p, e, best, channel, time, stamp_us, value):
    alarm = s.value_alarm
    s.open |= _VALUE_OPEN
    alarm.opened_at = time
    alarm.detected_at = stamp_us
    alarm.channel = channel
    alarm.flagged = 1
    alarm.since = 0
    alarm.calm = 0
    _peak(s, p, e, best, channel, value)
    base = alarm.expected
    returns = channel == _JUMP and _returns(s, e, value)
    if returns:
        base = s.pattern.expected
    # halfway back it is calm: noise about a new level stays on the far side, what has come back on the near one
    half = 0.5 * abs((e.level if returns else value) - base)
    alarm.band_lower = base - half
    alarm.band_upper = base + half
    shape = alarm.shape
    shape.base = base
    shape.returns = 1 if returns else 0
    shape.over = 0
    shape.unit = e.unit
    shape.count = 0.0
    shape.sum = 0.0
    shape.squares = 0.0
    shape.slope = 0.0
    shape.places = 0.0
    shape.places_squares = 0.0
    shape.first = value - base
    shape.furthest = 0.0
    shape.spread = _spread(s)
    shape.last = shape.first
    shape.step = 0.0
    shape.bend = 0.0
    shape.bend_before = 0.0
    shape.steps = 0.0
    shape.largest_step = 0.0
    shape.squared_bends = 0.0
    shape.lagged_bends = 0.0
    _look_closer(shape, value, 0.0)
    s.episodes += 1
    s.heat = heat_now(s, p, time) + 1.0
    s.heat_time = time
    s.last_opening = s.judged
    s.last_opening_q = best


@compiled_borrowing
def _returns(s, e, value):
    """Whether a jump leads back to what is usual at this time of day, from where the series had gone unnoticed."""
    if s.pattern.profiled < pattern.ROUGHLY_KNOWN:
        return False
    before, now = abs(e.level - s.pattern.expected), abs(value - s.pattern.expected)
    usual = math.sqrt(s.pattern.power)
    return before > _USUAL_STDS * usual and now < 0.5 * before


@compiled_borrowing
def _spread(s):
    """Std of a series over its day, from profile and distance from it; 0 before there is a day."""
    if s.pattern.profiled < pattern.ROUGHLY_KNOWN:
        return 0.0
    mean = square = 0.0
    for value in s.pattern.profile:
        mean += value
        square += value * value
    bins = len(s.pattern.profile)
    return math.sqrt(max(square / bins - (mean / bins) ** 2, 0.0) + s.pattern.power)


@compiled_borrowing
def _comes_back(shape, value):
    """Whether a reading leaps back towards what was expected: 1 or 0."""
    step = value - shape.base - shape.last
    back = step < 0.0 if shape.last > 0.0 else step > 0.0
    return 1 if back and abs(step) >= max(_BACK * abs(shape.last), 0.5 * abs(shape.first)) else 0


@compiled_borrowing
def _look(shape, value):
    """Take a value behind the opening into the episode's shape."""
    distance = value - shape.base
    step = distance - shape.last
    size = abs(step)
    shape.steps += size
    shape.largest_step = max(shape.largest_step, size)
    bend = step - shape.step
    shape.squared_bends += bend * bend
    shape.lagged_bends += bend * shape.bend_before
    shape.bend_before = shape.bend
    shape.bend = bend
    shape.step = step
    shape.last = distance


@compiled_borrowing
def _look_closer(shape, value, place):
    """Take a flagged value into the episode's shape; `place` counts readings from the opening."""
    distance = value - shape.base
    if abs(distance) > abs(shape.furthest):
        shape.furthest = distance
    shape.sum += distance
    shape.squares += distance * distance
    shape.slope += distance * place
    shape.places += place
    shape.places_squares += place * place
    shape.count += 1.0


@compiled_borrowing
def _peak(s, p, e, best, channel, value):
    """The most deviating reading so far, and what was expected of it in the words of the channel that says so."""
    alarm = s.value_alarm
    alarm.q = best
    alarm.value = value
    alarm.mean = e.mean
    alarm.std = e.std
    alarm.expected = e.mean
    alarm.lower = e.low
    alarm.upper = e.high
    if channel == _WINDOW:
        half = p.window.k * e.std
        alarm.lower = e.mean - half
        alarm.upper = e.mean + half
    elif channel in (_SPIKE, _JUMP):
        if channel == _JUMP:
            alarm.expected = e.level
        half = abs(value - alarm.expected) / best
        alarm.lower = alarm.expected - half
        alarm.upper = alarm.expected + half
    elif channel == _PATTERN:
        alarm.expected = s.pattern.expected
        half = _USUAL_STDS * math.sqrt(s.pattern.power)
        alarm.lower = alarm.expected - half
        alarm.upper = alarm.expected + half
    elif channel == _RARE:
        alarm.expected = rare.usual_near(s.rare, p.rare, value, e.mean)
        half = 0.5 * abs(value - alarm.expected)
        alarm.lower = alarm.expected - half
        alarm.upper = alarm.expected + half
    elif channel not in (_RANGE, _SHIFT):
        half = _USUAL_STDS * max(e.std, e.unit)
        alarm.lower = e.mean - half
        alarm.upper = e.mean + half


@compiled_borrowing
def follow_quality(s, p, q, row, series, time, stamp_us, value, steps, conditions, used):
    """Take a reading's verdict into the series' episode about its data: stuck, flickering, dwelling, invalid."""
    best, channel = strongest(q, VALUE_CHANNELS, _GAP)
    alarm = s.quality_alarm
    if not s.open & _QUALITY_OPEN:
        if best < 1.0 or s.readings < p.alarm.warmup:
            return used
        s.open |= _QUALITY_OPEN
        alarm.opened_at = time
        alarm.detected_at = stamp_us
        alarm.channel = channel
        alarm.flagged = 1
        alarm.calm = 0
        alarm.q = best
        alarm.value = value
        alarm.seen = _seen(s, channel)
        alarm.usual = alarm.seen / best
        s.episodes += 1
        emit(steps, used, row, series, OPENED, QUALITY, time)
        conditions[used] = s.quality_alarm
        return used + 1
    if time < alarm.opened_at:
        return used
    if q[alarm.channel] >= p.alarm.calm_q:
        alarm.calm = 0
        alarm.flagged += 1
        if q[alarm.channel] > alarm.q:
            alarm.q = q[alarm.channel]
            alarm.seen = _seen(s, alarm.channel)
    else:
        alarm.calm += 1
    # a value that moves again is no longer stuck; only flicker needs more than one reading to be sure
    if alarm.calm >= (p.alarm.calm if alarm.channel == _FLICKER else 1):
        emit(steps, used, row, series, CLEARED, QUALITY, time)
        conditions[used] = s.quality_alarm
        alarm.opened_at = NEVER
        s.open &= ~_QUALITY_OPEN
        return used + 1
    return used


@compiled_borrowing
def _seen(s, channel):
    if channel == _STUCK:
        return s.stuck.run
    if channel == _FLICKER:
        return s.switching.recent
    if channel == _INVALID:
        return 1.0
    return s.switching.stay


@compiled_borrowing
def open_gap(s, p, row, series, due, stamp_us, usual_us, steps, episodes, conditions, used):
    """A series is overdue: clear what is open of it, for nothing is known of it any more, and open the gap."""
    if s.open & _VALUE_OPEN:
        emit(steps, used, row, series, CLEARED, VALUE, due)
        episodes[used] = s.value_alarm
        s.value_alarm.opened_at = NEVER
        s.open &= ~_VALUE_OPEN
        used += 1
    if s.open & _QUALITY_OPEN:
        emit(steps, used, row, series, CLEARED, QUALITY, due)
        conditions[used] = s.quality_alarm
        s.quality_alarm.opened_at = NEVER
        s.open &= ~_QUALITY_OPEN
        used += 1
    if not p.gap.on:
        return used
    alarm = s.gap_alarm
    s.open |= GAP_OPEN
    alarm.opened_at = due
    alarm.detected_at = stamp_us
    alarm.channel = _GAP
    alarm.flagged = 0
    alarm.calm = 0
    alarm.q = 1.0
    alarm.value = s.last_value
    alarm.usual = usual_us
    alarm.seen = float(due - s.last_time)
    s.episodes += 1
    emit(steps, used, row, series, OPENED, GAP, due)
    conditions[used] = s.gap_alarm
    return used + 1


@compiled_borrowing
def close_gap(s, row, series, time, steps, conditions, used):
    """A reading came: the gap is over."""
    if not s.open & GAP_OPEN:
        return used
    alarm = s.gap_alarm
    # readings that were held back on the way may have times from before the gap was known
    alarm.seen = max(alarm.seen, float(time - s.last_time))
    alarm.q = max(alarm.q, alarm.seen / max(float(alarm.opened_at - s.last_time), 1.0))
    emit(steps, used, row, series, CLEARED, GAP, max(time, alarm.opened_at))
    conditions[used] = s.gap_alarm
    alarm.opened_at = NEVER
    s.open &= ~GAP_OPEN
    return used + 1
