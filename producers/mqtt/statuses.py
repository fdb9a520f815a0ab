"""What devices say of themselves, published when it changes."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from producers.clock import Clock
from producers.mqtt.payloads import Answer, status_fields, status_payload
from producers.mqtt.topics import Topics
from producers.simulation.device_fleet import DeviceFleet
from schemas.mqtt.publishing import Message


class Statuses:
    """Makes the status messages of a fleet; use it from the simulation's thread.

    Args:
        fleet: the devices.
        topics: where to.
        simulator: whose devices they are: its client id.
        clock: gives the time before the fleet has one.
    """

    def __init__(self, fleet: DeviceFleet, topics: Topics, simulator: str, clock: Clock) -> None:
        self._fleet = fleet
        self._topics = topics
        self._simulator = simulator
        self._clock = clock
        self._said: dict[str, dict[str, Any]] = {}
        self._seen = np.empty(0, np.int64)

    def of(self, device_ids: Iterable[str]) -> list[Message]:
        """The statuses of devices that said something else before, or nothing."""
        members = [self._fleet.population.number_of(device_id) for device_id in device_ids]
        return self._news([member for member in members if member is not None])

    def changes(self) -> list[Message]:
        """Of devices that came or went, or were switched, since the last call."""
        devices = self._fleet.population.devices
        now = devices["member"] * 4 + devices["online"] * 2 + devices["enabled"]
        if np.array_equal(now, self._seen):
            return []
        new = np.setdiff1d(now, self._seen) // 4
        self._seen = now
        gone = [device_id for device_id in self._said if device_id not in self._fleet.population]
        return [*self._news(new.tolist()), *(message for each in gone for message in self._leave(each))]

    def answer(self, device_id: str, answer: Answer) -> list[Message]:
        """The status of a device with the answer to a command; none where it is gone."""
        number = self._fleet.population.number_of(device_id)
        if number is None:
            return []
        self._note([number])
        return [self._message(self._said[device_id], answer)]

    def all(self) -> list[Message]:
        """The statuses as they were said last."""
        return [self._message(fields) for fields in self._said.values()]

    def farewell(self) -> list[Message]:
        """All devices offline: the simulation ends."""
        return [self._message({**fields, "status": "offline"}) for fields in self._said.values()]

    def _news(self, members: Sequence[int]) -> list[Message]:
        return [self._message(fields) for fields in self._note(members)]

    def _note(self, members: Sequence[int]) -> list[dict[str, Any]]:
        """What members say now, of those that said something else before."""
        new = []
        for view in self._fleet.population.views(members, self._fleet.position_us or 0):
            fields = status_fields(view, self._simulator)
            if self._said.get(fields["device_id"]) != fields:
                self._said[fields["device_id"]] = fields
                new.append(fields)
        return new

    def _leave(self, device_id: str) -> list[Message]:
        """A device is gone: it says so to who listens, and nothing of it is retained."""
        fields = {**self._said.pop(device_id), "status": "offline", "enabled": False}
        topic = self._topics.status(device_id)
        return [
            Message(topic, status_payload(fields, self._time_us())),
            Message(topic, b"", retain=True),
        ]

    def _message(self, fields: dict[str, Any], answer: Answer | None = None) -> Message:
        payload = status_payload(fields, self._time_us(), answer)
        return Message(self._topics.status(fields["device_id"]), payload, retain=True)

    def _time_us(self) -> int:
        return self._fleet.position_us or self._clock.now_us()
