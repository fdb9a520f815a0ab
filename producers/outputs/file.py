"""Readings into a file, as the simulator sends them."""

from collections.abc import Sequence

from producers.batches import ReadingBatch
from producers.outputs.output import ReadingOutput
from producers.publish import PartitionCounts
from schemas.readings import Device


class FileOutput:
    """A `producers.simulation.simulator.Output` on a `ReadingOutput`; closes nothing."""

    def __init__(self, output: ReadingOutput) -> None:
        self._output = output

    @property
    def acknowledged(self) -> int:
        """Readings in the file."""
        return self._output.acknowledged

    @property
    def by_partition(self) -> PartitionCounts:
        """Files have no partitions."""
        return {}

    def announce(self, devices: Sequence[Device], _now_us: int) -> None:
        """Write device records beside the readings."""
        self._output.announce(devices)

    def publish(self, batch: ReadingBatch, _until_us: int, now_us: int) -> None:
        """Write a batch, in its order."""
        if len(batch):
            self._output.publish(batch, now_us)

    def finish(self, now_us: int) -> None:
        """Nothing is held back."""

    def flush(self) -> None:
        """Hand all to the operating system."""
        self._output.flush()
