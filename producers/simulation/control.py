"""How others reach a running simulation: `Control`, and the queue behind it that the simulator empties between steps."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from producers.simulation.commands import Command, Outcome, SimulationEndedError


@dataclass(frozen=True, slots=True)
class SimulationStatus:
    """Where a simulation stands; times in µs.

    Attributes:
        running: whether its virtual time moves; `stop` pauses it, `start` lets it go on.
        devices: of this worker; online, enabled: those whose link is up, that are switched on; faulty: with an active
            fault.
        sent, acknowledged, faults: readings so far, and those with a fault among them.
        faults_by_kind: episodes that began, by fault.
        mqtt_connected: whether the MQTT broker is there; None where none is asked for.
        shard, shards: which part of the fleet this worker has, from 1.
    """

    running: bool
    started_us: int
    time_us: int
    interval_s: float
    devices: int
    online: int
    enabled: int
    faulty: int
    sent: int
    acknowledged: int
    faults: int
    faults_by_kind: dict[str, int]
    behind_s: float
    mqtt_connected: bool | None = None
    shard: int = 1
    shards: int = 1


class Control(Protocol):
    """A simulation, or all the workers of one; every call blocks until it was carried out."""

    def apply(self, command: Command, timeout: float = 10.0) -> Outcome:
        """Carry a command out between two readings.

        Raises:
            CommandError: it cannot be.
            UnknownDeviceError, DeviceExistsError: its device is not there, or is.
            SimulationEndedError: nobody carries it out any more.
            TimeoutError: the simulation, or the worker that owns the device, did not answer.
        """

    def status(self) -> list[SimulationStatus]:
        """Where each worker stands.

        Raises:
            TimeoutError: one did not answer.
        """

    def start(self) -> None:
        """Let virtual time go on; nothing if it does."""

    def stop(self) -> None:
        """Pause virtual time; nothing if it stands."""


class CommandQueue:
    """Commands on their way from any thread to the simulator's."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Command, Future[Outcome]]] = SimpleQueue()
        self._closed = False

    def submit(self, command: Command) -> Future[Outcome]:
        """Hand a command over; the future has its outcome or its error."""
        future: Future[Outcome] = Future()
        self._waiting.put((command, future))
        if self._closed:
            self.carry_out(_refuse)
        return future

    def close(self) -> None:
        """Refuse what waits and what still comes: the simulation has ended."""
        self._closed = True
        self.carry_out(_refuse)

    def carry_out(self, apply: Callable[[Command], Outcome]) -> int:
        """Apply what waits, in its order; called by the simulator between two pieces. Returns how many."""
        count = 0
        while True:
            try:
                command, future = self._waiting.get_nowait()
            except Empty:
                return count
            count += 1
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(apply(command))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to who asked
                future.set_exception(error)


def _refuse(_: Command) -> Outcome:
    raise SimulationEndedError(
        "the simulation has ended", "Start it again with `sigmawatch simulate --control`."
    )
