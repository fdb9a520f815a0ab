"""A fleet on a broker that is not there, or does what the test says."""

import json
import threading
from contextlib import contextmanager

import pytest
from fleets_of_mqtt import SECOND, START, energy_fleet
from mqtt_fakes import FakeLink
from structlog.testing import capture_logs

from producers.clock import SystemClock
from producers.control.shards import WHOLE, Shard
from producers.devices.fleet_spec import Group
from producers.mqtt.output import mqtt_output
from producers.simulation.commands import CreateDevices, DeleteDevices, Selector, UpdateDevices
from producers.simulation.control import CommandQueue
from schemas.errors import ConfigError, PublishError, SigmawatchError
from schemas.settings import MqttSettings
from tests.support.waiting import until

HVAC = "mock-hvac-001"
SIMULATOR = "energy/simulators/sigmawatch-simulator/status"


class Running:
    """A fleet, its output, and what the broker heard."""

    def __init__(self, link, fleet, output, queue, options, will):
        self.link, self.fleet, self.output, self.queue = link, fleet, output, queue
        self.options, self.will = options, will

    def start(self):
        self.output.announce(self.fleet.devices, 0)

    def step(self, seconds=5):
        begin = self.fleet.position_us or START
        self.queue.carry_out(self.fleet.apply)
        self.output.tend(begin)
        batch = self.fleet.between(begin, begin + seconds * SECOND)
        self.output.announce(self.fleet.take_changed(), 0)
        self.output.publish(batch, begin + seconds * SECOND, 0)
        return len(batch)

    def said(self, topic):
        return [json.loads(payload) for place, payload, _ in self.link.heard if place == topic and payload]

    def statuses(self, device_id):
        return self.said(f"energy/devices/{device_id}/status")

    def command(self, device_id, document, **more):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.link.command(f"energy/devices/{device_id}/commands", data, **more)
        until(lambda: not self.link.commands)


@contextmanager
def running(link=None, fleet=None, shard=WHOLE, **settings):
    link, fleet, queue, made = link or FakeLink(), fleet or energy_fleet(), CommandQueue(), []

    def new_link(options, will):
        made[:] = options, will
        return link

    chosen = MqttSettings(**{"url": "mqtt://me:hunter2@nowhere", **settings})
    with mqtt_output(chosen, fleet, queue, shard, SystemClock(), new_link) as output:
        yield Running(link, fleet, output, queue, *made)


def test_statuses_come_before_readings_and_the_end_is_said():
    with running() as it:
        it.start()
        sent = it.step() + it.step()
        it.output.flush()
        assert (it.output.acknowledged, it.output.connected, it.output.by_partition) == (sent, True, {})
    topics = [topic for topic, _, _ in it.link.heard]
    ids = [device.device_id for device in it.fleet.devices]
    assert topics[0] == SIMULATOR
    assert topics[1:6] == [f"energy/devices/{each}/status" for each in ids]
    assert sorted(topics[6:11]) == [f"energy/devices/{each}/data" for each in ids]
    assert topics[16:] == [*(f"energy/devices/{each}/status" for each in ids), SIMULATOR]
    assert [each["status"] for each in it.statuses(HVAC)] == ["online", "offline"]
    assert [each["status"] for each in it.said(SIMULATOR)] == ["online", "offline"]
    for topic, _, retain in it.link.heard:
        assert retain == topic.endswith("/status")
    assert it.link.ended == "goodbye"
    assert it.will.payload == it.link.heard[-1][1]
    assert (it.will.topic, it.will.retain) == (SIMULATOR, True)


def test_without_a_broker_readings_wait_and_then_the_simulation():
    link = FakeLink()
    link.there.clear()
    with running(link, max_queued=40) as it:
        it.start()
        sent = sum(it.step() for _ in range(7))  # five statuses, 35 messages
        assert not it.output.connected
        assert it.output.acknowledged == 0
        steps = iter(range(3))
        thread = threading.Thread(target=lambda: [it.step() for _ in steps])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        link.there.set()
        thread.join(60)
        it.output.flush()
        assert it.output.acknowledged == sent + 3 * 20
    data = it.said(f"energy/devices/{HVAC}/data")
    assert len(data) == 10
    assert [each["timestamp"] for each in data] == sorted(each["timestamp"] for each in data)


