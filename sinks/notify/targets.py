"""Where notifications go: one Apprise URL each. What is secret in a URL is neither shown nor logged."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

import apprise
from pydantic import SecretStr

from schemas.errors import ConfigError

IDEMPOTENCY_HEADER = "Idempotency-Key"
"""Header of webhooks (json://, xml://, form://): the same for each attempt at the same notification."""

_TYPES = {
    "CRITICAL": apprise.NotifyType.FAILURE,
    "WARNING": apprise.NotifyType.WARNING,
    "INFO": apprise.NotifyType.INFO,
    "CLEARED": apprise.NotifyType.SUCCESS,
}
_SHORTEST_SECRET = 3
_MOST_ANOMALIES = 100
_ASSET = apprise.AppriseAsset(
    app_id="Sigmawatch",
    app_desc="Sigmawatch",
    app_url="",
    async_mode=False,
    interpret_escapes=False,
    interpret_emojis=False,
    allow_templates=False,
    # Its own deadline would hand over from a few threads that all targets share; connecting and answering have theirs.
    service_timeout=0,
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What a target is given; `key` is the same for each attempt, `anomalies` are the particulars for webhooks."""

    key: str
    title: str
    body: str
    severity: str
    anomalies: Sequence[dict[str, Any]] = field(default=())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt; `error` has no secret in it."""

    accepted: bool
    error: str = ""


class Target:
    """A target; `str()` of it is its name and where it goes, without what is secret.

    Args:
        name: by which routes name it.
        url: Apprise's.
        timeout: seconds to connect, and to wait for an answer.

    Raises:
        ConfigError: Apprise cannot make anything of the URL.
    """

    def __init__(self, name: str, url: SecretStr, timeout: float = 10.0) -> None:
        self.name = name
        self._url = url
        self._timeout = timeout
        _load_plugins()
        with _heard() as heard:
            plugin = self._plugin()
        if plugin is None:
            raise ConfigError(
                f"the target {name} is no URL that Apprise knows, or something is missing in it"
                f"{_joined([scrub(text, url, '') for text in heard])}",
                "See https://github.com/caronc/apprise/wiki for the form of each service.",
            )
        self.address = safe_address(plugin)

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"

    __repr__ = __str__

    def deliver(self, letter: Letter) -> Outcome:
        """Hand a letter over; blocks until the service has answered, or did not in time. Raises nothing."""
        with _heard() as heard:
            try:
                plugin: Any = self._plugin()
                service = apprise.Apprise(asset=_ASSET)
                if isinstance(getattr(plugin, "headers", None), dict):
                    plugin.headers[IDEMPOTENCY_HEADER] = letter.key
                if plugin.schema in ("json", "jsons"):
                    extra = {"id": letter.key, "severity": letter.severity}
                    anomalies = list(letter.anomalies[:_MOST_ANOMALIES])
                    plugin.payload_extras = {**extra, "anomalies": anomalies, **plugin.payload_extras}
                service.add(plugin)
                accepted = service.notify(
                    title=letter.title,
                    body=letter.body,
                    notify_type=_TYPES.get(letter.severity, apprise.NotifyType.INFO),
                    body_format=apprise.NotifyFormat.TEXT,
                )
            except Exception as error:  # noqa: BLE001 - plugins of a hundred services; one must not end the sink
                return Outcome(False, scrub(f"{type(error).__name__}: {error}", self._url, self.address))
        if accepted:
            return Outcome(True)
        said = scrub(_joined(heard).lstrip(": "), self._url, self.address)
        return Outcome(False, said or "it was refused, or nobody answered")

    def _plugin(self) -> Any:
        plugin: Any = apprise.Apprise.instantiate(self._url.get_secret_value(), asset=_ASSET)
        if plugin is not None:
            plugin.socket_connect_timeout = plugin.socket_read_timeout = self._timeout
        return plugin


@cache
def _load_plugins() -> None:
    """Have Apprise import its plugins, as it would at the first URL; what libraries warn its authors of is not for users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise.Apprise.instantiate("json://127.0.0.1", asset=_ASSET)


def safe_address(plugin: Any) -> str:
    """An address for people, as Apprise shows it in private; without parameters, and of a webhook without its path."""
    shown = str(plugin.url(privacy=True)).partition("?")[0]
    scheme, separator, rest = shown.partition("://")
    rest = rest.rpartition("@")[2]
    if hasattr(plugin, "payload_extras"):
        rest = rest.partition("/")[0]
    return f"{scheme}{separator}{rest.rstrip('/')}"


def scrub(text: str, url: SecretStr, shown: str) -> str:
    """A text without any part of a URL that is not shown anyway."""
    parts: set[str] = set()
    for part in re.split(r"[/:@?&=,;#\s]+", url.get_secret_value()):
        parts |= {part, unquote(part)}
    scheme, separator, _ = url.get_secret_value().partition("://")
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET and part not in shown and not (separator and part == scheme):
            text = text.replace(part, "***")
    return " ".join(text.split())[:500]


def _joined(heard: Sequence[str]) -> str:
    return f": {' '.join(dict.fromkeys(heard))}" if heard else ""


class _Ear(logging.Handler):
    """Collects what Apprise says in a thread, instead of letting it into the log: it may have secrets in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it for who listens in this thread."""
        heard = self.heard.get()
        if heard is not None:
            heard.append(record.getMessage())


_EAR = _Ear()
_SPEAKER = logging.getLogger("apprise")
_SPEAKER.addHandler(_EAR)
_SPEAKER.setLevel(logging.WARNING)
_SPEAKER.propagate = False
# At its lower levels it logs whole addresses.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What Apprise complains of meanwhile, in this thread."""
    heard: list[str] = []
    token = _EAR.heard.set(heard)
    try:
        yield heard
    finally:
        _EAR.heard.reset(token)
