"""Small fleets for the tests of the simulation: a type or two of the test's own, without a file."""

from pathlib import Path

import numpy as np
import yaml

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FleetSpec
from producers.simulation.device_fleet import DeviceFleet

START = 1_790_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND


def fleet_of(
    folder: Path, types: dict, groups: list | None = None, *, seed=1, interval=SECOND, **fleet
) -> DeviceFleet:
    """A fleet of types given as their YAML would say them; without groups one device of each."""
    path = folder / "types.yaml"
    path.write_text(yaml.safe_dump({"types": types}, sort_keys=False))
    spec = FleetSpec(
        groups=groups or [{"type": name} for name in types], **({"faults": {"probability": 0}} | fleet)
    )
    return DeviceFleet(spec, load_catalogue([path]), seed, interval)


def column(fleet: DeviceFleet, batch, device_id: str, metric: str) -> np.ndarray:
    """The values of one series."""
    return batch.value[batch.series == fleet.table.series(device_id, metric)]


def rows(fleet: DeviceFleet, batch) -> list[tuple]:
    """Readings as (device, metric, time, value, fault), in their order."""
    table = fleet.table
    return [
        (
            table.device_ids[series],
            table.metrics[series],
            time,
            value,
            None if fault < 0 else table.faults[fault],
        )
        for series, time, value, fault in zip(
            batch.series.tolist(),
            batch.time.tolist(),
            batch.value.tolist(),
            batch.fault.tolist(),
            strict=True,
        )
    ]


def flat(baseline=100.0, **more) -> dict:
    """A metric that says its baseline and nothing else."""
    return {"unit": "1", "baseline": baseline, **more}
