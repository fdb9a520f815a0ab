"""What makes a reading believable: checked where readings come in from outside, so that the processor need not refuse them.

The same rules as `schemas.columns_kernel.judge`, which a test holds them to.
"""

import math

from producers.times import TimeParser, kind_of
from schemas.columns_kernel import LARGEST_VALUE, MAX_ID_BYTES
from schemas.dead_letters import DeadLetterReason, TimeBounds

_ISO = TimeParser("iso")
_FAR_US = 10**18  # 30,000 years: JSON's whole numbers have no end


class NotBelievableError(ValueError):
    """A part of a reading that cannot be; `reason` is what a dead letter says."""

    def __init__(self, message: str, reason: DeadLetterReason = DeadLetterReason.UNDECODABLE) -> None:
        super().__init__(message)
        self.reason = reason


def check_id(text: object, reason: DeadLetterReason = DeadLetterReason.BAD_DEVICE_ID) -> str:
    """A device id, or whatever is kept as text beside it.

    Raises:
        NotBelievableError: it is no text, is empty or too long, or has a NUL or half a surrogate pair in it.
    """
    if not isinstance(text, str):
        raise NotBelievableError(f"expected a text, found {kind_of(text)}")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise NotBelievableError("the text has half a surrogate pair in it", reason) from None
    if not 0 < length <= MAX_ID_BYTES:
        raise NotBelievableError(f"the text has {length} bytes, expected 1 to {MAX_ID_BYTES}", reason)
    if "\0" in text:
        raise NotBelievableError("the text has a NUL in it", reason)
    return text


def check_value(value: object) -> float:
    """A reading's value.

    Raises:
        NotBelievableError: it is no number, or not finite, or beyond 1e150.
    """
    if type(value) is not float and type(value) is not int:  # a bool is no number here
        raise NotBelievableError(f"expected a number, found {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST_VALUE:  # nor is NaN
        raise NotBelievableError(
            "the number is not finite, or larger than 1e150", DeadLetterReason.NON_FINITE_VALUE
        )
    return number


def iso_time(text: str) -> int:
    """µs of a time in ISO-8601; without an offset it is UTC.

    Raises:
        NotBelievableError: it is none.
    """
    try:
        return _ISO.parse(text)
    except ValueError:
        short = text if len(text) <= 40 else f"{text[:37]}..."
        raise NotBelievableError(f"{short!r} is no time in ISO-8601") from None


def check_time(time_us: int, now_us: int, bounds: TimeBounds) -> int:
    """An event time, µs since 1970 UTC.

    Raises:
        NotBelievableError: it is out of the bounds.
    """
    if time_us < bounds.earliest_us:
        raise NotBelievableError("the time is before 1970", DeadLetterReason.TIME_OUT_OF_BOUNDS)
    if time_us > now_us + bounds.max_ahead_us:
        ahead = min(time_us - now_us, _FAR_US) / 86_400e6
        hint = "; is it in another unit?" if ahead > 10_000 else ""  # no clock is as wrong
        raise NotBelievableError(
            f"the time is {ahead:,.1f} days ahead of the clock{hint}", DeadLetterReason.TIME_OUT_OF_BOUNDS
        )
    return time_us
