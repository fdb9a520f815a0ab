"""Waiting, in tests: polled, with a deadline that a slow machine keeps too."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotInTimeError(Exception):
    """What was waited for has not come: the machine may be slow, so the test gets a second try (tests/conftest.py)."""


def until(
    holds: Callable[[], T],
    seconds: float = 120.0,
    what: str | Callable[[], object] = "what was waited for",
    *,
    pause: float = 0.02,
) -> T:
    """Poll until `holds()` is true; its value.

    Args:
        holds: its own errors come out at once: a process that has ended is not waited for.
        seconds: deadline; it is looked once more after it, as a busy machine may have slept over the last pause.
        what: for the error; a function is asked for more when it comes to that, such as the end of a log.
        pause: seconds between two looks: short where a state comes and goes, long where a look costs much.

    Raises:
        NotInTimeError: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        if value := holds():
            return value
        if late:
            raise NotInTimeError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)
