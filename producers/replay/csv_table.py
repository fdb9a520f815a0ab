"""CSV files as rows."""

import csv
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from producers.replay.files import SourceFile, text_lines
from producers.replay.rows import BadRow, Row, SampledRows
from schemas.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CsvTable:
    """A CSV file (RFC 4180, any one-character delimiter) as a `Table`.

    Args:
        source: The opened file.
        delimiter: Between cells; None to find it out.
        header: Whether the first line names the columns; otherwise they are called 1, 2, 3, ...

    Raises:
        InputError: the file is empty, not UTF-8, or its header is not usable.
    """

    place_unit = "line"
    typed = False
    time_formats: Mapping[str, str] = MappingProxyType({})

    def __init__(self, source: SourceFile, delimiter: str | None, *, header: bool = True) -> None:
        head = source.head(1 << 16)
        if head.startswith(_UTF16_MARKS):
            raise InputError(f"{source.path} is UTF-16", "Convert it to UTF-8: iconv -f UTF-16 -t UTF-8.")
        self.delimiter = delimiter or guess_delimiter(head.decode(errors="replace").removeprefix("\ufeff"))
        self._path = source.path
        self._lines = text_lines(source)
        self._line = self._row_line = 0
        self._bad_lines: list[BadRow] = []
        self._reader = csv.reader(
            self._numbered(), delimiter=self.delimiter, strict=True, skipinitialspace=self.delimiter != "\t"
        )
        first = next(self._records(), None)
        if first is None:
            raise InputError(f"{source.path} is empty")
        if isinstance(first, BadRow):
            raise InputError(f"{source.path}, {first.text(self.place_unit)}")
        line, cells = first
        self.columns = self._header(line, cells) if header else [str(i + 1) for i in range(len(cells))]
        self._first = None if header else first
        self._sampled = SampledRows(self._rows())

    def sample(self) -> list[Row]:
        """As `Table.sample`."""
        return self._sampled.sample()

    def rows(self) -> Iterator[Row | BadRow]:
        """As `Table.rows`."""
        return self._sampled.rows()

    def _header(self, line: int, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"{self._path}, line {line}: the header has two columns {name!r}",
                    "Rename one, or give --no-header and take the columns by number.",
                )
        return names

    def _rows(self) -> Iterator[Row | BadRow]:
        if self._first is not None:
            yield self._row(*self._first)
        for record in self._records():
            yield record if isinstance(record, BadRow) else self._row(*record)

    def _row(self, line: int, cells: list[str]) -> Row | BadRow:
        expected = len(self.columns)
        if len(cells) < expected:
            missing = self.columns[len(cells)]
            return BadRow(line, missing, f"the row ends after {len(cells)} of {expected} cells")
        if any(cell.strip() for cell in cells[expected:]):
            return BadRow(line, "", f"the row has {len(cells)} cells, the header {expected}")
        return Row(line, dict(zip(self.columns, cells, strict=False)))

    def _records(self) -> Iterator[tuple[int, list[str]] | BadRow]:
        """Rows that are not blank, with the line they begin in."""
        while True:
            self._row_line = 0
            try:
                cells = next(self._reader, None)
                error = ""
            except csv.Error as problem:
                cells, error = [], _explain(problem)
            yield from self._bad_lines
            self._bad_lines.clear()
            if cells is None:
                return
            if error:
                yield BadRow(self._row_line or self._line, "", error)
            elif any(cell.strip() for cell in cells):
                yield self._row_line, cells

    def _numbered(self) -> Iterator[str]:
        for line in self._lines:
            if isinstance(line, BadRow):
                self._bad_lines.append(line)
                continue
            self._line = line[0]
            self._row_line = self._row_line or line[0]
            yield line[1]


def guess_delimiter(head: str) -> str:
    """The delimiter that cuts the first lines into the most cells, the same number in each; comma if none does."""
    lines = [line for line in head.splitlines()[:20] if line.strip()]
    if len(lines) > 1 and not head.endswith("\n"):
        lines.pop()
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            continue
        # The header decides; rows may be broken, but not most of them.
        if widths and widths[0] > most and widths.count(widths[0]) * 2 > len(widths):
            best, most = delimiter, widths[0]
    return best


def _explain(problem: csv.Error) -> str:
    text = str(problem)
    if "new-line character" in text:
        return "there is a carriage return within the line"
    if "unexpected end of data" in text:
        return "a quoted cell is not closed before the file ends"
    if "field larger" in text:
        return "a cell is longer than 128 KiB (a quote that is not closed?)"
    return f"not CSV: {text}"
