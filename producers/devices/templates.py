"""Templates of device ids and names: texts with {type}, {number:03}, {place}, {city} and {token} in them."""

import re
import string
import unicodedata
from collections.abc import Collection

ID_FIELDS = ("type", "number", "place", "city", "token")
NAME_FIELDS = (*ID_FIELDS, "title")


def fields_of(template: str) -> set[str]:
    """The fields that a template uses.

    Raises:
        ValueError: a brace is open.
    """
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def check_template(template: str, known: Collection[str]) -> str:
    """The template, if it can be filled in.

    Raises:
        ValueError: it is empty, uses what is not known, or formats it in a way that it cannot be.
    """
    if not template:
        raise ValueError("expected a text")
    if unknown := sorted(fields_of(template) - set(known)):
        raise ValueError(
            f"{{{unknown[0]}}} is unknown; there are {', '.join(f'{{{name}}}' for name in known)}"
        )
    try:
        template.format(**{**dict.fromkeys(known, "a"), "number": 1})
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"cannot be filled in: {error}") from None
    return template


def slug(text: str) -> str:
    """A name as part of an id: small ASCII letters and digits, with dashes between (Sao Paulo: sao-paulo)."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
