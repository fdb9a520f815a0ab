"""The one place that knows about the compiler.

Loops over single readings are written as plain Python functions over numpy arrays and compiled by numba on
first use. Compiled code is kept on disk; where the package's own folder cannot be written (an image run as
another user) numba falls back to the user's cache folder. Floating point stays IEEE: no fast-math, so the
compiled function and the plain one give the same bits.
"""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {"_nrt": False}  # without numba's runtime, which counts references


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` to machine code on first call; it must use numpy arrays and numbers only.

    What it calls must be compiled as well, and lie in its own package or below: numba keeps machine code until the file
    of `function` itself changes, so the kept code is stamped with all files that it may be made of.
    """
    return _stamped(numba.njit(**_OPTIONS)(function))


def compiled_borrowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a function that makes no array and keeps none: it only borrows its caller's.

    Then nothing counts who holds an array. Counting is atomic, at every call that is handed one: in a loop of many small
    functions it takes more time than all that they compute.
    """
    return _stamped(numba.njit(**_OPTIONS, **_UNCOUNTED)(function))


def _stamped(machine_code: Any) -> Callable[..., Any]:
    kept = machine_code._cache._cache_file  # noqa: SLF001 - numba offers no way to say what else to look at
    kept._source_stamp = (kept._source_stamp, _digest(Path(inspect.getfile(machine_code.py_func)).parent))  # noqa: SLF001
    return machine_code  # type: ignore[no-any-return]


@cache
def _digest(package: Path) -> str:
    """Of all Python files of a package and the packages below."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
