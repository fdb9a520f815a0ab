"""Waiting out an outage: try again with growing, random pauses, until it works or the sink is told to stop."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
import tenacity

_LOG = structlog.get_logger(__name__)
_Result = TypeVar("_Result")

_FIRST_PAUSE_SECONDS = 0.1


class StoppedError(Exception):
    """The sink was told to stop while it waited; what it waited for has not happened."""


def patiently(
    once: Callable[[], _Result],
    outage: type[Exception] | tuple[type[Exception], ...],
    stop: threading.Event,
    whom: str,
    longest_wait: float = 10.0,
    on_pause: Callable[[], object] = lambda: None,
) -> _Result:
    """Call `once` until it does not raise `outage`; any other error passes through.

    Args:
        once: what to do; always called once, also when `stop` is set already.
        outage: the errors that waiting can cure.
        stop: ends the waiting.
        whom: who is waited for, for the log.
        longest_wait: longest pause, in seconds.
        on_pause: called before each pause.

    Raises:
        StoppedError: `stop` was set while waiting.
    """

    def told(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _LOG.warning(f"{whom} is out of reach, waiting", reason=str(error), attempt=state.attempt_number)
        on_pause()

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(outage),
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=longest_wait),
        stop=tenacity.stop_when_event_set(stop),
        sleep=tenacity.sleep_using_event(stop),
        before_sleep=told,
    )
    try:
        return retrying(once)
    except tenacity.RetryError as error:
        raise StoppedError(f"told to stop while {whom} was out of reach") from error
