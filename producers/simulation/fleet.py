"""What the simulator needs of a fleet."""

from typing import Protocol

from producers.batches import ReadingBatch, SeriesTable
from schemas.readings import Device


class Fleet(Protocol):
    """Devices that are stepped along virtual time; `producers.simulation.device_fleet.DeviceFleet` is one."""

    @property
    def devices(self) -> list[Device]:
        """The devices, as they are announced before their first reading."""

    @property
    def table(self) -> SeriesTable:
        """Names of the series and faults that the batches number."""

    @property
    def rate(self) -> float:
        """Readings per second of virtual time."""

    @property
    def episodes(self) -> dict[str, int]:
        """Fault -> episodes that began so far."""

    def between(self, begin_us: int, end_us: int) -> ReadingBatch:
        """All readings with begin <= time < end, by time.

        Cutting a stretch of time into pieces, in whatever way, changes no reading.
        """

    def next_time(self, time_us: int) -> int:
        """When the first reading at or after `time_us` is due."""

    def skip_to(self, time_us: int) -> None:
        """Go to a virtual time without reading anything."""

    def take_changed(self) -> list[Device]:
        """The records of devices that were created or changed since the last call."""
