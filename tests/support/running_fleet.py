"""A small fleet that runs: the real engine on a thread, obeying a `LocalControl`; its readings are only counted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from producers.control.local import LocalControl
from producers.control.shards import WHOLE, Shard
from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FaultChances, FleetSpec, Group
from producers.simulation.control import CommandQueue, SimulationStatus
from producers.simulation.device_fleet import DeviceFleet
from tests.support.waiting import until

START = 1_790_000_000_000_000
SECOND = 1_000_000
GROUPS = (
    Group(type="hvac", count=3, name="Roof {number}"),
    Group(type="oven", count=3, places=("restaurant", "factory"), device_id="oven-{number:03}"),
    Group(type="environmental", count=2, cities=("Denver",), manufacturer="DataLogger"),
)


def device_types():
    return load_catalogue().types


class RunningFleet:
    """Steps a fleet as fast as it can, or one interval each `pause` seconds."""

    def __init__(self, groups=GROUPS, shard: Shard = WHOLE, *, seed=7, pause=0.002, probability=0.0) -> None:
        spec = FleetSpec(groups=groups, faults=FaultChances(probability=probability))
        self.fleet = DeviceFleet(spec, load_catalogue(), seed, SECOND, shard.owns)
        self.shard = shard
        self.queue = CommandQueue()
        self.control = LocalControl(self.queue, self.status)
        self.sent = self.faults = 0
        self.time_us = START
        self.carried_out = 0
        self.frozen = threading.Event()
        """Set, it does nothing at all, as a simulation that hangs."""
        self.still = threading.Event()
        """Set, it carries out commands, but its time stands: a fault that lasts some readings stays."""
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fleet-{shard}", daemon=True)

    def status(self) -> SimulationStatus:
        counts = self.fleet.counts
        return SimulationStatus(
            running=self.control.running.is_set(),
            started_us=START,
            time_us=self.time_us,
            interval_s=1.0,
            devices=counts.devices,
            online=counts.online,
            enabled=counts.enabled,
            faulty=counts.faulty,
            sent=self.sent,
            acknowledged=self.sent,
            faults=self.faults,
            faults_by_kind=self.fleet.episodes,
            behind_s=0.0,
            shard=self.shard.number,
            shards=self.shard.shards,
        )

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            if self.frozen.is_set():
                continue
            self.carried_out += self.queue.carry_out(self.fleet.apply)
            if self.control.running.is_set() and not self.still.is_set():
                batch = self.fleet.between(self.time_us, self.time_us + SECOND)
                self.sent += len(batch)
                self.faults += int((batch.fault >= 0).sum())
                self.time_us += SECOND

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.queue.close()

    def wait_for_readings(self, seconds=60.0) -> None:
        """Until every device has been read."""
        enough = self.time_us + 2 * SECOND
        until(lambda: self.time_us >= enough, seconds)


@contextmanager
def running_fleet(*args, **kwargs) -> Iterator[RunningFleet]:
    fleet = RunningFleet(*args, **kwargs)
    fleet.start()
    try:
        yield fleet
    finally:
        fleet.stop()
