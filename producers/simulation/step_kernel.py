"""The compiled step: what devices do from one reading to the next.

The order within a device is fixed and part of what a seed means: operating state, fault, then its metrics in the order of
the type. Every draw is a function of (key, time, stream) alone, so neither the pieces into which time is cut nor the
other devices change it.
"""

import numpy as np

from producers.devices.metrics import Shape
from producers.devices.model import Effect
from producers.exact import Stream
from producers.exact_kernel import draw_normal, draw_uniform, sine_of
from producers.simulation.program import (
    EFFECTS,
    FOREVER,
    KIND_COUNTER,
    KIND_RATIO,
    NOISE_NORMAL,
    NOISE_UNIFORM,
    NONE,
    SCALE_BASELINE,
    SCALE_PARAMETER,
    SCALE_SPREAD,
    SHAPES,
)
from schemas.compiled import compiled

ZONE_STEP_US = 900_000_000
"""Time zones change their offsets at whole quarters of an hour."""

_SINE, _TRIANGLE = SHAPES[Shape.SINE], SHAPES[Shape.TRIANGLE]
_MULTIPLY, _ADD, _RAMP, _OSCILLATE = (
    EFFECTS[effect] for effect in (Effect.MULTIPLY, Effect.ADD, Effect.RAMP, Effect.OSCILLATE)
)
_JITTER, _NOISE, _MIRROR, _CALIBRATION = (
    EFFECTS[effect] for effect in (Effect.JITTER, Effect.NOISE, Effect.MIRROR, Effect.CALIBRATION)
)
_HOLD, _FREEZE, _FLICKER, _SILENCE = (
    EFFECTS[effect] for effect in (Effect.HOLD, Effect.FREEZE, Effect.FLICKER, Effect.SILENCE)
)
_START, _KIND, _INTENSITY, _DURATION = (
    int(stream)
    for stream in (Stream.FAULT_START, Stream.FAULT_KIND, Stream.FAULT_INTENSITY, Stream.FAULT_DURATION)
)
_SIGN, _PICK, _FAULT_VALUE, _STATE = (
    int(stream) for stream in (Stream.FAULT_SIGN, Stream.FAULT_METRIC, Stream.FAULT_VALUE, Stream.STATE)
)
_WANDER, _STEPS, _READING = int(Stream.WANDER), int(Stream.STEPS), int(Stream.NOISE)


