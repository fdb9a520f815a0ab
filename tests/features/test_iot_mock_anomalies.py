"""The features of iot-mock-service's anomalies, row by row of its document, each under its own words.

Elsewhere:

| row | tests |
|---|---|
| Duration 1-50 readings, multipliers .5-10, and what is refused | tests/unit/producers/control/test_control_api_faults.py::test_anomalies_that_make_no_sense |
| Analytics find the anomalous data, dashboards show them as alerts | tests/integration/dashboard/test_dashboard_catch.py::test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart, tests/integration/sinks/notify/test_notify_worker.py::test_mail_with_what_the_database_knows_of_the_device |
| Anomalous data to the data ingestion service | tests/integration/producers/mqtt/test_mqtt_to_kafka.py::test_every_reading_arrives_as_it_was_simulated |
"""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import yaml
from feature_runs import served, simulate

from producers.devices.fleets import load_fleet
from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.listening import Listener
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

KINDS = {"high_power_consumption", "voltage_fluctuation", "power_spike", "sustained_high_load"}
"""The document's; beside them a device of ours fails now and then."""
ALL_KINDS = {*KINDS, "device_failure"}
HVAC = "mock-hvac-001"
NOMINAL = {"hvac": 25.0, "lighting": 8.5, "server": 45.0, "industrial": 120.0, "appliance": 15.0}
STEP_US = 5_000_000


@pytest.fixture
def service():
    with served("energy") as found:
        yield found


@pytest.fixture(scope="module")
def hours():
    """Ten devices with its faults for six hours."""
    return simulate(fleet="energy", devices=10, duration=21_600.0)


def episodes(found, metric):
    """(device, fault, readings) of each fault of a metric, whole ones only."""
    for device_id in found.by_id:
        run = []
        for before, reading in pairwise(found.of(metric, device_id)):
            if run and (reading.fault != run[-1].fault or reading.time - before.time != STEP_US):
                yield device_id, run[-1].fault, run
                run = []
            if reading.fault:
                run.append(reading)


@pytest.fixture(scope="module")
def power(hours):
    """Episodes that change the power, as multiples of the nominal one."""
    nominal = {device.device_id: NOMINAL[device.type] for device in hours.devices}
    return [
        (fault, np.array([reading.value for reading in run]) / nominal[device])
        for device, fault, run in episodes(hours, "power")
    ]


# Automatic random anomaly generation


def test_chance_of_anomaly_per_reading(hours):
    """2% chance of anomaly per device reading (configurable)."""
    assert load_fleet("energy").faults.probability == 0.02
    began = sum(hours.summary.episodes.values())
    # What is wrong with power or voltage is in the current; a reading at which a fault begins was healthy until then.
    chances = began + sum(reading.fault is None for reading in hours.of("current"))
    assert began == pytest.approx(0.02 * chances, abs=3 * np.sqrt(0.02 * chances))
    assert simulate(fleet="energy", duration=3600.0, anomaly_rate=0.0).faults == set()


def test_random_device_selection(hours):
    """Random device selection for anomalies."""
    assert {reading.device_id for reading in hours.readings if reading.fault} == set(hours.by_id)
    with served("energy") as service:
        chosen = {service.post("/trigger-anomaly")["device_id"] for _ in range(30)}
    assert len(chosen) > 2


def test_high_power_consumption(power):
    """high_power_consumption - Power spikes 2-5x normal."""
    highest = [values.max() for fault, values in power if fault == "high_power_consumption"]
    assert 1.8 < min(highest) < 2.4 < 4.6 < max(highest) < 5.5


def test_voltage_fluctuation(hours):
    """voltage_fluctuation - Voltage varies ±20%. Voltage variation: ±20% from baseline."""
    voltage = np.array([r.value for r in hours.of("voltage") if r.fault == "voltage_fluctuation"]) / 240
    assert 0.78 <= voltage.min() < 0.81 < 1.19 < voltage.max() <= 1.22


def test_power_spike(power):
    """power_spike - Sudden power surges."""
    first = [values[0] for fault, values in power if fault == "power_spike"]
    assert min(first) > 1.8
    assert max(first) > 4.5


