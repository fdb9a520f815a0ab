"""JSON lines as rows: one object a line."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from producers.replay.files import SourceFile, text_lines
from producers.replay.rows import BadRow, Row, SampledRows
from producers.times import kind_of
from schemas.errors import InputError

MAX_DEPTH = 8
"""Objects nested deeper than this are not searched for columns."""


class JsonTable:
    """A JSON-lines file as a `Table`; columns are fields, or paths into nested objects.

    Raises:
        InputError: the file is one JSON array, or has no usable line among the first.
    """

    place_unit = "line"
    typed = True
    time_formats: Mapping[str, str] = MappingProxyType({})

    def __init__(self, source: SourceFile) -> None:
        if source.head().removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
            raise InputError(
                f"{source.path} is a JSON array, not JSON lines", "Make one object a line of it: jq -c '.[]'."
            )
        self._source = source
        self._sampled = SampledRows(self._rows())
        self.columns = list(dict.fromkeys(path for row in self.sample() for path in leaves(row.cells)))

    def sample(self) -> list[Row]:
        """As `Table.sample`."""
        return self._sampled.sample()

    def rows(self) -> Iterator[Row | BadRow]:
        """As `Table.rows`."""
        return self._sampled.rows()

    def _rows(self) -> Iterator[Row | BadRow]:
        for line in text_lines(self._source):
            if isinstance(line, BadRow):
                yield line
                continue
            number, text = line
            if not text.strip():
                continue
            try:
                cells = json.loads(text)
            except json.JSONDecodeError as error:
                yield BadRow(number, "", f"not JSON: {error.msg} at character {error.colno}")
            except (ValueError, RecursionError) as error:
                yield BadRow(number, "", f"not usable JSON: {error}")
            else:
                if isinstance(cells, dict):
                    yield Row(number, cells)
                else:
                    yield BadRow(number, "", f"{kind_of(cells)}, where an object is due")


def leaves(cells: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of everything in `cells` that is no object itself."""
    for name, cell in cells.items():
        if isinstance(cell, Mapping) and depth < MAX_DEPTH:
            yield from leaves(cell, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name