@compiled
def _cycle_value(cycle, numbers, base, time, local_us, key):
    """A cycle's height at `time`, amplitude and all."""
    period = numbers[base + cycle.period]
    at = time + local_us if cycle.local == 1 else time
    length = np.int64(period)
    turns = (at % length) / period + numbers[base + cycle.phase]
    if cycle.shape == _SINE:
        height = sine_of(turns)
    elif cycle.shape == _TRIANGLE:
        height = 1.0 - abs(4.0 * (turns - np.floor(turns)) - 2.0)
    else:
        # The phase moves the steps' edges; each has a level of its own.
        number = np.int64(np.floor((at // length) + turns))
        height = 2.0 * draw_uniform(key, number, _STEPS) - 1.0
    return numbers[base + cycle.amplitude] * height


@compiled
def _begin_fault(device, series, fault_row, fault, time, interval, metrics):
    """Draw an episode of `fault` and let it begin at `time`."""
    key = device.key
    device.fault = fault_row
    amount = fault.low + draw_uniform(key, time, _INTENSITY) * (fault.high - fault.low)
    sign = fault.sign
    if sign == 0.0:
        sign = -1.0 if draw_uniform(key, time, _SIGN) < 0.5 else 1.0
    device.fault_amount = sign * amount
    draw = draw_uniform(key, time, _DURATION)
    if fault.in_readings == 1:
        fewest, most = np.int64(fault.shortest) // interval, np.int64(fault.longest) // interval
        length = (fewest + np.int64(draw * (most - fewest + 1))) * interval
    else:
        length = np.int64(fault.shortest + draw * (fault.longest - fault.shortest))
    device.fault_begin, device.fault_end = time, time + length
    device.fault_length = np.float64(length)
    device.fault_onset = fault.onset * length
    device.fault_injected = 0
    device.fault_mask = fault.mask
    if fault.pick_one == 1:
        device.fault_mask = _one_of(fault.mask, draw_uniform(key, time, _PICK))
    _hold_values(device, series, metrics)


@compiled
def _one_of(mask, draw):
    """One of the bits of `mask`."""
    count = 0
    for bit in range(63):
        if mask & (np.uint64(1) << np.uint64(bit)):
            count += 1
    chosen = np.int64(draw * count)
    for bit in range(63):
        one = np.uint64(1) << np.uint64(bit)
        if mask & one:
            if chosen == 0:
                return one
            chosen -= 1
    return mask


@compiled
def _hold_values(device, series, metrics):
    for m in range(metrics):
        row = series[device.first_series + m]
        row.held = row.value


@compiled
def begin_fault(devices, series, slot, faults, fault_row, time, interval, metrics):
    """Draw and begin an episode on one device; the caller may then change what was drawn."""
    _begin_fault(devices[slot], series, fault_row, faults[fault_row], time, interval, metrics)


@compiled
def _scale_of(fault, metric, numbers, base, baseline):
    if fault.scale == SCALE_BASELINE:
        return abs(baseline)
    if fault.scale == SCALE_SPREAD:
        return numbers[base + metric.spread]
    if fault.scale == SCALE_PARAMETER:
        return numbers[base + fault.parameter]
    return 1.0


@compiled
def _faulty_value(value, baseline, held, device, fault, scale, key, time, interval):
    """What a metric says while the fault is on it."""
    passed = np.float64(time - device.fault_begin + interval)
    part = 1.0
    if device.fault_onset > 0.0:
        part = min(1.0, passed / (device.fault_onset + interval))
    amount = device.fault_amount
    effect = fault.effect
    if effect == _MULTIPLY:
        return value * (1.0 + (amount - 1.0) * part)
    if effect == _ADD:
        return value + amount * scale * part
    if effect == _RAMP:
        return value + amount * scale * min(1.0, passed / max(device.fault_length, 1.0))
    if effect == _OSCILLATE:
        return value + amount * scale * part * sine_of((passed - interval) / fault.period_us + 0.125)
    if effect == _JITTER:
        return value + amount * scale * part * (2.0 * draw_uniform(key, time, _FAULT_VALUE) - 1.0)
    if effect == _NOISE:
        return value + amount * scale * part * draw_normal(key, time, _FAULT_VALUE)
    if effect == _MIRROR:
        return value - part * (1.0 + amount) * (value - baseline)
    if effect == _CALIBRATION:
        return value * (1.0 + amount * part)
    if effect == _HOLD:
        return fault.target
    if effect == _FREEZE:
        return value if np.isnan(held) else held
    if effect == _FLICKER:
        odd = ((time - device.fault_begin) // interval) % 2
        return value if odd == 1 else 1.0 - value
    return value


@compiled
def _healthy_level(row, metric, device, series, cycles, follows, numbers, time, local_us, first):
    """Level, wander and noise of one metric; moves them on."""
    base = device.first_number
    baseline = numbers[base + metric.baseline + (device.state if metric.per_state == 1 else 0)]
    target = baseline
    for c in range(metric.first_cycle, metric.first_cycle + metric.cycles):
        target += _cycle_value(cycles[c], numbers, base, time, local_us, row.key)
    for f in range(metric.first_follow, metric.first_follow + metric.follows):
        follow = follows[f]
        target += follow.gain * series[device.first_series + follow.source].healthy
    if first or metric.settled >= 1.0:
        row.level = target
    else:
        row.level += (target - row.level) * metric.settled
    value = row.level
    # Amounts in parts of the baseline are numbers for the largest of all states.
    largest = numbers[base + metric.largest]
    part = abs(baseline) / largest if largest > 0.0 else 1.0
    if metric.wander != NONE:
        new = numbers[base + metric.wander] * draw_normal(row.key, time, _WANDER)
        row.wander = new if first else metric.wander_keep * row.wander + metric.wander_new * new
        value += row.wander * (part if metric.wander_shared == 1 else 1.0)
    shared = part if metric.noise_shared == 1 else 1.0
    if metric.noise_kind == NOISE_NORMAL:
        value += shared * numbers[base + metric.noise] * draw_normal(row.key, time, _READING)
    elif metric.noise_kind == NOISE_UNIFORM:
        value += shared * numbers[base + metric.noise] * (2.0 * draw_uniform(row.key, time, _READING) - 1.0)
    if metric.bounds != NONE:
        value = min(max(value, numbers[base + metric.bounds]), numbers[base + metric.bounds + 1])
    row.healthy = value - baseline
    return value, baseline


@compiled
def _step_device(
    device, series, numbers, kind, states, metrics, cycles, follows, faults, time, interval, local_us, started
):
    """Move one device to `time`: its series' `value` and `label` are what it says then."""
    first = device.last_us == NONE
    elapsed = interval if first else time - device.last_us
    if (
        kind.states > 0
        and not first
        and draw_uniform(device.key, time, _STATE) < states[kind.first_state + device.state].leave
    ):
        device.state = (device.state + 1) % kind.states
    if device.fault != NONE and time >= device.fault_end:
        device.fault = NONE
    if (
        device.fault == NONE
        and device.chance > 0.0
        and draw_uniform(device.key, time, _START) < device.chance
    ):
        draw = draw_uniform(device.key, time, _KIND)
        for f in range(kind.first_fault, kind.first_fault + kind.faults):
            if draw < faults[f].share:
                _begin_fault(device, series, f, faults[f], time, interval, kind.metrics)
                started[faults[f].number] += 1
                break
    for m in range(kind.metrics):
        metric = metrics[kind.first_metric + m]
        row = series[device.first_series + m]
        row.label = NONE
        baseline = 0.0
        if metric.kind == KIND_RATIO:
            above = series[device.first_series + metric.source]
            below = series[device.first_series + metric.divisor]
            value = metric.scale * above.value / below.value if below.value != 0.0 else 0.0
            row.label = above.label if above.label != NONE else below.label
        elif metric.kind == KIND_COUNTER:
            source = series[device.first_series + metric.source]
            row.total += source.value * (elapsed / metric.scale)
            value = row.total
            row.label = source.label
        else:
            value, baseline = _healthy_level(
                row, metric, device, series, cycles, follows, numbers, time, local_us, first
            )
        if device.fault != NONE and device.fault_mask & (np.uint64(1) << np.uint64(m)):
            fault = faults[device.fault]
            row.label = fault.number
            scale = _scale_of(fault, metric, numbers, device.first_number, baseline)
            value = _faulty_value(value, baseline, row.held, device, fault, scale, row.key, time, interval)
        if metric.limits != NONE:
            low = numbers[device.first_number + metric.limits]
            value = min(max(value, low), numbers[device.first_number + metric.limits + 1])
        if metric.digital == 1:
            value = 1.0 if value >= 0.5 else 0.0
        row.value = np.rint(value * metric.decimals) / metric.decimals
    device.last_us = time


@compiled
def step(
    devices, series, numbers, types, states, metrics, cycles, follows, faults, zones, zone_begin_us,
    interval, first, last, out_series, out_time, out_value, out_fault, out_end, started,
):  # fmt: skip
    """Move the fleet from grid place `first` to `last`; a place is (number of the interval) * devices + device.

    Args:
        devices, series, numbers: the fleet's columns, changed in place.
        types, states, metrics, cycles, follows, faults: the types' tables.
        zones: (zones, quarters) µs that a zone's clock is ahead of UTC, from `zone_begin_us` on.
        zone_begin_us: beginning of the first quarter of an hour.
        interval: µs between two readings of a device.
        first, last: places.
        out_series, out_time, out_value, out_fault, out_end: (room,) filled with the readings.
        started: (fault names,) counts the episodes that begin by themselves.

    Returns:
        How many readings there are.
    """
    count = 0
    for place in range(first, last):
        number = place // len(devices)
        device = devices[place - number * len(devices)]
        if device.online == 0 or device.enabled == 0:
            continue
        time = number * interval + device.offset
        kind = types[device.type]
        local_us = zones[device.zone, (time - zone_begin_us) // ZONE_STEP_US]
        _step_device(
            device,
            series,
            numbers,
            kind,
            states,
            metrics,
            cycles,
            follows,
            faults,
            time,
            interval,
            local_us,
            started,
        )
        silent = np.uint64(0)
        if device.fault != NONE and faults[device.fault].effect == _SILENCE:
            silent = device.fault_mask
        for m in range(kind.metrics):
            if silent & (np.uint64(1) << np.uint64(m)):
                continue
            row = series[device.first_series + m]
            out_series[count] = row.number
            out_time[count] = time
            out_value[count] = row.value
            out_fault[count] = row.label
            out_end[count] = device.fault_end
            count += 1
    return count


def until_cleared() -> int:
    """The end of a fault that lasts until somebody clears it."""
    return int(FOREVER)
