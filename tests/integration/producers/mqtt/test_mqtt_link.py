"""The connection of simulated devices, on a real MQTT broker."""

import threading

import pytest
from pydantic import SecretStr

from schemas.mqtt.address import parse_address
from schemas.mqtt.link import LinkOptions
from schemas.mqtt.publishing import Message, PublishingLink
from schemas.settings import MqttSettings
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

pytestmark = pytest.mark.integration

STOP = threading.Event()
WILL = Message("simulators/s/status", b"gone", retain=True)


def connected(url):
    address = parse_address(SecretStr(url), MqttSettings(), "mqtt.url")
    link = PublishingLink(LinkOptions(address=address, client_id="s", filters=("devices/+/commands",)), WILL)
    link.connect(STOP)
    return link


def answers(link, count):
    found = []

    def all_there():
        link.turn(0.1)
        found.extend(link.take_acknowledgements())
        return len(found) >= count

    until(all_there)
    return found


def test_what_is_published_is_acknowledged(mosquitto, listen):
    ear = listen(mosquitto.port, "devices/#")
    link = connected(mosquitto.url)
    packets = [link.publish(Message("devices/d/data", b"%d" % number)) for number in range(300)]
    assert sorted(answer.packet for answer in answers(link, 300)) == packets
    until(lambda: len(ear.heard) == 300)
    assert [payload for _, payload, _ in ear.heard] == [b"%d" % number for number in range(300)]
    ear.publish("devices/d/commands", {"command": "turn_off"})
    commands = []
    until(lambda: commands.extend(link.turn(0.1)) or commands)
    link.acknowledge([each.mid for each in commands])
    assert [each.topic for each in commands] == ["devices/d/commands"]
    link.close()


def test_a_last_will_is_for_those_who_hang_up(mosquitto, listen):
    ear = listen(mosquitto.port, "simulators/#")
    polite = connected(mosquitto.url)
    polite.close()
    rude = connected(mosquitto.url)
    rude.publish(Message(WILL.topic, b"here", retain=True))
    answers(rude, 1)
    rude.abandon()
    assert not rude.up
    rude.close()
    rude.wake()
    until(lambda: len(ear.heard) == 2)
    assert [payload for _, payload, _ in ear.heard] == [b"here", b"gone"]
    late = listen(mosquitto.port, "simulators/#")
    until(lambda: late.heard == [(WILL.topic, b"gone", True)])


def test_what_may_not_be_published_is_refused(tmp_path):
    rules = tmp_path / "acl"
    rules.write_text("topic write devices/+/data\ntopic read devices/+/commands\ntopic write simulators/#\n")
    with Mosquitto(
        tmp_path / "mosquitto", {"acl_file": str(rules), "max_inflight_messages": "3"}
    ) as mosquitto:
        link = connected(mosquitto.url)
        assert link.receive_maximum == 3
        allowed = link.publish(Message("devices/d/data", b"1"))
        refused = link.publish(Message("devices/d/status", b"1"))
        found = {answer.packet: answer.refused for answer in answers(link, 2)}
        assert found == {allowed: "", refused: "Not authorized"}
        link.close()
