"""Cursors: where a page ended, as an opaque text. Pure.

A cursor is base64url of JSON: [what it pages, a digest of the question, the key of the last row ...]. It belongs to the
question that gave it; another question is refused. It is no secret: whoever makes one up may begin where they like.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from schemas.errors import InputError
from sinks.queries.selection import Selection

_LONGEST = 8000  # characters: a device id of a thousand characters, escaped as JSON does, in base64


def make_cursor(pages: str, question: Selection, key: Sequence[str | int | float | datetime | UUID]) -> str:
    """A cursor behind the row with this key.

    Args:
        pages: name of what is paged.
        question: to which the pages belong.
        key: in the order that the page is sorted by.
    """
    plain = [one if isinstance(one, str | int | float) else _as_text(one) for one in key]
    content = json.dumps([pages, _digest(question), *plain], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def read_cursor(
    text: str, pages: str, question: Selection, kinds: Sequence[Callable[[Any], Any]]
) -> tuple[Any, ...]:
    """The key that a cursor stands behind.

    Args:
        text: the cursor.
        pages, question: as for `make_cursor`.
        kinds: what makes each part of the key from its JSON: `moment`, `UUID`, `plain_text`.

    Raises:
        InputError: it is none of this question's.
    """
    problem = InputError("the cursor is not one of this question's", "Begin again without it.")
    if len(text) > _LONGEST or not text.isascii():
        raise problem
    try:
        content = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if not isinstance(content, list) or len(content) != len(kinds) + 2:
            raise problem
        if content[:2] != [pages, _digest(question)]:
            raise problem
        return tuple(kind(part) for kind, part in zip(kinds, content[2:], strict=True))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise problem from None


def moment(value: Any) -> datetime:
    """An aware time from a cursor."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found.astimezone(UTC)


def plain_text(value: Any) -> str:
    """A text from a cursor that PostgreSQL can compare."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    value.encode()
    return value


def _as_text(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _digest(question: Selection) -> str:
    return hashlib.blake2s(repr(question).encode(errors="backslashreplace"), digest_size=6).hexdigest()
