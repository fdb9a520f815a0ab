"""The bridge: from an MQTT session to Kafka and back with the acknowledgements.

The calling thread reads MQTT, keeps the connection alive and acknowledges; another one (`producers.rounds`) writes to
Kafka. A message is acknowledged when Kafka has acknowledged all of its readings, or its dead letter; in the
order in which it came. The MQTT broker sends no more than `max_in_flight` beyond that: this is the back-pressure.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol

import structlog
from paho.mqtt.client import MQTTMessage

from producers.bridge.arrivals import Arrival, ArrivalJournal, Key, key_of
from producers.bridge.decode import RuleReader
from producers.bridge.metrics import BridgeMetrics
from producers.clock import Clock
from schemas.errors import PublishError
from schemas.failpoints import fail_point
from schemas.mqtt.link import LinkDownError
from schemas.mqtt.pauses import Pauses

if TYPE_CHECKING:
    from producers.rounds import Rounds

Settle = Callable[[Sequence[Arrival], float, PublishError | None], None]

_LOG = structlog.get_logger(__name__)

_TURN_SECONDS = 0.25  # longest time without a look at the stop
_SECOND_US = 1_000_000
_STUCK_SECONDS = 60.0  # without a turn of the loop: a restart would help


class Link(Protocol):
    """What is used of `schemas.mqtt.link.MqttLink`."""

    connection: int
    resumed: bool

    @property
    def up(self) -> bool:
        """Whether there is a connection."""

    def connect(self, stop: Event) -> None:
        """Connect and subscribe."""

    def turn(self, seconds: float, *, reading: bool = True) -> list[MQTTMessage]:
        """The messages that came."""

    def acknowledge(self, packets: Sequence[int]) -> None:
        """Send acknowledgements."""

    def wake(self) -> None:
        """Let `turn` return."""

    def close(self) -> None:
        """Let go."""


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """What the bridge does with messages; see `schemas.settings.BridgeSettings`."""

    rules: tuple[RuleReader, ...]
    accept_retained: bool = False
    max_payload_bytes: int = 262_144
    max_in_flight: int = 1000
    drain_seconds: float = 10.0


class Bridge:
    """Runs until it is stopped.

    Args:
        options: what to do with messages.
        link: to the MQTT broker.
        journal: of times of arrival.
        clock: gives them.
        metrics: what is counted.
        rounds: makes the rounds, from their `settle` and `on_failure`.
    """

    def __init__(
        self,
        options: BridgeOptions,
        link: Link,
        journal: ArrivalJournal,
        clock: Clock,
        metrics: BridgeMetrics,
        rounds: "Callable[[Settle, Callable[[], None]], Rounds[Arrival]]",
    ) -> None:
        self._options = options
        self._link = link
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._rounds = rounds(self._settle, link.wake)
        self._pending: dict[Key, Arrival] = {}
        self._done: deque[Sequence[Arrival]] = deque()
        self._giving_up = False
        self._in_order = False  # whether this connection has come to messages that are delivered first
        self._told_unmatched = False
        self._last_us = 0
        self._beat = clock.monotonic()
        metrics.pending.set_function(lambda: self._rounds.weight)
        metrics.connected.set_function(lambda: int(link.up))

    @property
    def ready(self) -> bool:
        """Whether messages flow."""
        return self._link.up and self._rounds.trouble is None

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        return self._clock.monotonic() - self._beat < _STUCK_SECONDS

    def _settle(self, arrivals: Sequence[Arrival], seconds: float, refusal: PublishError | None) -> None:
        """Take note that Kafka has a round; called by the rounds' thread.

        Raises:
            PublishError: it refuses readings for good. Nothing is acknowledged then: the MQTT broker keeps it.
        """
        if refusal is not None:
            if self._giving_up:
                return
            raise refusal
        self._metrics.round_seconds.observe(seconds)
        self._metrics.readings.inc(sum(arrival.readings for arrival in arrivals))
        self._metrics.count(arrival.fate for arrival in arrivals)
        self._done.append(arrivals)
        self._link.wake()

    def run(self, stop: Event) -> None:
        """Read, send and acknowledge until `stop` is set; then for `drain_seconds` more what was received. Blocks.

        Raises:
            SigmawatchError: a broker refuses for good, or another client has taken the session.
        """
        self._rounds.start()
        try:
            self._run(stop)
            self._drain()
        finally:
            self._giving_up = True
            self._rounds.stop(0.0)
            self._link.close()
            self._journal.close()
        if self._rounds.failure is not None:
            raise self._rounds.failure
        if left := len(self._pending):
            _LOG.warning("stopped before Kafka had all messages; the MQTT broker keeps them", messages=left)

    def _run(self, stop: Event) -> None:
        pauses, connected_at = Pauses(), None
        while not stop.is_set() and self._rounds.failure is None:
            try:
                connected_at = None
                self._connect(stop)
                connected_at = self._clock.monotonic()
                while not stop.is_set() and self._rounds.failure is None:
                    # A broker that keeps to max_in_flight never comes to twice as many; mosquitto 2.0.11 does not.
                    reading = self._rounds.weight < 2 * self._options.max_in_flight
                    self._take(self._link.turn(_TURN_SECONDS, reading=reading))
                    self._acknowledge()
                    self._beat = self._clock.monotonic()
            except LinkDownError as error:
                self._beat = now = self._clock.monotonic()
                if stop.is_set():
                    return
                _LOG.warning("no connection to the MQTT broker, trying again", reason=str(error))
                pause = pauses.after(None if connected_at is None else now - connected_at)
                if pauses.suspicious:
                    _LOG.warning(
                        "connections are lost at once: does another client use this bridge.client_id?"
                    )
                self._clock.wait(pause * random.uniform(0.5, 1.0), stop)  # noqa: S311 - not for secrets

    def _connect(self, stop: Event) -> None:
        first = self._link.connection == 0
        self._link.connect(stop)
        self._in_order = False
        self._metrics.connections.labels("resumed" if self._link.resumed else "new").inc()
        if self._link.resumed:
            _LOG.info("connected to the MQTT broker, session resumed")
            return
        self._journal.keep_only(self._pending)
        if first:
            _LOG.info("connected to the MQTT broker, new session")
        else:
            _LOG.warning(
                "the MQTT broker has lost our session: what it took for us meanwhile is lost with it"
            )

    def _take(self, messages: Sequence[MQTTMessage]) -> None:
        arrivals = [arrival for message in messages if (arrival := self._arrival(message)) is not None]
        if not arrivals:
            return
        self._journal.note(
            (arrival.key, arrival.time_us)
            for arrival in arrivals
            if arrival.packet and arrival.rule and arrival.rule.by_arrival
        )
        self._rounds.put(arrivals)

    def _arrival(self, message: MQTTMessage) -> Arrival | None:
        """A message on its way; None for one that is on its way already, or that nobody waits for."""
        packet = message.mid if message.qos else 0
        if not packet and self._rounds.weight >= self._options.max_in_flight:
            self._metrics.count(["dropped"])
            return None
        topic = _topic(message)
        payload = bytes(message.payload)
        arrival = Arrival(
            topic=topic,
            payload=payload[: self._options.max_payload_bytes],
            size=len(payload),
            time_us=self._arrival_us(),
            packet=packet,
            connection=self._link.connection,
        )
        self._find_rule(arrival, retained=message.retain)
        if not packet:
            return arrival
        arrival.key = key_of(packet, topic, arrival.payload)
        if message.dup:
            self._metrics.redelivered.inc()
            known = self._pending.get(arrival.key)
            if known is not None:
                known.connection = self._link.connection
                self._metrics.count(["known"])
                return None
            if (recalled := self._journal.recall(arrival.key)) is not None:
                arrival.time_us = recalled
        elif not self._in_order:
            self._in_order = True
            self._journal.keep_only(self._pending)
        self._pending[arrival.key] = arrival
        return arrival

    def _arrival_us(self) -> int:
        """The time, never the same twice: two messages of one device must not make one reading."""
        now = self._clock.now_us()
        if self._last_us - _SECOND_US < now <= self._last_us:
            now = self._last_us + 1
        self._last_us = now
        return now

    def _find_rule(self, arrival: Arrival, *, retained: bool) -> None:
        if retained and not self._options.accept_retained:
            arrival.fate = "ignored"
            return
        for rule in self._options.rules:
            parts = rule.pattern.match(arrival.topic)
            if parts is not None:
                arrival.rule, arrival.parts = rule, parts
                return
        arrival.fate = "unmatched"
        if not self._told_unmatched:
            self._told_unmatched = True
            _LOG.warning(
                "a message of a topic that no rule names: the session has a subscription of earlier rules; "
                "another bridge.client_id begins a new session",
                topic=arrival.topic,
            )

    def _acknowledge(self) -> None:
        """Acknowledge what Kafka has, as far as it came on this connection; the rest will be delivered again."""
        packets, keys = [], []
        while self._done:
            for arrival in self._done.popleft():
                if self._pending.get(arrival.key) is arrival:
                    del self._pending[arrival.key]
                if arrival.packet and arrival.connection == self._link.connection:
                    packets.append(arrival.packet)
                    if arrival.rule and arrival.rule.by_arrival:
                        keys.append(arrival.key)
        if packets:
            fail_point("bridge.acknowledge")
            self._link.acknowledge(packets)
            self._journal.strike(keys)

    def _drain(self) -> None:
        deadline = self._clock.monotonic() + self._options.drain_seconds
        while self._rounds.failure is None and (self._rounds.weight or self._done):
            if self._clock.monotonic() > deadline or not self._link.up:
                return
            try:
                self._link.turn(0.05, reading=False)
                self._acknowledge()
            except LinkDownError:
                return


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:  # no broker should let it through; no rule will match it
        return "\ufffd"
