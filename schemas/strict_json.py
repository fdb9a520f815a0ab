"""JSON read strictly: UTF-8, no key twice, nothing nested without end.

`NaN` and `Infinity` are no JSON, but Python's own writer and others produce them: they are read as the floats they mean, so
that whoever checks the values can say where they stand. Whole numbers of any size stay whole.
"""

import json
from typing import Any


class NotJsonError(ValueError):
    """Bytes that are no JSON; `place` is where."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class DoubledKey(dict[str, Any]):
    """Stands where an object had a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


def parse_json(data: bytes) -> Any:
    """JSON as Python values; an object with a key said twice is a `DoubledKey`.

    Raises:
        NotJsonError: it is no JSON.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NotJsonError("not UTF-8", f"byte {error.start}") from None
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"no JSON: {error.msg}", f"line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJsonError("nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise NotJsonError("no JSON: a number has thousands of digits") from None


def _object(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return DoubledKey(key)
        seen.add(key)
    return found
