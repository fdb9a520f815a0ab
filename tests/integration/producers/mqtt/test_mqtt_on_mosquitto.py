"""Simulated devices on a real MQTT broker: what they say and obey."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from mqtt_simulations import simulation

from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

pytestmark = pytest.mark.integration

HVAC = "energy/devices/mock-hvac-001"
ROOT = Path(__file__).parents[4]


def status(run):
    url = f"http://127.0.0.1:{run.port}/api/v1/simulation/status"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_commands_change_a_device(mosquitto, listen, protocol):
    ear = listen(mosquitto.port, "energy/#")
    settings = {"mqtt.url": mosquitto.url, "mqtt.protocol": protocol}
    with simulation(settings, fleet="energy", interval=0.2, anomaly_rate=0.0) as run:
        until(lambda: ear.said(f"{HVAC}/data"))
        ear.publish(f"{HVAC}/commands", {"command": "set_power", "parameters": {"power": 500}})
        until(lambda: len(ear.said(f"{HVAC}/status")) == 2)
        count = len(ear.said(f"{HVAC}/data"))
        until(lambda: len(ear.said(f"{HVAC}/data")) > count + 1)
        assert ear.said(f"{HVAC}/data")[-1]["power"] > 400
        ear.publish(f"{HVAC}/commands", {"command": "self_destruct"})
        until(lambda: len(ear.said(f"{HVAC}/status")) == 3)
        ear.publish(f"{HVAC}/commands", {"command": "turn_off"})
        until(lambda: len(ear.said(f"{HVAC}/status")) == 4)
        first, power, refused, off = ear.said(f"{HVAC}/status")
        assert (first["enabled"], refused["enabled"], off["enabled"]) == (True, True, False)
        assert power["parameters"]["base_power"] == 500
        assert "is no command" in refused["last_command"]["message"]
        others, own = len(ear.said("energy/devices/mock-server-001/data")), len(ear.said(f"{HVAC}/data"))
        until(lambda: len(ear.said("energy/devices/mock-server-001/data")) > others + 3)
        assert len(ear.said(f"{HVAC}/data")) == own
        late = listen(mosquitto.port, f"{HVAC}/#")
        until(lambda: late.heard)
        assert late.said(f"{HVAC}/status", retained=True) == [off]
        run.stop.set()
        run.join()
    until(lambda: ear.said("energy/simulators/sigmawatch-simulator/status")[-1]["status"] == "offline")
    assert ear.said(f"{HVAC}/status")[-1]["status"] == "offline"
    assert run.summary.produced == 4 * sum(
        len(ear.said(topic)) for topic in {topic for topic, _, _ in ear.heard if topic.endswith("/data")}
    )


def test_the_broker_comes_late_goes_and_comes_back(tmp_path, listen):
    mosquitto = Mosquitto(tmp_path / "mosquitto", {"persistence": "false"})
    settings = {"mqtt.url": mosquitto.url, "control.enabled": "true", "control.port": "0"}

    def grows(count, by):
        """Until a worker's count is larger than that of its sent readings now."""
        wanted = status(run)["workers"][0]["readings_sent"] + by
        until(lambda: status(run)["workers"][0][count] >= wanted)

    try:
        with simulation(settings, fleet="energy", interval=0.1) as run:
            until(lambda: run.port)
            grows("readings_sent", 40)
            assert status(run)["mqtt_connected"] is False
            assert status(run)["workers"][0]["readings_acknowledged"] == 0
            mosquitto.start()
            until(lambda: status(run)["mqtt_connected"])
            grows("readings_acknowledged", 0)
            mosquitto.kill()
            until(lambda: not status(run)["mqtt_connected"])
            grows("readings_sent", 20)
            mosquitto.start()
            # It has no persistence, and has forgotten who was there: it is told again.
            ear = listen(mosquitto.port, f"{HVAC}/status")
            until(lambda: ear.said(f"{HVAC}/status"))
            grows("readings_acknowledged", 0)
            run.stop.set()
            run.join()
        assert run.summary.produced >= run.progress.sent
    finally:
        mosquitto.kill()


def test_a_killed_simulator_leaves_its_last_will(tmp_path, listen):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not on this machine")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "plant", "hunter2:@"], check=True)
    options = {"allow_anonymous": "false", "password_file": str(passwords)}
    log = tmp_path / "simulate.log"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
    variables["SIGMAWATCH_MQTT__PASSWORD"] = "hunter2:@"
    with Mosquitto(tmp_path / "mosquitto", options) as mosquitto, log.open("wb") as out:
        flags = ["--fleet", "energy", "--interval", "200ms", "--mqtt-prefix", "plant/7"]
        url = f"mqtt://plant@127.0.0.1:{mosquitto.port}"
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "simulate", *flags, "--mqtt", url, "--log-level", "debug"],
            cwd=ROOT, env=variables, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            ear = listen(mosquitto.port, "plant/7/#", user="plant", password="hunter2:@")
            until(lambda: ear.said("plant/7/devices/mock-hvac-001/data") or process.poll() is not None)
            assert process.poll() is None, log.read_text()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(120)
        topic = "plant/7/simulators/sigmawatch-simulator/status"
        until(lambda: ear.said(topic)[-1]["status"] == "offline")
        assert ear.said("plant/7/devices/mock-hvac-001/status")[-1]["simulator"] == "sigmawatch-simulator"
    assert "hunter2" not in log.read_text()
