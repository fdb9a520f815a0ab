"""What sensor-log-generator's configurations make, for the tests of its features."""

import numpy as np

from producers.clock import MAX_SPEED
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose
from producers.simulation.running import run_simulate
from schemas.settings import Settings
from tests.unit.producers.producers_fakes import NOW_US, FakeClock

NO_FAULTS = {"anomalies": {"enabled": False}}


def only(kind, **settings):
    """One kind of anomalies, and no other."""
    return {"probability": 0.2, "types": {kind: {"enabled": True, "weight": 1.0, **settings}}}


def counted(write, config):
    """The summary of what a configuration makes; the readings go nowhere."""
    options = SimulateOptions(config=write(config), to="/dev/null", format="csv", speed=MAX_SPEED)
    return run_simulate(Settings(), options, clock=FakeClock())


def kinds_of_readings(write, config):
    """How many readings have which fault, each with all of its metrics: None for those without, and those that are missing."""
    chosen = choose(SimulateOptions(config=write(config)))
    fleet, step = make_fleet(chosen), chosen.interval_us
    begin, count = -(-NOW_US // step) * step, round(chosen.options.duration * 1e6 / step)
    batch = fleet.between(begin, begin + count * step)
    rows = {device.device_id: row for row, device in enumerate(fleet.devices)}
    row_of_series = np.array([rows[device_id] for device_id in fleet.table.device_ids])
    found = np.full((len(rows), count), -2)
    np.maximum.at(found, (row_of_series[batch.series], (batch.time - begin) // step), batch.fault)
    names = {-2: "missing_data", -1: None} | dict(enumerate(fleet.table.faults))
    return {names[kind]: int((found == kind).sum()) for kind in np.unique(found).tolist()}
