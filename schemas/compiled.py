"""The one place that knows about the compiler.

Loops over single readings are written as plain Python functions over numpy arrays and compiled by numba on
first use. Compiled code is kept on disk; where the package's own folder cannot be written (an image run as
another user) numba falls back to the user's cache folder. Floating point stays IEEE: no fast-math, so the
compiled function and the plain one give the same bits.
"""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` to machine code on first call; it must use numpy arrays and numbers only."""
    machine_code: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return machine_code
