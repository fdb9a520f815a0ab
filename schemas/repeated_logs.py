"""Log lines of libraries that say the same over and over: during an outage of the broker, dozens a second."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

_PERIOD_SECONDS = 10.0
_PER_PERIOD = 3
_MOST_KINDS = 1000  # of lines that are remembered


@dataclass(slots=True)
class _Heard:
    since: float
    passed: int = 0
    held_back: int = 0


class RepeatedLines(logging.Filter):
    """Lets a line of the named libraries through three times in ten seconds; the next that passes says how many did not.

    Lines are alike where logger, level, text before formatting and first argument are: an offset or an address in them
    does not matter. Errors with a traceback always pass. Called with the handler's lock held.

    Args:
        libraries: names of loggers; those below them count as well.
    """

    def __init__(self, libraries: Collection[str]) -> None:
        super().__init__()
        self._libraries = tuple(libraries)
        self._heard: dict[object, _Heard] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes; marks one that follows others held back."""
        if record.exc_info or record.name.partition(".")[0] not in self._libraries:
            return True
        heard = self._of(record)
        if heard.passed >= _PER_PERIOD and record.created - heard.since < _PERIOD_SECONDS:
            heard.held_back += 1
            return False
        if record.created - heard.since >= _PERIOD_SECONDS:
            if heard.held_back:
                record.msg = f"{record.getMessage()} ({heard.held_back} lines like this one left out)"
                record.args = ()
            heard.since, heard.passed, heard.held_back = record.created, 0, 0
        heard.passed += 1
        return True

    def _of(self, record: logging.LogRecord) -> _Heard:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        alike = record.name, record.levelno, str(record.msg), first if isinstance(first, str) else None
        heard = self._heard.pop(alike, None) or _Heard(record.created)
        self._heard[alike] = heard  # the longest unheard comes first
        if len(self._heard) > _MOST_KINDS:
            del self._heard[next(iter(self._heard))]
        return heard
