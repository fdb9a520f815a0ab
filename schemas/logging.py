"""Logs: structlog for all, to stderr, as lines for people or as JSON; stdlib loggers pass through the same lines.

    log = structlog.get_logger(__name__)
    log.info("checkpoint closed", partition=3, readings=100_000)

Nothing secret should get as far as a log; what looks like it is masked all the same.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.repeated_logs import RepeatedLines
from schemas.settings import MASK, LogSettings, is_secret_option

# They tell at INFO what only their authors need.
_TAMED = (
    "aiohttp",
    "aiokafka",
    "asyncio",
    "faust",
    "httpcore",
    "httpx",
    "httpx2",
    "librdkafka",
    "mode",
    "numba",
    "urllib3",
)

# user:password@ in a URL, and password=... in a text (libpq, JAAS, JSON, a query)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]*@")
_NAMED_SECRET = re.compile(
    r"""(?i)((?:password|passwd|secret|token|user\.info)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;&}]+)"""
)

_bound: dict[str, Any] = {}


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be found again by the next `configure_logging`."""


class _StderrHandler(_Handler):
    """Writes to what sys.stderr is by then: live displays and captures take its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; called with the handler's lock."""
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set logging up for the whole process; a later call replaces an earlier one.

    Args:
        settings: least level, and console or json.
        stream: where to; what is sys.stderr at the time unless said. Colours only where it is a terminal now and
            NO_COLOR is not set.
    """
    handler = _StderrHandler() if stream is None else _Handler(stream)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    as_json = settings.format == "json"
    shared: list[Processor] = [
        _add_bound,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if as_json
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a second call, and tests that capture logs, must reach every logger
    )
    handler.addFilter(RepeatedLines(_TAMED))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                mask_secrets,
                _renderer(as_json, colours=handler.stream.isatty() and not os.environ.get("NO_COLOR")),
            ],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TAMED:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


def bind(**values: Any) -> None:
    """Add values to every later line of the process, in all its threads: `bind(part="processor")`."""
    _bound.update(values)


def unbind(*names: str) -> None:
    """Take back what `bind` added."""
    for name in names:
        _bound.pop(name, None)


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what looks like a secret, by its key or in a text; the last defence."""
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float) and is_secret_option(key):
        return MASK
    if isinstance(value, str):
        return _NAMED_SECRET.sub(rf"\g<1>{MASK}", _URL_PASSWORD.sub(rf"\g<1>:{MASK}@", value))
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", each) for each in value]
    if isinstance(value, bytes | bool | int | float) or value is None:
        return value
    return _masked("", str(value))  # an exception, a path, an object with a telling repr


def _add_bound(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**_bound, **event}


def _renderer(as_json: bool, *, colours: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(default=repr)
    return structlog.dev.ConsoleRenderer(
        colors=colours,
        pad_event_to=0,
        sort_keys=False,
        # Not rich's: it shows the values of local variables, and so passwords.
        exception_formatter=structlog.dev.plain_traceback,
    )
