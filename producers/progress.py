"""Progress bars: on a terminal only, so that logs and pipes stay clean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Bar(Protocol):
    """What work tells its progress bar."""

    def __call__(self, done: int, note: str = "") -> None:
        """`done` of the total so far, and a word about it."""


def _silent(done: int, note: str = "") -> None:
    del done, note


@contextmanager
def progress_bar(
    console: Console | None, what: str, total: int | None, *, in_bytes: bool = False
) -> Iterator[Bar]:
    """A bar while the block runs; a function that does nothing where there is no terminal.

    Args:
        console: Where to; None for none at all.
        what: Said in front of the bar.
        total: Of bytes or things; None where it is not known.
        in_bytes: Whether to show sizes.
    """
    if console is None or not console.is_terminal:
        yield _silent
        return
    count: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, note="")

        def advance(done: int, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield advance
