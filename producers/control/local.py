"""`Control` of the simulation in this process."""

from collections.abc import Callable
from threading import Event

from producers.simulation.commands import Command, Outcome
from producers.simulation.control import CommandQueue, SimulationStatus


class LocalControl:
    """Hands commands to the simulator's thread and waits for what came of them; for any number of threads.

    Args:
        queue: the simulator empties it between two pieces, also while it is paused.
        status: where it stands; called from any thread, so it only reads.

    Attributes:
        running: set while virtual time is to go on; the simulator looks at it.
    """

    def __init__(self, queue: CommandQueue, status: Callable[[], SimulationStatus]) -> None:
        self._queue = queue
        self._status = status
        self.running = Event()
        self.running.set()

    def apply(self, command: Command, timeout: float = 10.0) -> Outcome:
        """As `Control.apply`. A command that was not begun when its time was up is never carried out."""
        future = self._queue.submit(command)
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.cancel():
                raise TimeoutError(f"the simulation did not answer within {timeout:.2g} s") from None
            if future.done():
                return future.result()
            raise TimeoutError(
                f"the simulation is not done after {timeout:.2g} s; the command may still be carried out"
            ) from None

    def status(self) -> list[SimulationStatus]:
        """As `Control.status`; one."""
        return [self._status()]

    def start(self) -> None:
        """As `Control.start`."""
        self.running.set()

    def stop(self) -> None:
        """As `Control.stop`."""
        self.running.clear()

    def close(self) -> None:
        """Refuse what waits and what still comes; the simulation has ended."""
        self._queue.close()
