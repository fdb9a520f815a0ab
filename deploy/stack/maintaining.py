"""What `up` does beside its parts: `sigmawatch db maintain`, now and then, in a thread."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.errors import SigmawatchError, first_line

if TYPE_CHECKING:
    from schemas.settings import Settings


class Maintainer:
    """Runs the database's maintenance every `database.maintain_interval`, the first time after one.

    An outage is left to the next run; what the database refuses for good is told once, and ends it: a run of `up` goes
    on without. `stop` waits for the transaction under way, a few seconds.

    Args:
        settings: with the database's address.
        tell: says a line to people; called from the thread.
    """

    def __init__(self, settings: "Settings", tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="maintenance", daemon=True)
        self.runs = 0
        """That came to their end."""

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join(timeout=30.0)

    def _work(self) -> None:
        import psycopg  # noqa: PLC0415

        from deploy.clients import UnreachableError, connect_database  # noqa: PLC0415
        from sinks.timescale.maintain import maintain  # noqa: PLC0415
        from sinks.timescale.policies import Ages  # noqa: PLC0415

        ages = Ages.of(self._settings.database)
        while not self._stop.wait(self._settings.database.maintain_interval):
            try:
                with connect_database(self._settings) as connection:
                    maintain(connection, ages, stop=self._stop.is_set)
                self.runs += 1
            except (psycopg.OperationalError, UnreachableError):
                continue
            except (psycopg.Error, SigmawatchError) as error:
                self._tell(f"the database is not maintained: {first_line(error)}")
                return
