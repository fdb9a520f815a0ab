"""What the routes stand on."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sinks.api.fleet import Fleet
from sinks.api.live import LiveTail
from sinks.queries.connection import Readers
from sinks.queries.series import Abilities, abilities_of

_ABILITIES_SECONDS = 60.0

QualityOf = Callable[[datetime, datetime], Mapping[str, Any]]
"""Detection measured against ground truth, of a stretch; blocks for seconds; raises SigmawatchError where there is none."""

PipelineOf = Callable[[], Mapping[str, Any]]
"""How the processors stand; see `sinks.api.pipeline`. Blocks for some seconds at most."""


@dataclass(slots=True)
class Api:
    """Shared by all routes; every field may be used from any thread.

    Attributes:
        readers: connections to the database.
        fleet: the devices as they are now.
        live: readings and anomalies as they come.
        quality, pipeline: as above; None where this server cannot know.
        window, k: of the expected band.
        stop: set when the server ends: streams end then.
    """

    readers: Readers
    fleet: Fleet
    live: LiveTail
    quality: QualityOf | None = None
    pipeline: PipelineOf | None = None
    k: float = 4.0
    stop: threading.Event = field(default_factory=threading.Event)
    _abilities: Abilities | None = None
    _asked_at: float = 0.0

    def abilities(self) -> Abilities:
        """What the database offers; asked once a minute."""
        if self._abilities is None or time.monotonic() - self._asked_at > _ABILITIES_SECONDS:
            with self.readers.connection() as connection:
                self._abilities = abilities_of(connection)
            self._asked_at = time.monotonic()
        return self._abilities
