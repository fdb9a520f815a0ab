"""The terminal: colour only where one looks on, data on stdout, everything else on stderr, Ctrl-C as an event."""

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WIDEST = 10_000


@functools.cache
def messages() -> "Console":
    """Where people are told things: stderr."""
    from rich.console import Console  # noqa: PLC0415 - not needed for a plain error

    return Console(stderr=True, highlight=False)


def answers() -> "Console":
    """Where answers go: stdout. Raises BrokenPipeError when its reader has gone, where rich would exit."""
    from rich.console import Console  # noqa: PLC0415

    class Answers(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Answers(highlight=False, soft_wrap=True)


def print_table(table: "Table") -> None:
    """A table on stdout; elsewhere than on a terminal a line is as long as it is: who reads it is a program."""
    console = answers()
    if not console.is_terminal:
        console.width = _WIDEST
    console.print(table)


def error_line(text: str) -> None:
    """An error, as one line on stderr."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    label = "\033[1;31merror:\033[0m" if coloured else "error:"
    sys.stderr.write(f"{label} {text}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """A line for people, on stderr; markup is taken literally."""
    messages().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON object on a line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second SIGINT raises KeyboardInterrupt.

    Only in the main thread.
    """
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
