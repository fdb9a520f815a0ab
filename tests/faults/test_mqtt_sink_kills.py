"""`sink mqtt` killed in the midst of publishing: every anomaly arrives, and the broker says that the sink is gone."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.integration.sinks.mqtt.test_mqtt_sink import Ear
from tests.support.mosquitto import Mosquitto
from tests.support.sinks import SHORT_SESSION, Topics, anomaly, topics
from tests.support.waiting import until

__all__ = ["topics"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real, pytest.mark.chaos]

ROOT = Path(__file__).parents[2]
PROGRAM = """
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings
from sinks.mqtt.service import mqtt_sink
from sinks.service import serve
serve(mqtt_sink(load_settings(), Codec(Catalogue())))
"""


def start(topics: Topics, mosquitto: Mosquitto, log: Path, point: str = "") -> subprocess.Popen[bytes]:
    chosen = {
        "KAFKA__BOOTSTRAP_SERVERS": topics.bootstrap_servers,
        "KAFKA__OPTIONS": json.dumps(SHORT_SESSION),
        "TOPICS__ANOMALIES": topics.anomalies,
        "MQTT_SINK__GROUP": topics.group,
        "MQTT_SINK__URL": mosquitto.url,
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")},
        **{f"SIGMAWATCH_{name}": value for name, value in chosen.items()},
        "SIGMAWATCH_FAILPOINT": point,
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )


@pytest.mark.parametrize("point", ["mqtt.after_acknowledgement:30", "mqtt.after_publish:30"])
def test_killed_while_it_publishes(topics: Topics, tmp_path: Path, point: str) -> None:
    log = tmp_path / "sink.log"
    anomalies = [anomaly(number, anomaly_id=uuid.uuid4()) for number in range(200)]
    status = "sigmawatch/sinks/sigmawatch-sink-mqtt/status"
    topics.send_anomalies(anomalies)
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        ear = Ear(mosquitto.port)
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
