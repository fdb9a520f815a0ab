"""A link to nowhere, that does what the test says."""

import threading
from collections import deque
from types import SimpleNamespace

from schemas.errors import SigmawatchError
from schemas.mqtt.link import LinkDownError
from schemas.mqtt.publishing import Acknowledgement


class FakeLink:
    """Acknowledges what is published, while it is `there` and not `silent`; `heard` are the topics and payloads."""

    def __init__(self):
        self.there = threading.Event()
        self.there.set()
        self.silent = False
        self.resumed = True
        self.receive_maximum = 65_535
        self.connection = 0
        self.up = False
        self.heard = []
        self.packets = []
        self.most_in_flight = 0
        self.acknowledged = []
        self.commands = deque()
        self.ended = None
        self.refusing = {}
        self.fatal = None
        self._answers = []
        self._woken = threading.Event()

    def connect(self, stop):
        if self.fatal is not None:
            raise SigmawatchError(self.fatal)
        if not self.there.is_set():
            raise LinkDownError("nobody there")
        self.connection += 1
        self.up = True
        self._answers.clear()
        self.packets.clear()

    def publish(self, message):
        packet = len(self.heard) + 1
        self.heard.append((message.topic, message.payload, message.retain))
        self.packets.append(packet)
        self.most_in_flight = max(self.most_in_flight, len(self.packets))
        return packet

    def turn(self, seconds, *, reading=True):
        if not self.there.is_set():
            self.up = False
            raise LinkDownError("lost")
        if not self.silent:
            self._answers += [
                Acknowledgement(packet, self.refusing.get(self.heard[packet - 1][0], ""))
                for packet in self.packets
            ]
            self.packets.clear()
        if not self._answers and not self.commands:
            self._woken.wait(seconds)
            self._woken.clear()
        return [self.commands.popleft() for _ in range(len(self.commands))]

    def take_acknowledgements(self):
        taken, self._answers = self._answers, []
        return taken

    def acknowledge(self, packets):
        self.acknowledged += packets

    def command(self, topic, payload, *, packet=1, retain=False):
        self.commands.append(SimpleNamespace(topic=topic, payload=payload, qos=1, mid=packet, retain=retain))
        self.wake()

    def wake(self):
        self._woken.set()

    def close(self):
        self.ended = self.ended or "goodbye"
        self.up = False

    def abandon(self):
        self.ended = "hung up"
