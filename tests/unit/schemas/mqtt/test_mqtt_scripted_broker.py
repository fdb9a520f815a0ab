"""The link to an MQTT broker that does what the test says: what real brokers seldom do."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from schemas.errors import SigmawatchError
from schemas.mqtt.address import MqttAddress
from schemas.mqtt.link import LinkDownError, LinkOptions, MqttLink

LONG = 60.0
ACCEPTED = b"\x20\x03\x00\x00\x00"
RESUMED = b"\x20\x03\x01\x00\x00"
GRANTED = b"\x90\x04\x00\x01\x00\x01"
"""SUBACK of packet 1: QoS 1."""


def refused(code):
    return bytes([0x20, 3, 0, code, 0])


def publish(packet, topic, payload, flags=0x02):
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet) + b"\0" + payload
    return bytes([0x30 | flags, len(body)]) + body


class ScriptedBroker:
    """Answers each packet that comes with the next answer; None closes the connection."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.answers = []
        self.seen = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection):
        while packet := self._packet(connection):
            self.seen.append(packet)
            if not self.answers:
                continue
            answer = self.answers.pop(0)
            if answer is None:
                return
            connection.sendall(answer)

    def _packet(self, connection):
        try:
            head = connection.recv(
                2, socket.MSG_WAITALL
            )  # none of the link's packets has more than 127 bytes
            return head + connection.recv(head[1], socket.MSG_WAITALL) if len(head) == 2 else b""
        except OSError:
            return b""

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # lets accept return, which would hold the port
        self._listener.close()


@pytest.fixture
def scripted():
    made = ScriptedBroker()
    yield made
    made.close()


@pytest.fixture
def link(scripted):
    address = MqttAddress("127.0.0.1", scripted.port)
    made = MqttLink(LinkOptions(address, "bridge-1", ("a/+",)))
    yield made
    made.close()


STOP = threading.Event()


def turn_on(link):
    """Until something happens."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        link.turn(LONG)


def connect_and_turn_on(link):
    link.connect(STOP)
    turn_on(link)


def test_messages_and_acknowledgements(scripted, link):
    scripted.answers = [RESUMED, GRANTED + publish(7, b"a/b", b"one") + publish(8, b"a/c", b"two")]
    link.connect(STOP)
    assert (link.up, link.resumed, link.connection) == (True, True, 1)
    messages = []
    while len(messages) < 2:
        messages += link.turn(LONG)
    assert [(m.mid, m.topic, bytes(m.payload), m.qos) for m in messages] == [
        (7, "a/b", b"one", 1),
        (8, "a/c", b"two", 1),
    ]
    assert [packet[0] for packet in scripted.seen] == [0x10, 0x82], "nothing is acknowledged by itself"
    scripted.answers = [b"", None]
    link.acknowledge([7, 8])
    with pytest.raises(LinkDownError):
        turn_on(link)
    assert [packet[:4] for packet in scripted.seen[2:]] == [b"\x40\x02\x00\x07", b"\x40\x02\x00\x08"]
    assert not link.up


def test_waking_ends_a_turn(scripted, link):
    scripted.answers = [ACCEPTED, GRANTED]
    link.connect(STOP)
    threading.Timer(0.05, link.wake).start()
    assert link.turn(LONG) == []


@pytest.mark.parametrize("code", [0x84, 0x86, 0x87])
def test_a_refusal_for_good(scripted, link, code):
    scripted.answers = [refused(code)]
    with pytest.raises(SigmawatchError, match="refuses us"):
        link.connect(STOP)


@pytest.mark.parametrize("answer", [refused(0x88), None], ids=["unavailable", "closed"])
def test_a_refusal_for_now(scripted, link, answer):
    scripted.answers = [answer, ACCEPTED, GRANTED]
    with pytest.raises(LinkDownError):
        link.connect(STOP)
    link.connect(STOP)
    assert link.up


def test_a_broker_that_closes_at_once_may_not_know_the_version(scripted, link):
    scripted.answers = [None]
    with pytest.raises(LinkDownError, match=r"bridge\.protocol can be 3\.1\.1"):
        link.connect(STOP)


def test_a_refused_subscription(scripted, link):
    scripted.answers = [ACCEPTED, b"\x90\x04\x00\x01\x00\x87"]
    with pytest.raises(SigmawatchError, match="refuses a subscription of a/"):
        link.connect(STOP)


def test_another_client_takes_the_session(scripted, link):
    scripted.answers = [ACCEPTED, GRANTED + b"\xe0\x02\x8e\x00"]
    with pytest.raises(SigmawatchError, match="another client has taken the session of bridge-1"):
        connect_and_turn_on(link)


@pytest.mark.parametrize("rubbish", [b"\x00\x00", b"\x32\x03\x00\x10a"], ids=["no packet", "cut short"])
def test_what_is_no_mqtt(scripted, link, rubbish):
    scripted.answers = [ACCEPTED, GRANTED + rubbish]
    link.connect(STOP)
    with pytest.raises(LinkDownError):
        turn_on(link)


def test_nobody_listens(scripted, link):
    scripted.close()
    with pytest.raises(LinkDownError, match="refused"):
        link.connect(STOP)
    with pytest.raises(LinkDownError):
        link.turn(LONG)


def test_a_stop_ends_the_wait_for_an_answer(link):
    stop = threading.Event()
    stop.set()
    with pytest.raises(LinkDownError, match="no answer"):
        link.connect(stop)
