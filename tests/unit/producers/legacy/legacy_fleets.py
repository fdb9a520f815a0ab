"""Fleets out of sensor-log-generator's files, and what they read."""

from pathlib import Path

import numpy as np

from producers.devices.catalogue import load_catalogue
from producers.devices.expand import expand
from producers.documents import parse_yaml
from producers.legacy.config import config_of
from producers.legacy.convert import fleet_of
from producers.legacy.identity import identity_of
from producers.simulation.device_fleet import DeviceFleet
from tests.support.sensor_log_generator import NESTED

CATALOGUE = load_catalogue()
HOUR_US = 3_600_000_000
BEGIN_US = 20_000 * 24 * HOUR_US
DENVER = identity_of(
    {
        **NESTED,
        "device_info": {
            name: text for name, text in NESTED["device_info"].items() if name != "serial_number"
        },
    }
)


def config(text="", path=Path("config.yaml")):
    return config_of(parse_yaml(text, "test"), path)


def devices(text="", identity=None, path=Path("config.yaml")):
    return expand(fleet_of(config(text, path), identity)[0], CATALOGUE, 1)


def options(text="", **rest):
    return fleet_of(config(text), **rest)[1]


def run(text, identity=None, hours=24, interval_s=60):
    """Readings of the fleet: (SeriesTable, batch)."""
    spec, _ = fleet_of(config(text), identity)
    fleet = DeviceFleet(spec, CATALOGUE, 1, round(interval_s * 1e6))
    return fleet, fleet.between(BEGIN_US, BEGIN_US + round(hours * HOUR_US))


def values(text, metric, **rest):
    fleet, batch = run(text, **rest)
    numbers = [number for number, name in enumerate(fleet.table.metrics) if name == metric]
    return batch.value[np.isin(batch.series, numbers)]