def test_sustained_high_load(power):
    """sustained_high_load - Extended high power usage."""
    lengths = {fault: [len(values) for kind, values in power if kind == fault] for fault in KINDS}
    assert np.mean(lengths["sustained_high_load"]) > np.mean(lengths["power_spike"]) + 1
    assert min(lengths["sustained_high_load"]) >= 6


# Duration and intensity


def test_duration(hours):
    """Duration: 3-10 readings per anomaly (configurable)."""
    lengths = Counter(
        len(run)
        for metric in ("power", "voltage")
        for _, fault, run in episodes(hours, metric)
        if fault in KINDS
    )
    whole = sum(lengths.values())
    # One may follow on another of its kind.
    assert sum(lengths[length] for length in range(3, 11)) > 0.99 * whole
    assert min(lengths[length] for length in range(3, 11)) > 0


def test_power_multipliers(power):
    """Power multipliers: 2.0x to 5.0x normal consumption."""
    means = [values.mean() for fault, values in power if fault == "power_spike"]
    assert 1.8 < min(means) < 2.3 < 4.7 < max(means) < 5.5


def test_realistic_simulation(power):
    """Realistic simulation: gradual changes, not instant jumps."""
    steps = [np.diff(values).max() for fault, values in power if fault == "sustained_high_load"]
    rises = [values.max() - 1 for fault, values in power if fault == "sustained_high_load"]
    assert np.mean(np.array(steps) / np.array(rises)) < 0.4
    assert np.mean([values[0] for fault, values in power if fault == "sustained_high_load"]) < 2


# Manual anomaly control


def test_trigger_on_a_specific_device(service):
    """POST /trigger-anomaly - Force anomaly on specific/random device."""
    body = {"device_id": HVAC, "anomaly_type": "high_power_consumption"}
    begun = service.post("/trigger-anomaly", body)
    assert begun.keys() == {"device_id", "device_name", "anomaly_type", "duration", "power_multiplier"}
    assert (begun["device_id"], begun["anomaly_type"]) == (HVAC, "high_power_consumption")
    assert 2 <= begun["power_multiplier"] <= 5


def test_anomaly_status(service):
    """GET /anomaly-status - Check current anomaly states."""
    service.fleet.still.set()
    service.post("/trigger-anomaly", {"device_id": HVAC, "anomaly_type": "power_spike", "duration": 50})
    status = service.get("/anomaly-status")
    (active,) = status["anomaly_details"]
    assert (status["total_devices"], active["device_id"], active["anomaly_type"]) == (5, HVAC, "power_spike")


def test_clear_anomalies(service):
    """POST /clear-anomalies - Stop all active anomalies."""
    body = {"fault": "power_spike", "until_cleared": True}
    assert service.post("/api/v1/faults", body)["count"] == 5
    assert service.post("/clear-anomalies")["cleared_anomalies"] == 5
    assert service.get("/anomaly-status")["active_anomalies"] == 0


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_with_and_without_the_prefix(service, prefix):
    """The three endpoints, as the document shows them and as the program had them."""
    service.post(f"{prefix}/trigger-anomaly")
    service.get(f"{prefix}/anomaly-status")
    service.post(f"{prefix}/clear-anomalies")


# Monitoring and logging


def test_detailed_logging(cli, tmp_path):
    """Real-time anomaly warnings. Detailed logging with device ID, type, duration; current power/voltage readings."""
    command = "--log-level debug simulate --fleet energy --anomaly-rate 1 --interval 50ms --duration 1s --to"
    said = cli(command, tmp_path / "x.csv").err
    began = re.search(
        r"a fault began .*device_id=(\S+) fault=(\w+) at=\S+Z readings=(\d+) .*'power': [\d.]+, 'voltage'",
        said,
    )
    assert began
    assert began[2] in ALL_KINDS
    assert 3 <= int(began[3]) <= 10
    assert re.search(rf"a fault ended .*device_id={began[1]} fault={began[2]}", said)


