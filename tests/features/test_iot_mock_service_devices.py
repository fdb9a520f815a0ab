"""The features of iot-mock-service, row by row of its document, each under its own words: its devices and their data.

How it is reached and integrated is in tests/features/test_iot_mock_service_interfaces.py.

Elsewhere:

| row | tests |
|---|---|
| docker-compose up; integration with the other services | tests/integration/deploy/test_compose.py::test_the_fleet_runs_and_obeys_and_nothing_is_compiled_in_containers |
| Data flow: MQTT broker, data ingestion, store | tests/integration/producers/mqtt/test_mqtt_to_kafka.py::test_every_reading_arrives_as_it_was_simulated |
| Paths, bodies, envelopes and limits in full | tests/unit/producers/control/test_control_api_devices.py, tests/unit/producers/control/test_control_api_faults.py, tests/unit/producers/control/test_control_api_simulation.py, tests/unit/producers/control/test_control_api_requests.py |
| The same calls at the dashboard's port | tests/unit/deploy/test_serving.py::test_calls_of_earlier_systems_at_the_one_address |
| Data and alerts on dashboards | tests/integration/dashboard/test_dashboard_catch.py::test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart, tests/integration/dashboard/test_dashboard_page.py::test_the_fleet_opens_sorted_by_trouble_and_draws_only_what_is_seen |
| Names and defaults of its settings | tests/unit/producers/legacy/test_migrating_guide.py::test_every_variable_and_flag_of_the_five_systems_is_in_the_guide |

No features but files of that project:
setup.py, simple_test.py, test_service.py, start-mock-service.ps1, its README.
"""

import numpy as np
import pytest
import yaml
from feature_runs import ENERGY_DEVICES, simulate

from producers.devices.fleets import load_fleet
from producers.options import ReplayOptions
from producers.replay.readings import file_readings

HVAC = "/api/v1/devices/mock-hvac-001"


@pytest.fixture(scope="module")
def hour():
    """Its five devices for an hour, without faults."""
    return simulate(fleet="energy", duration=3600.0, anomaly_rate=0.0)


# Core service components


def test_individual_device_simulation(hour):
    """MockDevice: individual device simulation."""
    power = {device: hour.values("power", device) for device in ENERGY_DEVICES}
    assert {len(values) for values in power.values()} == {720}
    assert len({tuple(values / values.mean()) for values in power.values()}) == 5


def test_power_voltage_current_and_energy_readings(hour):
    """MockDevice: power, voltage, current, and energy readings."""
    assert {reading.metric for reading in hour.readings} == {"power", "voltage", "current", "energy"}
    assert hour.by_id["mock-hvac-001"].units == {
        "power": "kW",
        "voltage": "V",
        "current": "A",
        "energy": "kWh",
    }
    power, voltage, current = (
        hour.values(metric, "mock-server-001") for metric in ("power", "voltage", "current")
    )
    assert current == pytest.approx(1000 * power / voltage, abs=0.001)


def test_realistic_data_variations(hour):
    """MockDevice: realistic data variations. DeviceSimulator: realistic energy consumption patterns."""
    assert len(set(hour.values("power", "mock-hvac-001"))) > 700
    assert all((np.diff(hour.values("energy", device)) > 0).all() for device in ENERGY_DEVICES)


def test_manages_virtual_devices_lifecycle(fresh):
    """MockDeviceManager: manages virtual IoT devices lifecycle."""
    made = fresh.post("/api/v1/devices", {"device_type": "server", "name": "Rack 9", "location": "Cellar"})
    path = f"/api/v1/devices/{made['id']}"
    fresh.until(path, lambda device: device["last_update"] is not None)
    assert fresh.put(path, {"enabled": False})["enabled"] is False
    fresh.data(fresh.http.delete(path))
    assert fresh.http.get(path).status_code == 404


