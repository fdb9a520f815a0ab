"""Fleets for the tests of MQTT: of shipped types."""

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FaultChances, FleetSpec, Group
from producers.devices.fleets import load_fleet
from producers.simulation.device_fleet import DeviceFleet

START = 1_790_000_000_000_000
SECOND = 1_000_000


def energy_fleet(probability=0.0):
    """The five devices of iot-mock-service, read every 5 s."""
    spec = load_fleet("energy").model_copy(update={"faults": FaultChances(probability=probability)})
    return DeviceFleet(spec, load_catalogue(), 3, 5 * SECOND)


def fleet_of_types(types, probability=0.0):
    """Two devices of each type, read every second."""
    groups = tuple(Group(type=name, count=2) for name in types)
    return DeviceFleet(
        FleetSpec(groups=groups, faults=FaultChances(probability=probability)), load_catalogue(), 5, SECOND
    )


def rows(fleet, batch):
    """Readings as (device, metric, time, value, fault), in their order."""
    table = fleet.table
    columns = (batch.series.tolist(), batch.time.tolist(), batch.value.tolist(), batch.fault.tolist())
    return [
        (
            table.device_ids[series],
            table.metrics[series],
            time,
            value,
            None if fault < 0 else table.faults[fault],
        )
        for series, time, value, fault in zip(*columns, strict=True)
    ]
