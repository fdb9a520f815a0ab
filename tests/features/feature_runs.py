"""Short simulations, and a served one, for the tests of features: what users see, without a broker and without waiting."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from producers.clock import MAX_SPEED
from producers.control.app import control_app
from producers.devices.fleet_spec import FaultChances, Group
from producers.devices.fleets import load_fleet
from producers.options import SimulateOptions
from producers.simulation.running import run_simulate
from producers.simulation.simulator import SimulateSummary
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Device, Reading
from schemas.settings import ControlSettings, Settings
from tests.support.running_fleet import RunningFleet, device_types, running_fleet
from tests.support.waiting import until
from tests.unit.producers.producers_fakes import FakeClock, FakePublisher

CODEC = Codec(Catalogue())
ANY_TIME = TimeBounds(max_ahead_us=2**62)
ENERGY_DEVICES = {
    "mock-hvac-001",
    "mock-lighting-001",
    "mock-server-001",
    "mock-industrial-001",
    "mock-appliance-001",
}


@dataclass
class Simulated:
    """What a simulation sent: readings and device records in their order."""

    summary: SimulateSummary
    readings: list[Reading]
    devices: list[Device]

    @cached_property
    def _by_series(self) -> dict[tuple[str, str | None], list[Reading]]:
        found = defaultdict(list)
        for reading in self.readings:
            found[reading.metric, None].append(reading)
            found[reading.metric, reading.device_id].append(reading)
        return dict(found)

    def of(self, metric: str, device_id: str | None = None) -> list[Reading]:
        """The readings of a metric, of one device or of all."""
        return self._by_series.get((metric, device_id), [])

    def values(self, metric: str, device_id: str | None = None) -> np.ndarray:
        return np.array([reading.value for reading in self.of(metric, device_id)])

    @cached_property
    def faults(self) -> set[str]:
        """The kinds of faults that were seen."""
        return {reading.fault for reading in self.readings if reading.fault}

    @cached_property
    def by_id(self) -> dict[str, Device]:
        return {device.device_id: device for device in self.devices}

    @cached_property
    def faulty_share(self) -> float:
        return sum(reading.fault is not None for reading in self.readings) / len(self.readings)


def simulate(*, settings: Settings | None = None, clock: FakeClock | None = None, stop=None, **options):
    """Run a simulation onto a Kafka that is a list; as fast as it can, unless `speed` is given."""
    publisher, chosen = FakePublisher(), {"speed": MAX_SPEED, **options}
    summary = run_simulate(
        settings or Settings(), SimulateOptions(**chosen), clock=clock or FakeClock(), publisher=publisher, stop=stop
    )  # fmt: skip
    devices = [CODEC.decode_device(message.value) for message in publisher.sent if message.topic == "devices"]
    return Simulated(summary, _readings(publisher), devices)


def _readings(publisher: FakePublisher) -> list[Reading]:
    """What is in the topic of readings: in columns, since there are many."""
    messages = [message for message in publisher.sent if message.topic == "readings"]
    timestamps = np.array([message.timestamp_ms for message in messages], np.int64)
    found = decode_readings([message.value for message in messages], timestamps, CODEC, ANY_TIME)
    assert not found.status.any()
    return [found.reading(row) for row in range(len(found))]


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass
class Served:
    """A fleet that runs, and a client of its control API."""

    fleet: RunningFleet
    http: TestClient

    def get(self, path):
        return self.data(self.http.get(path))

    def post(self, path, body=None):
        return self.data(self.http.post(path, json=body))

    def put(self, path, body):
        return self.data(self.http.put(path, json=body))

    @staticmethod
    def data(answer):
        """What is in the envelope of an answer that went well."""
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() == {"success", "data", "message", "errors"}
        assert (body["success"], body["errors"]) == (True, None)
        return body["data"]

    def until(self, path, holds):
        """The data at a path, as soon as something holds of them."""
        found = []

        def looked():
            found[:] = [self.get(path)]
            return holds(found[0])

        until(looked)
        return found[0]


def healthy_groups(fleet: str) -> tuple[Group, ...]:
    """The groups of a shipped fleet, without faults by themselves."""
    return tuple(
        group.model_copy(update={"faults": FaultChances(enabled=False)}) for group in load_fleet(fleet).groups
    )


@contextmanager
def served(fleet: str, **settings) -> Iterator[Served]:
    """A shipped fleet, without faults by themselves: a second of virtual time every 20 ms.

    So a fault of fifty readings, the longest that the API takes, can be seen by one who asks for it.
    """
    with running_fleet(healthy_groups(fleet), pause=0.02) as running:
        app = control_app(running.control, running.control, device_types, ControlSettings(**settings))
        with TestClient(app, base_url="http://127.0.0.1") as http:
            running.wait_for_readings()
            yield Served(running, http)