def test_what_was_under_way_when_the_connection_was_lost_is_sent_again():
    link = FakeLink()
    with running(link) as it:
        it.start()
        it.step()
        it.output.flush()
        link.silent = True
        sent = it.step()
        until(lambda: len(it.said(f"energy/devices/{HVAC}/data")) == 2)
        link.there.clear()
        link.wake()
        until(lambda: not it.output.connected)
        assert it.output.acknowledged == 20
        link.silent = False
        link.there.set()
        it.output.flush()
        assert it.output.acknowledged == 20 + sent
    data = it.said(f"energy/devices/{HVAC}/data")
    assert len(data) == 3
    assert data[1] == data[2]


def test_statuses_are_said_again_where_the_broker_has_forgotten_them():
    link = FakeLink()
    with running(link) as it:
        it.start()
        it.step()
        it.output.flush()
        for resumed, times in ((True, 1), (False, 2)):
            link.resumed = resumed
            link.there.clear()
            link.wake()
            until(lambda: not it.output.connected)
            link.there.set()
            until(lambda: it.output.connected)
            it.step()
            it.output.flush()
            assert len(it.statuses(HVAC)) == times
        assert [each["status"] for each in it.said(SIMULATOR)] == ["online"] * 3


def test_no_more_are_under_way_than_both_sides_allow():
    for settings, maximum, most in (({"max_in_flight": 3}, 65_535, 3), ({}, 2, 2), ({}, 1, 1)):
        link = FakeLink()
        link.receive_maximum = maximum
        with running(link, **settings) as it:
            it.start()
            it.step()
            it.output.flush()
        assert link.most_in_flight == most


def test_commands_are_obeyed_and_answered():
    with running() as it:
        it.start()
        it.step()
        it.command(HVAC, {"command": "turn_off"}, packet=5)
        assert it.step() == 16
        it.command(HVAC, {"command": "set_power", "parameters": {"power": 99}})
        it.command(HVAC, {"command": "SET_ENABLED"})
        assert it.step() == 20
        it.output.flush()
        _, off, power, on = it.statuses(HVAC)
        assert (off["enabled"], off["status"]) == (False, "online")
        assert off["last_command"] == {"command": "turn_off", "success": True, "message": "done"}
        assert power["parameters"]["base_power"] == 99.0
        assert on["enabled"] is True
        assert it.link.acknowledged == [5, 1, 1]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "no JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "no JSON object"),
        (b"3", "no JSON object"),
        (b'{"command": "turn_off", "command": "turn_on"}', "key 'command' twice"),
        (b'{"command": "turn_off", "parameters": {"a": 1, "a": 2}}', "key 'a' twice"),
        ({"parameters": {}}, "command: Field required"),
        ({"command": 3}, "command: Input should be a valid string"),
        ({"command": "turn_off", "parameters": [1]}, "parameters: Input should be a valid dictionary"),
        ({"command": "explode"}, "'explode' is no command"),
        ({"command": "set_power"}, "needs the parameter power"),
        ({"command": "set_power", "parameters": {"power": "much"}}, "power is much"),
        ({"command": "set_power", "parameters": {"power": -1}}, "base_power"),
        ({"command": "set_state", "parameters": {"state": "idle"}}, "no state 'idle'"),
        ({"command": "x" * 70_000}, "bytes"),
    ],
)
def test_what_is_no_command_changes_nothing(payload, reason):
    with running() as it, capture_logs() as logs:
        it.start()
        it.step()
        it.command(HVAC, payload)
        assert it.step() == 20
        it.output.flush()
        first, answered = it.statuses(HVAC)
    answer = answered.pop("last_command")
    assert answer["success"] is False
    assert reason in answer["message"]
    assert {**answered, "timestamp": 0} == {**first, "timestamp": 0}
    (logged,) = [each for each in logs if each["event"] == "a command is not obeyed"]
    assert (logged["device"], logged["log_level"]) == (HVAC, "warning")
    assert reason in logged["reason"]