def test_processes_device_commands(fresh):
    """MockDeviceManager: processes device commands."""
    assert (
        fresh.post(f"{HVAC}/command", {"command": "set_power", "parameters": {"power": 30}})["base_power"]
        == 30
    )
    fresh.until(f"{HVAC}/readings", lambda readings: readings["power"] > 27.6)


def test_maintains_device_state_and_status(fresh):
    """MockDeviceManager: maintains device state and status."""
    fresh.put(HVAC, {"online": False})
    assert (fresh.get(HVAC)["status"], fresh.get(HVAC)["enabled"]) == ("offline", True)


def test_continuous_data_generation_in_the_background(service):
    """DeviceSimulator: continuous data generation and transmission; background processing."""
    sent = service.get("/api/v1/simulation/status")["workers"][0]["readings_sent"]
    service.until(
        "/api/v1/simulation/status", lambda status: status["workers"][0]["readings_sent"] > sent + 100
    )


def test_configurable_simulation_intervals():
    """DeviceSimulator: configurable simulation intervals. Key feature: configurable intervals and data ranges."""
    assert load_fleet("energy").interval == 5
    for interval in (1.0, 30.0):
        times = [
            r.time
            for r in simulate(fleet="energy", duration=300.0, interval=interval).of("power", "mock-hvac-001")
        ]
        assert set(np.diff(times)) == {interval * 1e6}


def test_configurable_data_ranges(tmp_path):
    """Key features: configurable intervals and data ranges. Settings: device types and ranges; data variation settings."""
    fleet = {
        "groups": [
            {
                "type": "hvac",
                "device_id": "h",
                "metrics": {
                    "power": {"noise": {"uniform": "40 %"}, "range": [20, 30]},
                    "voltage": {"noise": {"uniform": 5}},
                },
                "parameters": {"base_voltage": 230},
                "faults": {"enabled": False},
            }
        ]
    }
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet))
    found = simulate(fleet=str(path), duration=3600.0, interval=5.0)
    assert (found.values("power").min(), found.values("power").max()) == (20, 30)
    assert 225 <= found.values("voltage").min() < 226 < 234 < found.values("voltage").max() <= 235


# Default devices


@pytest.mark.parametrize(
    ("device_id", "name", "power", "location"),
    [
        ("mock-hvac-001", "HVAC System", 25, "Building A HVAC"),
        ("mock-lighting-001", "LED Lighting", 8.5, "Office lighting"),
        ("mock-server-001", "Server Rack", 45, "Data center equipment"),
        ("mock-industrial-001", "Production Line", 120, "Industrial equipment"),
        ("mock-appliance-001", "Kitchen Equipment", 15, "Cafeteria appliances"),
    ],
)
def test_the_service_creates_five_realistic_devices(hour, device_id, name, power, location):
    """Default devices: name (kW) - place."""
    device = hour.by_id[device_id]
    assert (device.name, device.location.name) == (name, location)
    assert hour.values("power", device_id).mean() == pytest.approx(power, rel=0.01)
    assert len(hour.devices) == 5


# Key features: realistic simulation


def test_power_variations(hour):
    """Power variations: ±10% realistic fluctuations."""
    power = hour.values("power", "mock-hvac-001") / 25
    assert 0.9 <= power.min() < 0.905 < 1.095 < power.max() <= 1.1


def test_voltage_stability(hour):
    """Voltage stability: ±2% variations around nominal."""
    voltage = hour.values("voltage") / 240
    assert 0.98 <= voltage.min() < 0.981 < 1.019 < voltage.max() <= 1.02


def test_energy_integration(hour):
    """Energy integration: cumulative energy consumption."""
    power, energy = hour.values("power", "mock-hvac-001"), hour.values("energy", "mock-hvac-001")
    assert energy == pytest.approx(np.cumsum(power) * 5 / 3600, abs=1e-6)


