"""The thread that has the connection: it empties the outbox, and hands over the commands that come."""

import random
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Protocol

import structlog
from paho.mqtt.client import MQTTMessage

from producers.clock import Clock
from producers.mqtt.outbox import Outbox
from schemas.errors import PublishError, SigmawatchError
from schemas.mqtt.link import LinkDownError
from schemas.mqtt.pauses import Pauses
from schemas.mqtt.publishing import Message, Publishing

_LOG = structlog.get_logger(__name__)

_TURN_SECONDS = 0.25  # longest time without a look at the stop
_FAREWELL_SECONDS = 5.0

OnCommand = Callable[[str, bytes, bool], None]
"""Takes topic and payload of a message, and whether it is a retained one; it does not block and raises nothing."""


class Link(Publishing, Protocol):
    """The same for who also subscribes."""

    connection: int
    resumed: bool

    def acknowledge(self, packets: Sequence[int]) -> None:
        """Send acknowledgements."""

    def wake(self) -> None:
        """Let `turn` return."""

    def abandon(self) -> None:
        """Hang up."""


class Sender:
    """Sends what is in an outbox, from `start` to `close` or `abandon`; connects again by itself.

    Args:
        link: to the broker.
        outbox: emptied in its order; it fails when the broker refuses for good.
        greeting: said first on each connection.
        max_in_flight: messages that are sent and not acknowledged, at most.
        on_command: called by the thread.
        clock: measures.

    Attributes:
        forgotten: set when a connection begins and the broker no longer knew us: what it retained may be gone.
    """

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        greeting: Message,
        max_in_flight: int,
        on_command: OnCommand,
        clock: Clock,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._greeting = greeting
        self._max_in_flight = max_in_flight
        self._on_command = on_command
        self._clock = clock
        self._stop = Event()
        self._goodbye = True
        self._greeted: int | None = None  # packet id of a greeting that is not acknowledged
        self.forgotten = Event()
        self._thread = Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._link.up

    def start(self) -> None:
        """Begin; does not wait for the broker."""
        self._thread.start()

    def close(self, farewell: Sequence[Message]) -> None:
        """Say a last word and goodbye; blocks for some seconds at most."""
        heard = False
        try:
            if self.connected:
                self._outbox.put(farewell, limited=False)
                heard = self._outbox.flush(_FAREWELL_SECONDS)
        except SigmawatchError as error:
            _LOG.warning("the MQTT broker refuses a last word", reason=str(error))
        finally:
            self._end()
        if not heard:
            _LOG.warning("the MQTT broker has not heard that the devices are offline")

    def abandon(self) -> None:
        """End at once, without a goodbye: the broker publishes the last will."""
        self._goodbye = False
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._link.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._keep_connected()
            if not self._goodbye:
                self._link.abandon()
        except SigmawatchError as error:
            self._outbox.fail(error)
        except Exception as error:  # noqa: BLE001 - who fills the outbox raises it
            _LOG.exception("the MQTT connection has ended")
            self._outbox.fail(PublishError(f"the MQTT connection has ended: {error!r}"))
        finally:
            self._link.close()

    def _keep_connected(self) -> None:
        pauses = Pauses()
        while not self._stop.is_set():
            connected_at = None
            try:
                self._connect()
                connected_at = self._clock.monotonic()
                while not self._stop.is_set():
                    self._turn()
            except LinkDownError as error:
                self._settle()
                self._outbox.put_back()
                if self._stop.is_set():
                    return
                _LOG.warning("no connection to the MQTT broker, trying again", reason=str(error))
                lived = None if connected_at is None else self._clock.monotonic() - connected_at
                pause = pauses.after(lived)
                if pauses.suspicious:
                    _LOG.warning("connections are lost at once: does another client use this mqtt.client_id?")
                self._clock.wait(pause * random.uniform(0.5, 1.0), self._stop)  # noqa: S311 - not for secrets

    def _connect(self) -> None:
        first = self._link.connection == 0
        self._link.connect(self._stop)
        self._greeted = self._link.publish(self._greeting)
        if not first and not self._link.resumed:
            self.forgotten.set()
        _LOG.info("connected to the MQTT broker")

    def _turn(self) -> None:
        most = min(self._max_in_flight, self._link.receive_maximum) - (self._greeted is not None)
        while (message := self._outbox.next) is not None and self._outbox.in_flight < most:
            self._outbox.sent(self._link.publish(message))
        messages = self._link.turn(_TURN_SECONDS)
        self._settle()
        for each in messages:
            self._on_command(_topic(each), bytes(each.payload), each.retain)
        if packets := [each.mid for each in messages if each.qos]:
            self._link.acknowledge(packets)

    def _settle(self) -> None:
        """Take note of what the broker has.

        Raises:
            PublishError: it refuses a message.
        """
        for answer in self._link.take_acknowledgements():
            greeted = answer.packet == self._greeted
            if answer.refused:
                topic = self._greeting.topic if greeted else self._outbox.topic_of(answer.packet)
                raise PublishError(
                    f"the MQTT broker refuses a message to {topic}: {answer.refused}",
                    "May this user write to this topic?",
                )
            if greeted:
                self._greeted = None
            else:
                self._outbox.acknowledge(answer.packet)


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:  # no broker should let it through; it is nobody's
        return ""
