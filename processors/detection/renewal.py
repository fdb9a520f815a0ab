"""Rules and devices while they change: what is in force, what is to come, and when it may.

The handler puts news in force right behind a checkpoint alone: so after a crash the readings behind it are judged as they
were before, as far as the news were known then.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import structlog

from processors.detection.directory import DirectoryReader
from processors.detection.document import rules_bytes, rules_document
from processors.detection.facts import Directory
from processors.detection.rules import Rules, parse_rules
from processors.engine.book import ProfileBook
from processors.metrics import Metrics
from schemas.errors import ConfigError

log = structlog.get_logger(__name__)

BookMaker = Callable[[Rules], ProfileBook]
"""The book of a user's rules."""

ModelWatch = Callable[[Rules], ProfileBook | None]
"""The book of a user's rules with the trained models, where those changed since it was last asked."""


class RulesFile:
    """The user's rules file, looked at again and again; its content decides, not its time.

    One that is gone, empty or unreadable for the moment counts as unchanged: editors write a new file and rename it, or
    cut the old one off before they fill it.

    Raises:
        ConfigError: it cannot be read, or is no rules file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = rules_bytes(path)
        self.rules = parse_rules(rules_document(data, str(path)))
        self._seen = _digest(data)

    def changed(self) -> bool:
        """Whether it says something else than at the last look; `rules` has it then.

        Raises:
            ConfigError: what it says now is no rules file; said once for each content.
        """
        try:
            data = rules_bytes(self.path)
        except ConfigError:
            return False
        if not data or _digest(data) == self._seen:
            return False
        self._seen = _digest(data)
        self.rules = parse_rules(rules_document(data, str(self.path)))
        return True


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class News:
    """What comes into force: a book, and whose series are concerned; None for all."""

    book: ProfileBook
    devices: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class OwnRules:
    """The user's rules file, and what becomes of its rules."""

    file: RulesFile
    make: BookMaker


class Renewal:
    """The book in force, and the next one. `look` and `read_on` block and may run in threads.

    Args:
        book: in force at first.
        own: where another book may come from; None where the rules stay.
        directory: what is known of devices.
        reader: fills it; None where nothing does.
        metrics: where to count.
        models: looks at the trained models; None where there are none.
    """

    def __init__(
        self,
        book: ProfileBook,
        own: OwnRules | None = None,
        directory: Directory | None = None,
        reader: DirectoryReader | None = None,
        metrics: Metrics | None = None,
        models: ModelWatch | None = None,
    ) -> None:
        self.book = book
        self._own = own
        self._rules = Rules() if own is None else own.file.rules
        self._directory = Directory() if directory is None else directory
        self._reader = reader
        self._metrics = Metrics() if metrics is None else metrics
        self._models = models
        self._next: News | None = None

    def look(self, rules: bool = True) -> None:
        """See whether devices changed, and the rules file and the models if asked to."""
        if rules and self._own is not None:
            self._look_at_file(self._own)
        if rules and self._models is not None:
            book = self._models(self._rules)
            self._next = self._next if book is None else News(book)
        if self._reader is not None:
            self._reader.follow()
            self._metrics.devices.set(len(self._directory))

    def read_on(self) -> None:
        """Read the devices to their present end, see `DirectoryReader.read_on`."""
        if self._reader is not None:
            self._reader.read_on()
            self._metrics.devices.set(len(self._directory))

    def complete_only(self) -> AbstractContextManager[None]:
        """See `Directory.complete_only`."""
        return self._directory.complete_only()

    @property
    def has_news(self) -> bool:
        """Whether something waits for being put in force."""
        return self._next is not None or self._directory.has_changes

    def adopt(self) -> News:
        """What waits is in force from now on; the caller tells the engines."""
        changed = self._directory.take_changes()
        if self._next is None:
            log.info("devices changed", devices=len(changed))
            return News(self.book, changed)
        news, self._next = self._next, None
        self.book = news.book
        self._metrics.rules_changes.labels("in_force").inc()
        return news

    def give_up(self) -> None:
        """Wait for no answer any more: the process ends."""
        if self._reader is not None:
            self._reader.give_up()

    def _look_at_file(self, own: OwnRules) -> None:
        try:
            if not own.file.changed():
                return
            book = own.make(own.file.rules)
        except ConfigError as error:
            self._metrics.rules_changes.labels("refused").inc()
            log.error("changed rules are refused, the old ones stay", reason=str(error))  # noqa: TRY400 - no bug of ours
            return
        before, self._rules = self._rules, own.file.rules
        self._next = News(book)
        log.info(
            "rules changed, in force with the next checkpoint",
            preset=self._rules.preset,
            rules=len(self._rules.rules),
            added=[rule.place for rule in self._rules.rules if rule not in before.rules],
            removed=sum(rule not in self._rules.rules for rule in before.rules),
        )
