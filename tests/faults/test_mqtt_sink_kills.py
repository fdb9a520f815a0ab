"""`sink mqtt` killed in the midst of publishing: every anomaly arrives, and the broker says that the sink is gone."""

import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support.listening import Listener
from tests.support.mosquitto import Mosquitto
from tests.support.sink_processes import start_sink
from tests.support.sinks import Topics, anomaly, topics
from tests.support.waiting import until

__all__ = ["topics"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real, pytest.mark.chaos]


def start(topics: Topics, mosquitto: Mosquitto, log: Path, point: str = "") -> subprocess.Popen[bytes]:
    settings = {"MQTT_SINK__GROUP": topics.group, "MQTT_SINK__URL": mosquitto.url}
    return start_sink("sinks.mqtt.service.mqtt_sink", topics, log, point, **settings)


@pytest.mark.parametrize("point", ["mqtt.after_acknowledgement:30", "mqtt.after_publish:30"])
def test_killed_while_it_publishes(topics: Topics, tmp_path: Path, point: str) -> None:
    log = tmp_path / "sink.log"
    anomalies = [anomaly(number, anomaly_id=uuid.uuid4()) for number in range(200)]
    status = "sigmawatch/sinks/sigmawatch-sink-mqtt/status"
    topics.send_anomalies(anomalies)
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        ear = Listener(mosquitto.port)
        process = start(topics, mosquitto, log, point)
        try:
            assert process.wait(120) == -signal.SIGKILL, log.read_text()
            until(lambda: b"offline" in (ear.last(status) or b""), what="the last will")
            process = start(topics, mosquitto, log)
            until(lambda: len(ear.anomalies()) == 200, what=log.read_text)
        finally:
            process.terminate()
            process.wait(60)
            ear.close()
    assert set(ear.anomalies()) == {(each.device_id, "OPENED") for each in anomalies}
