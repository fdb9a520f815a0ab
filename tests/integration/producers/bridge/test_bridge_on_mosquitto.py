"""The bridge on a real MQTT broker and real Kafka brokers."""

import gc
import shutil
import signal
import subprocess
import time
import warnings

import pytest
from conftest import FIELDS, payload, websocket_relay

from schemas.errors import ConfigError, SigmawatchError
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

pytestmark = pytest.mark.integration


def keys(readings):
    return {(reading.device_id, reading.metric, reading.time) for reading in readings}


def test_messages_become_readings_and_dead_letters(setup):
    device = setup.device()
    device.publish("energy/devices/old/data", payload(1), retain=True)
    device.wait_until_taken()
    with setup.bridge() as errors:
        setup.wait_until_ready()
        device.publish_mock(7)
        device.publish("energy/devices/sick/data", payload(8, anomaly=True, anomaly_type="spike"))
        device.publish("energy/devices/mock-1/data", b'{"timestamp": "2025-08-09T16:00:00Z", "power": NaN}')
        device.publish("energy/devices/mock-1/status", b"nobody asks for this")
        device.publish("now/kettle", "98.5")
        until(lambda: len(setup.readings()) == 9 and setup.dead_letters())
        metrics = setup.ask("/metrics")[1]
    assert errors == []
    readings = setup.readings()
    assert {r.device_id for r in readings} == {"mock-2", "sick", "kettle"}, "retained ones are ignored"
    assert {(r.metric, r.value, r.fault) for r in readings if r.device_id == "sick"} == {
        (name, 8.0, "spike") for name in FIELDS
    }
    (kettle,) = [r for r in readings if r.device_id == "kettle"]
    assert abs(kettle.time / 1e6 - time.time()) < 60
    for messages in setup.kafka.read(setup.kafka.readings).values():
        for message in messages:
            assert message.key() in (b"mock-2", b"sick", b"kettle")
    (letter,) = setup.dead_letters()
    assert letter.value() == b'{"timestamp": "2025-08-09T16:00:00Z", "power": NaN}'
    headers = dict(letter.headers())
    assert headers["__connect.errors.exception.class.name"] == b"NON_FINITE_VALUE"
    assert headers["__connect.errors.topic"] == b"energy/devices/mock-1/data"
    assert 'sigmawatch_bridge_messages_total{fate="readings"} 3.0' in metrics
    assert "sigmawatch_bridge_readings_total 9.0" in metrics


@pytest.mark.most_real
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_published_while_the_bridge_is_away_is_kept(setup, protocol):
    device = setup.device()
    with setup.bridge(protocol=protocol):
        setup.wait_until_ready()
    device.publish_mock(*range(40))
    device.wait_until_taken()
    with setup.bridge(protocol=protocol):
        assert len(setup.wait_for_mocks(40)) == 160


@pytest.mark.most_real
def test_nothing_is_lost_when_the_bridge_is_killed(setup, process):
    """It dies when Kafka has messages and the MQTT broker does not know: they come again, and make no second reading."""
    first = process(SIGMAWATCH_FAILPOINT="bridge.acknowledge:2")
    device = setup.device()

    def publish(numbers):
        for number in numbers:
            device.publish_mock(number)
            device.publish(f"now/{number % 3}", str(number))

    publish(range(600))
    assert first.wait(120) == -signal.SIGKILL
    publish(range(600, 800))
    second = process()
    publish(range(800, 900))
    setup.wait_for_mocks(900)
    until(lambda: {r.value for r in setup.readings() if r.metric == "v"} == set(range(900)))
    assert "\nsigmawatch_bridge_redelivered_total 0.0\n" not in setup.ask("/metrics")[1]
    second.send_signal(signal.SIGTERM)
    assert second.wait(120) == 0
    readings = setup.readings()
    assert {r.value for r in readings if r.metric == "power"} == set(range(900))
    assert len(keys(readings)) == 900 * 5
    assert len(readings) > 900 * 5, "some came again"


def test_nothing_is_lost_when_mosquitto_is_killed(setup, broker):
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be paused")
    device = setup.device()
    with setup.bridge() as errors:
        setup.wait_until_ready()
        device.publish_mock(*range(50))
        setup.wait_for_mocks(50)
        broker.pause()
        try:
            device.publish_mock(*range(50, 250))
            for number in range(20):
                device.publish(f"now/{number}", "1")
            device.wait_until_taken()  # mosquitto has it all, Kafka has not acknowledged any
            setup.mosquitto.save()
            setup.mosquitto.kill()
            until(lambda: setup.ask("/readyz")[0] == 503)
            setup.mosquitto.start()
            device.publish_mock(*range(250, 300))
            device.wait_until_taken()
        finally:
            broker.resume()
        setup.wait_for_mocks(300)
        until(lambda: {r.device_id for r in setup.readings()} >= {str(number) for number in range(20)})
        setup.wait_until_ready()
    assert errors == []
    found = setup.readings()
    assert len(keys(found)) == 300 * 4 + 20
    with setup.bridge():  # everything was acknowledged: nothing comes again
        setup.wait_until_ready()
        device.publish_mock(300)
        assert len(setup.wait_for_mocks(301)) == len(found) + 4


def test_an_outage_of_kafka_is_waited_out(setup, broker):
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be paused")
    device = setup.device()
    with setup.bridge(max_in_flight=10):
        setup.wait_until_ready()
        broker.pause()
        try:
            device.publish_mock(*range(100))
            device.wait_until_taken()
            until(lambda: setup.ask("/readyz")[0] == 503)
            assert "\nsigmawatch_bridge_pending_messages 10.0\n" in setup.ask("/metrics")[1]
        finally:
            broker.resume()
        assert len(setup.wait_for_mocks(100)) == 400


@pytest.mark.most_real
def test_tls_and_a_password(broker, tmp_path, setup):
    del broker
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not on this machine")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "plant", "p@ss:w0rd"], check=True)
    authority = Authority(tmp_path)
    identity = authority.identity("mosquitto")
    options = {
        "allow_anonymous": "false",
        "password_file": str(passwords),
        "certfile": str(identity.certificate),
        "keyfile": str(identity.key),
    }
    with Mosquitto(tmp_path / "secure", options) as secure:
        place = f"127.0.0.1:{secure.port}"
        chosen = {"mqtt": f"mqtts://plant:p%40ss%3Aw0rd@{place}", "ca_file": str(authority.certificate)}
        with setup.bridge(**chosen) as errors:
            setup.wait_until_ready()
        assert errors == []
        with setup.bridge(**{**chosen, "mqtt": f"mqtts://plant@{place}", "password": "wr0ng"}) as errors:
            until(lambda: errors)
        assert isinstance(errors[0], SigmawatchError)
        assert "refuses us" in str(errors[0])
        assert "wr0ng" not in str(errors[0])
        with setup.bridge(mqtt=chosen["mqtt"]) as errors:
            until(lambda: errors)
        assert isinstance(errors[0], ConfigError)
        assert "bridge.ca_file" in str(errors[0])
        with warnings.catch_warnings():
            # paho leaves the socket of a failed handshake to the collector, which would say so in a later test.
            warnings.simplefilter("ignore", ResourceWarning)
            errors.clear()
            gc.collect()


@pytest.mark.most_real
def test_websockets(setup):
    device = setup.device()
    with (
        websocket_relay(setup.mosquitto.port) as port,
        setup.bridge(mqtt=f"ws://127.0.0.1:{port}/mqtt") as errors,
    ):
        setup.wait_until_ready()
        device.publish_mock(*range(30))
        setup.wait_for_mocks(30)
    assert errors == []
