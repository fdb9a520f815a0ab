"""Whether a simulation does what it is told, for probes that must not wait for it."""

from threading import Lock, Thread
from time import monotonic

from producers.simulation.commands import CommandError, ListDevices
from producers.simulation.control import Control

_PATIENCE_SECONDS = 3.0
_LONGEST_SECONDS = 60.0


class Pulse:
    """Asks the simulation in the background, each time that it is asked itself and the last answer is there."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lock = Lock()
        self._asked: float | None = None
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Why the simulation is not well, as far as is known; None if it is. Does not block."""
        with self._lock:
            if self._asked is None:
                self._asked = monotonic()
                Thread(target=self._ask, name="control-pulse", daemon=True).start()
            elif (waited := monotonic() - self._asked) > _PATIENCE_SECONDS:
                return f"the simulation has not answered for {waited:.0f} s"
            return self._trouble

    def _ask(self) -> None:
        trouble = None
        try:
            self._control.apply(ListDevices(limit=0), _LONGEST_SECONDS)
        except TimeoutError as error:
            trouble = str(error)
        except CommandError as error:
            trouble = error.message
        finally:
            with self._lock:
                self._asked, self._trouble = None, trouble
