"""Fail points: named places at which a test can have the process killed, as a crash would.

A test feature. `SIGMAWATCH_FAILPOINT=name` kills the process with SIGKILL the first time it passes
`fail_point(name)`, `name:3` the third time; `name:1:SIGSTOP` stops it there instead, until it gets SIGCONT (a zombie).
Without the variable `fail_point` does nothing.
"""

import os
import signal
from collections.abc import Callable, Mapping

VARIABLE = "SIGMAWATCH_FAILPOINT"


def _nothing(_name: str) -> None:
    """No fail point is set."""


def fail_point_for(
    environ: Mapping[str, str], strike: Callable[[signal.Signals], None]
) -> Callable[[str], None]:
    """The function that `environ` asks for: it calls `strike` at the n-th passing of the named point, once.

    Raises:
        ValueError: the variable is not `name[:nth[:signal]]`.
    """
    target, _, rest = environ.get(VARIABLE, "").partition(":")
    if not target:
        return _nothing
    nth, _, name = rest.partition(":")
    remaining = int(nth or 1)
    if remaining < 1:
        raise ValueError(f"{VARIABLE}={target}:{rest}: the number says at which passing, from 1")
    if name and name not in signal.Signals.__members__:
        raise ValueError(f"{VARIABLE}={target}:{rest}: {name} is no signal")
    number = signal.Signals[name or "SIGKILL"]

    def pass_point(name: str) -> None:
        nonlocal remaining
        if name == target:
            remaining -= 1
            if remaining == 0:
                strike(number)

    return pass_point


def _strike(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


fail_point: Callable[[str], None] = fail_point_for(os.environ, _strike)
"""Pass a named point; never returns where the environment says that the process dies here."""
