"""A connection to the MQTT broker that publishes with QoS 1, hears what it subscribed, and leaves a last will."""

import contextlib
import socket
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from schemas.mqtt.link import LinkDownError, LinkOptions, MqttLink

_MOST_IN_FLIGHT = 65_535  # where the broker does not say


@dataclass(frozen=True, slots=True)
class Message:
    """A message of QoS 1; `readings` are counted when it is acknowledged."""

    topic: str
    payload: bytes
    retain: bool = False
    readings: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The broker's answer to a message; `refused` is its reason, empty where it has it."""

    packet: int
    refused: str = ""


class Publishing(Protocol):
    """What those who publish use of `PublishingLink`."""

    receive_maximum: int

    @property
    def up(self) -> bool:
        """Whether there is a connection."""

    def connect(self, stop: Event) -> None:
        """Connect and subscribe."""

    def publish(self, message: Message) -> int:
        """Send a message; its packet id."""

    def turn(self, seconds: float, *, reading: bool = True) -> list[MQTTMessage]:
        """Read, write and keep the connection alive; the messages that came."""

    def take_acknowledgements(self) -> list[Acknowledgement]:
        """What the broker has answered."""

    def close(self) -> None:
        """Say goodbye."""


class PublishingLink(MqttLink):
    """Connections one after another; every method but `wake` from one thread.

    What was sent and not acknowledged when a connection ends is forgotten: the caller sends it again.

    Args:
        options: as the bridge's.
        will: what the broker publishes when the connection ends without a goodbye.

    Attributes:
        receive_maximum: messages that the broker lets be in flight.
    """

    def __init__(self, options: LinkOptions, will: Message) -> None:
        self._will = will
        self._acknowledgements: list[Acknowledgement] = []
        self.receive_maximum = _MOST_IN_FLIGHT
        super().__init__(options)

    def connect(self, stop: Event) -> None:
        """As `MqttLink.connect`."""
        # paho would send again by itself what it has, whatever the broker's new receive maximum.
        self._client = self._new_client()
        self._acknowledgements.clear()
        super().connect(stop)

    def publish(self, message: Message) -> int:
        """Send a message; its packet id.

        Raises:
            LinkDownError: it cannot be.
        """
        info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise LinkDownError(
                "the broker has left a message unanswered for as long as there are packet ids"
            )
        return info.mid

    def take_acknowledgements(self) -> list[Acknowledgement]:
        """What the broker has answered since the last call."""
        taken, self._acknowledgements = self._acknowledgements, []
        return taken

    def wake(self) -> None:
        """Let `turn` return at once; from any thread, also when all is over."""
        with contextlib.suppress(OSError):
            super().wake()

    def abandon(self) -> None:
        """Hang up without a goodbye: the broker publishes the last will."""
        connection = self._client.socket()
        if connection is None:
            return
        # Through a second descriptor: paho's socket may be wrapped in a WebSocket, which cannot be shut down.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as bare,
        ):
            bare.shutdown(socket.SHUT_RDWR)
        self._client.loop_read()

    def _new_client(self) -> Client:
        client = super()._new_client()
        client.max_inflight_messages_set(0)  # who calls `publish` knows how many may be
        client.will_set(self._will.topic, self._will.payload, qos=1, retain=self._will.retain)
        client.on_publish = self._on_publish
        return client

    def _on_connect(self, client: Client, data: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        super()._on_connect(client, data, flags, code, properties)
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT)

    def _on_publish(
        self, _client: Client, _data: Any, packet: int, code: ReasonCode, _properties: Any
    ) -> None:
        self._acknowledgements.append(Acknowledgement(packet, str(code) if code.is_failure else ""))
