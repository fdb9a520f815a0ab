"""How commands end: every error of the user's as one line on stderr, and an exit code that says what it was.

0 done, 1 refused at run time, 2 usage, settings or input, 130 Ctrl-C, 141 the reader of our output went away.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from deploy.cli.terminal import error_line
from schemas.errors import ConfigError, InputError, OutputClosedError, SigmawatchError

REFUSED = 1
USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


# Typer brings its own copy of click, or uses the installed one, by its version.
_CLICK_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Finished(Exception):  # noqa: N818 - no error
    """Ends a command with an exit code; everything was said already."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ReaderGoneError(Exception):
    """Nobody reads our output any more; Typer would end the process for the BrokenPipeError itself."""


def exit_code(error: SigmawatchError) -> int:
    """2 for what the user gave, 1 for what refused."""
    return USAGE if isinstance(error, ConfigError | InputError) else REFUSED


def guarded(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code, whatever a user can cause; bugs pass through."""
    code = _outcome(command)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return code


def _outcome(command: Callable[[], int | None]) -> int:
    try:
        code = command() or 0
    except (Finished, typer.Exit) as end:
        code = end.code if isinstance(end, Finished) else end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _CLICK_ERROR as error:
        if said := error.format_message():  # without one, help was shown instead
            error_line(_usage(said, getattr(error, "ctx", None)))
        code = USAGE
    except (BrokenPipeError, ReaderGoneError, OutputClosedError):
        code = _reader_gone()
    except SigmawatchError as error:
        error_line(str(error).rstrip())
        code = exit_code(error)
    except OSError as error:
        if error.filename is None:
            raise
        error_line(f"{error.filename}: {error.strerror}")
        code = REFUSED
    return code


def _reader_gone() -> int:
    """Who read our output has gone; what is still buffered must not be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def leave(code: int) -> NoReturn:
    """End the process."""
    sys.exit(code)


def _usage(said: str, context: Any) -> str:
    command = context.command_path if context is not None else "sigmawatch"
    return f"{said[:1].lower()}{said[1:].rstrip('.')}. See `{command} --help`."
