"""Topics of simulated devices, as iot-mock-service has them: PREFIX/devices/DEVICE/data, /status, /commands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics below a prefix."""

    prefix: str

    def data(self, device_id: str) -> str:
        """Where a device's readings go."""
        return f"{self.prefix}/devices/{device_id}/data"

    def status(self, device_id: str) -> str:
        """Where a device says whether it is there; retained."""
        return f"{self.prefix}/devices/{device_id}/status"

    @property
    def commands(self) -> str:
        """The filter that has the commands to every device."""
        return f"{self.prefix}/devices/+/commands"

    def commanded(self, topic: str) -> str | None:
        """The device whose commands a topic has, None where it is no such topic."""
        begin, end = f"{self.prefix}/devices/", "/commands"
        if not (topic.startswith(begin) and topic.endswith(end)):
            return None
        device_id = topic[len(begin) : -len(end)]
        return device_id if device_id and "/" not in device_id else None

    def simulator(self, client_id: str) -> str:
        """Where a simulator says whether it is there; retained, and its last will."""
        return f"{self.prefix}/simulators/{client_id}/status"
