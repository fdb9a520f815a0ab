"""The stream's own troubles, between a fleet and where its readings go."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from producers.batches import ReadingBatch
from producers.publish import PartitionCounts
from producers.simulation.simulator import Output
from producers.troubles import Sends, TroubleCounts, Troubles
from schemas.readings import Device


class TroubledOutput:
    """A `producers.simulation.simulator.Output` through `Troubles`.

    Args:
        output: takes device records, which have no troubles, and counts what is safe.
        troubles: what happens to the readings.
        send: takes messages in their order, with the time of producing in µs; may block as the output does.
    """

    def __init__(self, output: Output, troubles: Troubles, send: Callable[[Sends, int], None]) -> None:
        self._output = output
        self._troubles = troubles
        self._send = send

    @property
    def acknowledged(self) -> int:
        """Messages that are safe; a copy counts as well."""
        return self._output.acknowledged

    @property
    def by_partition(self) -> PartitionCounts:
        """The same, by partition."""
        return self._output.by_partition

    @property
    def counts(self) -> TroubleCounts:
        """What happened so far."""
        return self._troubles.counts

    def announce(self, devices: Sequence[Device], now_us: int) -> None:
        """Take device records."""
        self._output.announce(devices, now_us)

    def publish(self, batch: ReadingBatch, until_us: int, now_us: int) -> None:
        """Send what goes out before `until_us`."""
        sends = self._troubles.apply(batch, until_us)
        if len(sends):
            self._send(sends, now_us)

    def finish(self, now_us: int) -> None:
        """Send what is still held back."""
        sends = self._troubles.drain()
        if len(sends):
            self._send(sends, now_us)

    def flush(self) -> None:
        """Wait until everything sent is safe."""
        self._output.flush()

    def snapshot(self) -> Mapping[str, NDArray[np.generic]]:
        """What is held back, and the counts."""
        return self._troubles.snapshot()
