"""Connections to the MQTT broker, one after another, for one thread: paho's client on a loop of our own.

A loop of our own, as acknowledgements must leave in order, from the thread that knows on which connection a message
came: an acknowledgement sent on a later connection could be for another message of the same packet id.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from schemas.errors import ConfigError, SigmawatchError
from schemas.mqtt.address import MqttAddress

_ANSWER_SECONDS = 10.0
_SLICE_SECONDS = 0.25  # longest time without a look at the stop
_BURST = 500  # messages that are read before anything else is done

# What waiting does not change: version, client id, password, rights, banned, method; and another client with our id.
_FATAL = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
_TAKEN_OVER = 0x8E


class LinkDownError(Exception):
    """There is no connection; to be tried again."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How the session is to be; see `schemas.settings.BridgeSettings`. Without `filters` nothing is subscribed.

    `section` has these settings, for errors. One that is not `persistent` ends with the connection; MQTT 5 has
    `session_expiry` for that.
    """

    address: MqttAddress
    client_id: str
    filters: tuple[str, ...]
    mqtt5: bool = True
    session_expiry: int = 604_800
    keepalive: int = 30
    max_in_flight: int = 1000
    accept_retained: bool = False
    section: str = "bridge"
    persistent: bool = True


class MqttLink:
    """A persistent session of QoS 1; every method but `wake` from one thread.

    Attributes:
        connection: counts the connections.
        resumed: whether the broker knew the session when it was connected to last.
    """

    def __init__(self, options: LinkOptions) -> None:
        self._options = options
        self.connection = 0
        self.resumed = False
        self._messages: list[MQTTMessage] = []
        self._connected: ReasonCode | None = None
        self._subscribed: list[ReasonCode] | None = None
        self._down = ""
        self._fatal: SigmawatchError | None = None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._client = self._new_client()

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._subscribed is not None and self._client.socket() is not None

    def connect(self, stop: Event) -> None:
        """Connect and subscribe. Blocks, for some 15 s at most.

        Raises:
            LinkDownError: it did not work, or `stop` was set meanwhile.
            SigmawatchError: it will not work: the broker refuses us, or its certificate is not to be believed.
        """
        self._connected = self._subscribed = None
        self._down, self._fatal = "", None
        self._messages.clear()
        address = self._options.address
        try:
            if self._options.mqtt5:
                self._client.connect(
                    address.host,
                    address.port,
                    self._options.keepalive,
                    clean_start=False,
                    properties=self._connect_properties(),
                )
            else:
                self._client.connect(address.host, address.port, self._options.keepalive)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"the certificate of the MQTT broker {address} is not to be believed: {error.verify_message}",
                f"Name the authority's file with {self._options.section}.ca_file.",
            ) from error
        except OSError as error:
            raise LinkDownError(str(error)) from error
        self.connection += 1
        self._wait(lambda: self._connected is not None, stop)
        if not self._options.filters:
            self._subscribed = []
            return
        self._client.subscribe(self._subscriptions())
        self._wait(lambda: self._subscribed is not None, stop)
        granted: list[ReasonCode] = self._subscribed or []
        if refused := [code for code in granted if code.is_failure]:
            self._drop()
            raise SigmawatchError(
                f"the MQTT broker refuses a subscription of {', '.join(self._options.filters)}: {refused[0]}",
                "May this user read these topics?",
            )

    def turn(self, seconds: float, *, reading: bool = True) -> list[MQTTMessage]:
        """Read, write and keep the connection alive; the messages that came. Blocks for `seconds` at most.

        Raises:
            LinkDownError: the connection is lost.
            SigmawatchError: another client has taken our session.
        """
        connection: Any = self._client.socket()
        if connection is not None:
            pending = reading and hasattr(connection, "pending") and connection.pending()
            readable, writable, _ = select.select(
                [connection, self._woken] if reading else [self._woken],
                [connection] if self._client.want_write() else [],
                [],
                0 if pending else seconds,
            )
            if self._woken in readable:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            if connection in writable:
                self._client.loop_write()
            if pending or connection in readable:
                self._read_burst()
            self._client.loop_misc()
        messages, self._messages = self._messages, []
        if self._client.socket() is None and not messages:
            self._raise_down()
        return messages

    def acknowledge(self, packets: Sequence[int]) -> None:
        """Send acknowledgements, in order; returns when they have left this process.

        Raises:
            LinkDownError: some may not have left.
        """
        for packet in packets:
            if self._client.ack(packet, 1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._raise_down()
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._client.want_write():
            connection: Any = self._client.socket()
            if connection is None or time.monotonic() > deadline:
                self._raise_down()
            select.select([], [connection], [], _SLICE_SECONDS)
            self._client.loop_write()

    def wake(self) -> None:
        """Let `turn` return at once; from any thread."""
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    def close(self) -> None:
        """Say goodbye, if there is a connection; the session stays at the broker."""
        self._drop()
        self._woken.close()
        self._waker.close()

    def _new_client(self) -> Client:
        options, address = self._options, self._options.address
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if options.mqtt5 else not options.persistent,
            protocol=MQTTProtocolVersion.MQTTv5 if options.mqtt5 else MQTTProtocolVersion.MQTTv311,
            transport="websockets" if address.websockets else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if address.websockets:
            client.ws_set_options(path=address.path)
        if address.tls is not None:
            client.tls_set_context(address.tls)
        if address.user is not None:
            client.username_pw_set(
                address.user, address.password.get_secret_value() if address.password else None
            )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, message: self._messages.append(message)
        return client

    def _connect_properties(self) -> Properties:
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._options.session_expiry
        properties.ReceiveMaximum = self._options.max_in_flight
        return properties  # type: ignore[no-any-return]

    def _subscriptions(self) -> Any:
        if not self._options.mqtt5:
            return [(topic, 1) for topic in self._options.filters]
        # Retained messages with a new subscription only, not again with each connection.
        retained = (
            SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            if self._options.accept_retained
            else SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        return [(topic, SubscribeOptions(qos=1, retainHandling=retained)) for topic in self._options.filters]

    def _wait(self, condition: Any, stop: Event) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not condition():
            if stop.is_set() or time.monotonic() > deadline:
                self._drop()
                raise LinkDownError("no answer to the greeting")
            kept, self._messages = self._messages, []
            self._messages = [*kept, *self.turn(_SLICE_SECONDS)]

    def _read_burst(self) -> None:
        """Read until nothing is there; paho reads a packet a call and does not say whether there was one."""
        while len(self._messages) < _BURST:
            before = len(self._messages)
            try:
                code = self._client.loop_read()
            except (ValueError, IndexError, struct.error) as error:
                self._down = f"the broker sent what is no MQTT ({error})"
                self._drop()
                return
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or len(self._messages) == before:
                return

    def _drop(self) -> None:
        """End a connection that is of no use; the session stays at the broker."""
        self._subscribed = None
        if self._client.socket() is None:
            return
        self._client.disconnect()
        for _ in range(4):
            connection: Any = self._client.socket()
            if connection is None:
                return
            select.select([], [connection], [], _SLICE_SECONDS)
            self._client.loop_write()

    def _raise_down(self) -> None:
        self._subscribed = None
        if self._fatal is not None:
            raise self._fatal
        if self._connected is None and self._options.mqtt5:
            raise LinkDownError(
                f"closed without an answer (does it know MQTT 5? {self._options.section}.protocol can be 3.1.1)"
            )
        raise LinkDownError(self._down or "the connection is lost")

    def _on_connect(
        self, _client: Client, _data: Any, flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self.resumed = bool(flags.session_present)
        self._connected = code
        if not code.is_failure:
            return
        self._down = f"the broker refuses us: {code}"
        if code.value in _FATAL:
            section = self._options.section
            self._fatal = SigmawatchError(
                f"the MQTT broker {self._options.address} refuses us: {code}",
                f"Are {section}.client_id and {section}.protocol right, and user and password?",
            )

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        self._subscribed = codes

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._down = self._down or str(code)
        if code.value == _TAKEN_OVER:
            self._fatal = SigmawatchError(
                f"another client has taken the session of {self._options.client_id}",
                f"Give each of them a {self._options.section}.client_id of its own.",
            )
