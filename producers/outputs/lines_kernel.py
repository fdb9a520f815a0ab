"""Compiled loops of `producers.outputs.lines`: times and numbers as text, rows into one byte buffer."""

import numpy as np
from numpy.typing import NDArray

from schemas.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TIME_BYTES = 27
"""2026-01-31T23:59:59.123456Z"""
NUMBER_BYTES = 24
"""The longest that Python writes for a float: -2.2250738585072014e-308."""

MAX_DECIMALS = 9
# Below it a decimal of so many digits is the only one, and so the shortest, that reads back as its float.
_EXACT = 1e15
# From here down Python, like most, writes an exponent.
_SMALLEST = 1e-4
_POWERS = np.array([10.0**k for k in range(MAX_DECIMALS + 1)])

_DAY_S = 86_400
_MICRO = 1_000_000
# The Gregorian calendar repeats after 400 years; counted from 0000-03-01, so that a leap day ends its year.
_DAYS_OF_400_YEARS = 146_097
_DAYS_TO_1970 = 719_468


@compiled
def count_decimals(value: Floats, decimals: Ints) -> None:
    """Fill `decimals` with the fewest that each value has, -1 where they are more than `MAX_DECIMALS`.

    A whole number below 2**53 divided by a power of ten up to 10**22 is rounded once, as a reader of its
    digits does it: so equal means that the digits read back to the very value.
    """
    for row in range(len(value)):
        size = abs(value[row])
        decimals[row] = 0 if size == 0.0 else -1
        if not size >= _SMALLEST:
            continue
        for k in range(MAX_DECIMALS + 1):
            whole = np.rint(size * _POWERS[k])
            if whole >= _EXACT:
                break
            if whole / _POWERS[k] == size:
                decimals[row] = k
                break


@compiled
def write_lines(
    names: Bytes,
    name_start: Ints,
    middle: Bytes,
    tails: Bytes,
    tail_start: Ints,
    numbers: Bytes,
    number_start: Ints,
    series: Ints,
    time: Ints,
    value: Floats,
    fault: Ints,
    decimals: Ints,
    out: Bytes,
) -> int:
    """Write name, time, `middle`, value, tail of every row into `out`; returns where they end.

    Values whose `decimals` is -1 are taken from `numbers`, in their order. Tail 0 is of rows without a fault.
    """
    at = 0
    slow = 0
    second = np.int64(0)
    known = False
    stamp = np.empty(20, np.uint8)
    for row in range(len(series)):
        at = _copy(out, at, names, name_start[series[row]], name_start[series[row] + 1])
        if not known or time[row] // _MICRO != second:
            second = time[row] // _MICRO
            known = True
            _write_second(stamp, second)
        at = _copy(out, at, stamp, 0, 20)
        at = _write_whole(out, at, time[row] - second * _MICRO, 6)
        out[at] = 90  # Z
        at = _copy(out, at + 1, middle, 0, len(middle))
        if decimals[row] < 0:
            at = _copy(out, at, numbers, number_start[slow], number_start[slow + 1])
            slow += 1
        else:
            at = _write_decimal(out, at, value[row], decimals[row])
        at = _copy(out, at, tails, tail_start[fault[row] + 1], tail_start[fault[row] + 2])
    return at


@compiled
def _copy(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    for k in range(start, end):
        out[at] = data[k]
        at += 1
    return at


@compiled
def _write_whole(out: Bytes, at: int, number: int, width: int) -> int:
    """`number` in `width` digits."""
    for k in range(width - 1, -1, -1):
        out[at + k] = 48 + number % 10
        number //= 10
    return at + width


@compiled
def _write_decimal(out: Bytes, at: int, value: float, decimals: int) -> int:
    if np.signbit(value):
        out[at] = 45  # -
        at += 1
    whole = np.int64(np.rint(abs(value) * _POWERS[decimals]))
    scale = np.int64(_POWERS[decimals])
    front = whole // scale
    width = 1
    bound = np.int64(10)
    while front >= bound:
        bound *= 10
        width += 1
    at = _write_whole(out, at, front, width)
    out[at] = 46  # .
    return int(_write_whole(out, at + 1, whole - front * scale, max(decimals, 1)))


@compiled
def _write_second(out: Bytes, second: int) -> None:
    """`2026-01-31T23:59:59.` (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days)."""
    day, rest = second // _DAY_S, second % _DAY_S
    shifted = day + _DAYS_TO_1970
    era, of_era = shifted // _DAYS_OF_400_YEARS, shifted % _DAYS_OF_400_YEARS
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153  # from March
    at = _write_whole(out, 0, era * 400 + year + (1 if month >= 10 else 0), 4)
    out[at] = 45
    at = _write_whole(out, at + 1, month + 3 if month < 10 else month - 9, 2)
    out[at] = 45
    at = _write_whole(out, at + 1, of_year - (153 * month + 2) // 5 + 1, 2)
    out[at] = 84  # T
    at = _write_whole(out, at + 1, rest // 3600, 2)
    out[at] = 58  # :
    at = _write_whole(out, at + 1, rest // 60 % 60, 2)
    out[at] = 58
    at = _write_whole(out, at + 1, rest % 60, 2)
    out[at] = 46
