"""Fail points: named places at which a test can have the process killed, as a crash would.

A test feature. `SIGMAWATCH_FAILPOINT=name` kills the process with SIGKILL the first time it passes
`fail_point(name)`, `name:3` the third time; `name:1:SIGSTOP` stops it there instead, until it gets SIGCONT (a zombie).
Several are separated by commas. Without the variable `fail_point` does nothing.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping

VARIABLE = "SIGMAWATCH_FAILPOINT"


def _nothing(_name: str) -> None:
    """No fail point is set."""


def fail_point_for(
    environ: Mapping[str, str], strike: Callable[[signal.Signals], None]
) -> Callable[[str], None]:
    """The function that `environ` asks for: it calls `strike` at the n-th passing of a named point, once for each.

    Raises:
        ValueError: the variable is not `name[:nth[:signal]]`, or several of them with commas between.
    """
    setting = environ.get(VARIABLE, "")
    if not setting:
        return _nothing
    points = [_parse(point) for point in setting.split(",")]
    passed: Counter[str] = Counter()

    def pass_point(name: str) -> None:
        passed[name] += 1
        for target, nth, number in points:
            if (target, nth) == (name, passed[name]):
                strike(number)

    return pass_point


def _parse(point: str) -> tuple[str, int, signal.Signals]:
    target, _, rest = point.partition(":")
    nth, _, name = rest.partition(":")
    if int(nth or 1) < 1:
        raise ValueError(f"{VARIABLE}={point}: the number says at which passing, from 1")
    if name and name not in signal.Signals.__members__:
        raise ValueError(f"{VARIABLE}={point}: {name} is no signal")
    return target, int(nth or 1), signal.Signals[name or "SIGKILL"]


def _strike(number: signal.Signals) -> None:
    # To this thread: one sent to the process stops it when another thread gets to it, and this one goes on till then.
    signal.pthread_kill(threading.get_ident(), number)


fail_point: Callable[[str], None] = fail_point_for(os.environ, _strike)
"""Pass a named point; never returns where the environment says that the process dies here."""