def test_quiet_unless_it_is_asked_for(cli, tmp_path):
    """What is no warning is no warning."""
    said = cli("simulate --fleet energy --anomaly-rate 1 --duration 1h --speed max --to", tmp_path / "x.csv")
    assert "fault began" not in said.err


@pytest.mark.integration
def test_mqtt_publishing_of_anomalous_data(tmp_path):
    """MQTT publishing of anomalous data: anomaly, anomaly_type, anomaly_duration_remaining."""
    with Mosquitto(tmp_path) as broker:
        ear = Listener(broker.port, "energy/#")
        with simulation({"mqtt.url": broker.url}, fleet="energy", interval=0.05, anomaly_rate=1.0) as run:
            until(lambda: any(said["anomaly"] for said in ear.said(f"energy/devices/{HVAC}/data")))
            run.stop.set()
            run.join()
        ear.close()
    said = next(said for said in ear.said(f"energy/devices/{HVAC}/data") if said["anomaly"])
    assert said["anomaly_type"] in ALL_KINDS
    assert 0 < said["anomaly_duration_remaining"] <= 10


# How it works


def test_simulation_interval():
    """Every 5 seconds (simulation interval), each device checks for anomalies."""
    found = simulate(fleet="energy", duration=60.0, anomaly_rate=1.0)
    assert all(reading.fault for reading in found.of("current"))
    assert len(found.of("power", HVAC)) == 12


def test_state_machine_and_automatic_cleanup(service):
    """Anomaly state machine tracks active anomalies per device; automatic cleanup ends them after the duration expires."""
    service.post("/trigger-anomaly", {"device_id": HVAC, "duration": 50})
    seen = service.until("/anomaly-status", lambda status: status["active_anomalies"] == 1)
    assert 0 < seen["anomaly_details"][0]["anomaly_remaining_duration"] <= 50
    service.until("/anomaly-status", lambda status: status["active_anomalies"] == 0)


def test_data_transformation(service):
    """Data transformation applies power/voltage multipliers during anomalies."""
    body = {"device_id": HVAC, "anomaly_type": "power_spike", "power_multiplier": 4, "duration": 50}
    service.post("/trigger-anomaly", body)
    during = service.until(f"/api/v1/devices/{HVAC}/readings", lambda readings: readings["power"] > 30)
    assert 4 * 22.5 <= during["power"] <= 4 * 27.5


# Configuration settings


@pytest.mark.parametrize(
    ("setting", "kinds", "holds"),
    [
        ("ANOMALY_POWER_MULTIPLIER_MIN/MAX", {"power_spike": {"intensity": [8, 9], "weight": 1}}, lambda power, _, __: power.max() > 7),
        ("ANOMALY_VOLTAGE_VARIATION", {"voltage_fluctuation": {"intensity": 0.4, "weight": 1}}, lambda _, voltage, __: voltage.max() > 1.3),
        ("ANOMALY_DURATION_MIN/MAX", {"power_spike": {"duration": "2 readings", "weight": 1}}, lambda _, __, lengths: lengths == {2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_anomaly_behaviour_is_configurable(tmp_path, setting, kinds, holds):
    """Configuration: ANOMALY_POWER_MULTIPLIER_MIN/MAX, ANOMALY_VOLTAGE_VARIATION, ANOMALY_DURATION_MIN/MAX."""
    others = {kind: {"weight": 0} for kind in ALL_KINDS}
    group = {"type": "hvac", "device_id": "h", "faults": {"probability": 0.003, "kinds": others | kinds}}
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"groups": [group]}))
    found = simulate(fleet=str(path), duration=21_600.0, interval=5.0)
    lengths = {len(run) for _, _, run in episodes(found, "power")}
    assert holds(found.values("power") / 25, found.values("voltage") / 240, lengths), setting


def test_anomaly_chance_is_configurable():
    """Configuration: ANOMALY_CHANCE = 0.02 (2% chance per reading)."""
    shares = [
        simulate(fleet="energy", duration=86_400.0, interval=60.0, anomaly_rate=rate).faulty_share
        for rate in (0.002, 0.02, 0.2)
    ]
    assert shares == sorted(shares)
    assert shares[2] > 5 * shares[0]
