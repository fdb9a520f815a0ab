"""Compiled: what the channels say of one value, before it becomes an alarm."""

import math

import numpy as np

from processors.engine.channels import (
    Channel,
    energy,
    extent,
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
from schemas.compiled import compiled_borrowing

CHANNELS = len(Channel)

_WINDOW, _SPIKE, _JUMP = int(Channel.WINDOW), int(Channel.SPIKE), int(Channel.JUMP)
_RANGE, _RARE, _ENERGY = int(Channel.RANGE), int(Channel.RARE), int(Channel.ENERGY)
_PATTERN, _SHIFT, _MODEL = int(Channel.PATTERN), int(Channel.SHIFT), int(Channel.MODEL)
_STUCK, _FLICKER, _DWELL = int(Channel.STUCK), int(Channel.FLICKER), int(Channel.DWELL)
_NEVER = window.NEVER

_LEAST_STEP = 1e-12

_SANE_AFTER, _SANE_WIDTHS = 200, 20.0
"""Values after which one that lies so many widths of all that was seen beyond it counts as lying just there."""

EXPECTATION = np.dtype(
    [
        ("mean", "f8"),  # of the last readings, before this one
        ("std", "f8"),
        ("low", "f8"),  # extent before this reading, tolerance included
        ("high", "f8"),
        ("level", "f8"),  # the last value
        ("unit", "f8"),  # usual step
        ("described", "i8"),  # set to 1 where a complete pane was described
        ("features", "f4", (len(model.FEATURES),)),  # of that pane
    ]
)
"""What a series expected before a reading: kept aside, for the channels learn as they judge."""


@compiled_borrowing
def judge_value(s, p, forests, expectation, time, value, follows, q):
    """Judge a value by all channels for numbers, and learn from it.

    Args:
        s: the series' state.
        p: its profile.
        forests: `Forests`.
        expectation: filled with what was expected.
        time: event time, µs; not before the last one.
        value: the value.
        follows: False behind a gap.
        q: (channels,) filled.
    """
    count = s.judged
    if count == 0:
        extent.begin(s.extent, value)
    width = s.extent.high - s.extent.low
    if count > _SANE_AFTER and width > 0.0:  # one absurd value must not set the scale of all that follow
        value = min(max(value, s.extent.low - _SANE_WIDTHS * width), s.extent.high + _SANE_WIDTHS * width)
    tolerance = p.range.threshold * width
    expectation.mean = s.spike.mean if count > 0 else value
    expectation.std = math.sqrt(s.spike.var)
    expectation.low = min(s.extent.low, s.extent.shadow_low) - tolerance
    expectation.high = max(s.extent.high, s.extent.shadow_high) + tolerance
    expectation.level = s.level if count > 0 else value
    _close_pane(s, p, forests, expectation, time, width, q)
    if tolerance > 0.0 and count > p.range.warmup:
        q[_RANGE] = extent.overshoot(s.extent, value) / (tolerance * extent.caution(count)) * p.range.on
    extent.widen(s.extent, value, tolerance, p.range.shrink, p.range.share)
    # the floor is of the range with this value: of a constant series the first other value sets the scale itself
    floor = p.jump.floor * (s.extent.high - s.extent.low) + _LEAST_STEP
    expectation.unit = max(math.sqrt(s.jump.power), floor)
    change = value - s.level if count > 0 else 0.0
    bend = change - s.change
    alone = 0.0
    if p.jump.on:
        stands_out = min(abs(s.change), abs(s.bend), abs(bend))
        alone = jump.step_alone(s.jump, p.jump, count, stands_out, expectation.unit)
    young = 1.0 / (count + 1)
    q[_SPIKE] = spike.step(s.spike, p.spike, count, young, value, expectation.std) * p.spike.on
    q[_JUMP] = jump.step(s.jump, p.jump, count, young, change, bend, expectation.unit, follows) * p.jump.on
    if alone > q[_JUMP]:
        q[_JUMP] = alone
        expectation.level -= s.change
    q[_ENERGY] = energy.step(s.energy, p.energy, count, young, bend, floor, follows) * p.energy.on
    q[_RARE] = rare.step(s.rare, p.rare, count, value, s.extent.low, s.extent.high) * p.rare.on
    q[_STUCK] = stuck.step(s.stuck, p.stuck, count, value, s.level) * p.stuck.on
    q[_DWELL] = stuck.rest(s.stuck, p.dwell, count, value) * p.dwell.on
    if p.model.on and p.model.number >= 0:
        step = change if follows else 0.0
        model.add(s.model, s.pane_sum, s.pane_count, s.pattern.expected, value, step)
    s.pane_sum += value
    s.pane_count += 1
    s.pane_time = time
    s.change = change
    s.bend = bend if follows else 0.0
    s.level = value
    s.judged += 1


@compiled_borrowing
def _close_pane(s, p, forests, expectation, time, width, q):
    """Where a new pane begins, judge the mean of the last one by the slow channels."""
    pane = window.pane_of(time, int(p.meaning.pane_s * 1e6), s.pane)
    if pane == s.pane:
        return
    if s.pane != _NEVER and s.pane_count > 0:
        middle_s = (s.pane + 0.5) * p.meaning.pane_s if s.pane_count > 1 else s.pane_time * 1e-6
        mean = s.pane_sum / s.pane_count
        profiled, before = s.pattern.profiled, s.pattern.expected
        q[_PATTERN] = pattern.step(s.pattern, p.pattern, s.panes, middle_s, mean) * p.pattern.on
        q[_SHIFT] = shift.step(s.shift, p.shift, s.panes, mean, width) * p.shift.on
        if p.model.on and p.model.number >= 0 and s.pattern.profiled > profiled:
            complete = (s.panes, s.pane_count, mean)
            q[_MODEL] = _ask_model(s, p, forests, expectation, before, complete, width)
        s.slow_q = max(q[_PATTERN], q[_SHIFT], q[_MODEL])
        s.panes += 1
    s.pane = pane
    s.pane_sum = 0.0
    s.pane_count = 0
    model.begin(s.model)


@compiled_borrowing
def _ask_model(s, p, forests, expectation, before, pane, width):
    floor = p.jump.floor * width + _LEAST_STEP
    unit = math.sqrt(s.energy.power)
    if not model.describe(s.model, before, s.pattern, s.shift, unit, pane, floor, expectation.features):
        return 0.0
    expectation.described = 1
    return model.step(forests, p.model, expectation.features)


@compiled_borrowing
def judge_switch(s, p, value, q):
    """Judge a value that is 0 or 1, and learn from it."""
    toggled = s.judged > 0 and value != s.level
    q[_FLICKER] = switching.flicker(s.switching, p.flicker, s.judged, toggled) * p.flicker.on
    q[_DWELL] = switching.dwell(s.switching, p.dwell, s.judged, value > 0.0, toggled) * p.dwell.on
    s.level = value
    s.judged += 1


@compiled_borrowing
def judge_window(s, p, value):
    """Judge a value by the sliding window alone, without learning.

    Returns:
        q, readings in the window, their mean and std.
    """
    count, mean, m2 = window.moments(s.window, p.window.panes)
    if count < 2:
        return 0.0, count, mean, 0.0
    std = window.std_of(count, mean, m2)
    distance = value - mean
    if p.alarm.sides > 0:
        distance = max(distance, 0.0)
    elif p.alarm.sides < 0:
        distance = min(distance, 0.0)
    return abs(distance) / (std * p.window.k), count, mean, std


@compiled_borrowing
def only_wanted(p, expected, value, q):
    """Silence the value channels for deviations that the profile does not want to hear of."""
    distance = value - expected
    wrong_side = (p.alarm.sides > 0 and distance < 0.0) or (p.alarm.sides < 0 and distance > 0.0)
    if wrong_side or abs(distance) < p.alarm.minimum_deviation:
        for channel in range(_WINDOW, _MODEL + 1):
            q[channel] = 0.0


@compiled_borrowing
def strongest(q, begin, end):
    """The largest q of some channels and whose it is."""
    best, channel = 0.0, begin
    for i in range(begin, end):
        if q[i] > best:
            best, channel = q[i], i
    return best, channel