def test_only_own_devices_and_nothing_retained():
    with running() as it:
        it.start()
        it.step()
        for device in ("*", "mock-*", "another", "", "a/b", HVAC.upper()):
            it.command(device, {"command": "turn_off"})
        it.command(HVAC, {"command": "turn_off"}, retain=True)
        it.link.command("energy/devices/x", b"{}")
        assert it.step() == 20
        it.output.flush()
        (_, answered) = it.statuses(HVAC)
        assert "a retained command" in answered["last_command"]["message"]
        assert {
            each["device_id"]
            for topic in it.link.heard
            for each in [json.loads(topic[1])]
            if "last_command" in each
        } == {HVAC}


def test_changes_by_others_are_said_too():
    with running() as it:
        it.start()
        it.step()
        it.fleet.apply(UpdateDevices(Selector(HVAC), online=False))
        it.step()
        it.fleet.apply(UpdateDevices(Selector(HVAC), online=True, name="Roof"))
        it.step()
        it.fleet.apply(CreateDevices(Group(type="oven", device_id="oven-9", locations=[{"name": "Kitchen"}])))
        it.step()
        it.fleet.apply(DeleteDevices(Selector(HVAC)))
        it.step()
        it.command(HVAC, {"command": "turn_off"})
        it.step()
        it.output.flush()
        said = [(each["status"], each["enabled"], each["name"]) for each in it.statuses(HVAC)]
        assert said == [
            ("online", True, "HVAC System"),
            ("offline", True, "HVAC System"),
            ("online", True, "Roof"),
            ("offline", False, "Roof"),
        ]
        assert it.link.heard.count((f"energy/devices/{HVAC}/status", b"", True)) == 1
        (oven,) = it.statuses("oven-9")
        assert (oven["type"], oven["location"]) == ("oven", "Kitchen")
        assert {"temperature", "status", "enabled", "anomaly"} <= it.said("energy/devices/oven-9/data")[
            0
        ].keys()
    assert len(it.statuses(HVAC)) == 4, "who is gone does not go offline once more"


def simulate(link, steps=1, failing=False, **settings):
    with running(link, **settings) as it:
        it.start()
        for _ in range(steps):
            it.step()
        if failing:
            raise ZeroDivisionError
        it.output.flush()


def test_a_refused_message_ends_the_simulation():
    link = FakeLink()
    link.refusing = {f"energy/devices/{HVAC}/data": "Not authorized"}
    with pytest.raises(PublishError, match=f"a message to energy/devices/{HVAC}/data: Not authorized"):
        simulate(link)
    assert link.ended is not None


def test_a_broker_that_refuses_us_ends_the_simulation():
    link = FakeLink()
    link.fatal = "refuses us"
    with pytest.raises(SigmawatchError, match="refuses us"):
        simulate(link, steps=10, max_queued=5)


def test_an_error_hangs_up_so_that_the_last_will_is_published():
    link = FakeLink()
    link.silent = True
    with pytest.raises(ZeroDivisionError) as caught:
        simulate(link, failing=True)
    assert link.ended == "hung up"
    assert caught.value.__notes__ == ["10 messages may not have reached the MQTT broker"]
    assert not any(b"offline" in payload for _, payload, _ in link.heard)


def test_settings():
    with running(prefix="plant/x", client_id="c", shard=Shard(2, 3), protocol="3.1.1", keepalive=7) as it:
        assert it.options.filters == ("plant/x/devices/+/commands",)
        assert (it.options.client_id, it.options.mqtt5, it.options.keepalive) == ("c-2-of-3", False, 7)
        assert it.will.topic == "plant/x/simulators/c-2-of-3/status"
        assert it.options.address.password.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(it.options)
    assert "hunter2" not in repr(MqttSettings(url="mqtt://me:hunter2@h", password="hunter2"))
    with running(url="mqtt://me@h", password="other") as it:
        assert it.options.address.password.get_secret_value() == "other"
    for prefix in ("", "a/", "/a", "a+", "a/#", "$SYS", " "):
        with pytest.raises(ValueError, match="prefix"):
            MqttSettings(prefix=prefix)
    with (
        pytest.raises(ConfigError, match=r"mqtt\.url has no host, or more than an address"),
        running(url="mqtt://h/topic"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="a password for the MQTT broker, and no user"),
        running(url="mqtt://h", password="x"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"TLS files /no/such\.pem") as caught,
        running(url="mqtts://h", ca_file="/no/such.pem"),
    ):
        pass
    assert "mqtt.ca_file" in str(caught.value)