@pytest.mark.parametrize("state", ["online", "enabled"])
def test_device_states(fresh, state):
    """Device states: online/offline, enabled/disabled."""
    fresh.put(HVAC, {state: False})
    before = fresh.get(HVAC)["last_update"]
    others = fresh.get("/api/v1/devices/mock-server-001")["last_update"]
    fresh.until("/api/v1/devices/mock-server-001", lambda device: device["last_update"] > others)
    silent = fresh.get(HVAC)
    assert (silent[state], silent["power"], silent["last_update"]) == (False, 0, before)
    fresh.put(HVAC, {state: True})
    fresh.until(HVAC, lambda device: device["last_update"] > before)


def test_error_conditions(fresh):
    """Error conditions: simulated device failures."""
    fresh.post(
        f"{HVAC}/command",
        {"command": "inject_fault", "parameters": {"fault": "device_failure", "duration": 1000}},
    )
    fresh.until(
        f"{HVAC}/readings",
        lambda readings: readings["power"] == 0 and readings["anomaly_type"] == "device_failure",
    )


# Benefits


def test_consistent_test_data():
    """Consistent test data for reproducible testing."""
    first, again = (simulate(fleet="energy", duration=300.0, seed=7) for _ in range(2))
    assert first.readings == again.readings
    assert first.readings != simulate(fleet="energy", duration=300.0, seed=8).readings


def test_multiple_simultaneous_devices():
    """Load testing with many simulated devices; multiple simultaneous devices showing scale."""
    found = simulate(fleet="energy", devices=1000, duration=10.0)
    assert len({reading.device_id for reading in found.readings}) == 1000


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("device_failure", lambda readings: readings["power"] == 0),
        ("sustained_high_load", lambda readings: readings["power"] > 1.8 * 25),
        ("voltage_fluctuation", lambda readings: not 0.98 * 240 <= readings["voltage"] <= 1.02 * 240),
    ],
    ids=["failures", "high loads", "variations"],
)
def test_controlled_scenarios(fresh, fault, holds):
    """Controlled scenarios (failures, variations, etc.). Edge case simulation (failures, high loads). Interactive control."""
    fresh.post("/trigger-anomaly", {"device_id": "mock-hvac-001", "anomaly_type": fault, "duration": 50})
    fresh.until(f"{HVAC}/readings", holds)


# Future enhancements that are there


def test_device_profiles(tmp_path):
    """Device profiles for different energy patterns."""
    types = {
        "types": {
            "heat_pump": {
                "extends": "hvac",
                "parameters": {"base_power": {"default": 6}},
                "metrics": {"power": {"cycles": [{"period": "1d", "amplitude": "30 %", "peak": "18:00"}]}},
            }
        }
    }
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(types))
    fleet = {
        "types": ["types.yaml"],
        "groups": [{"type": "heat_pump", "device_id": "p", "faults": {"enabled": False}}],
    }
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    found = simulate(fleet=str(tmp_path / "fleet.yaml"), duration=86_400.0, interval=600.0)
    by_hour = {}
    for reading in found.of("power"):
        by_hour.setdefault(reading.time // 3_600_000_000 % 24, []).append(reading.value)
    assert max(by_hour, key=lambda hour: np.mean(by_hour[hour])) in {16, 17, 18, 19}


def test_scenario_scripting():
    """Scenario scripting for complex test cases."""
    assert {"voltage_fluctuation", "power_spike"} <= simulate(scenario="brown-out").faults


def test_historical_data_replay(tmp_path):
    """Historical data replay from real devices."""
    path = tmp_path / "meter.csv"
    path.write_text("timestamp,device_id,power\n2026-01-01T00:00:00Z,meter-1,25.3\n")
    (reading,) = file_readings(path, ReplayOptions(), 1_795_261_139_000_000)
    assert (reading.device_id, reading.metric, reading.value) == ("meter-1", "power", 25.3)


def test_advanced_failure_simulation(fresh):
    """Advanced failure simulation."""
    body = {"select": {"type": "hvac"}, "fault": "stuck", "seconds": 600, "onset": 0.0}
    assert fresh.post("/api/v1/faults", body)["count"] == 1
    assert fresh.get("/api/v1/faults")[0]["fault"]["fault"] == "stuck"
