"""A round of the bridge: messages to readings and dead letters, handed to Kafka."""

from collections.abc import Sequence

from producers.bridge.arrivals import Arrival
from producers.bridge.decode import RuleReader
from producers.checks import NotBelievableError
from producers.clock import Clock
from producers.courier import Courier
from producers.publish import Outlet
from schemas.dead_letters import TimeBounds, dead_letter_headers, dlq_topic
from schemas.readings import Reading

_NOWHERE = -1  # an MQTT message has no partition and no offset


class Carrier:
    """Sends the readings of messages, and dead letters of those that are none.

    Args:
        publisher: for the dead letters.
        courier: for the readings, over the same publisher.
        topic: the readings'; dead letters go to its `.dlq`.
        name: who gave a message up: the client id.
        bounds: which times are believed.
        clock: gives the Kafka timestamps.
    """

    def __init__(
        self,
        publisher: Outlet,
        courier: Courier,
        topic: str,
        name: str,
        bounds: TimeBounds,
        clock: Clock,
    ) -> None:
        self._publisher = publisher
        self._courier = courier
        self._dlq = dlq_topic(topic)
        self._name = name
        self._bounds = bounds
        self._clock = clock

    def __call__(self, arrivals: Sequence[Arrival]) -> None:
        """Hand over a round; waits while the publisher's queue is full.

        Raises:
            PublishError: the broker refused a message for good.
        """
        readings = []
        for arrival in arrivals:
            if arrival.rule is None:
                continue
            try:
                found = self._readings(arrival, arrival.rule)
            except NotBelievableError as error:
                arrival.fate = "dead_letters"
                self._give_up(arrival, error)
            else:
                arrival.fate, arrival.readings = "readings", len(found)
                readings += found
        if readings:
            self._courier.send(readings, self._clock.now_us())

    def _readings(self, arrival: Arrival, rule: RuleReader) -> list[Reading]:
        if arrival.size > len(arrival.payload):
            raise NotBelievableError(
                f"the message has {arrival.size} bytes, of which the first {len(arrival.payload)} are kept"
            )
        return rule.readings(arrival.parts, arrival.payload, arrival.time_us, self._bounds)

    def _give_up(self, arrival: Arrival, error: NotBelievableError) -> None:
        headers = dead_letter_headers(
            arrival.topic,
            _NOWHERE,
            _NOWHERE,
            error.reason,
            stage="VALUE_CONVERTER",
            consumer=self._name,
            detail=str(error),
        )
        self._publisher.send(
            self._dlq, None, arrival.payload, headers=headers, timestamp_ms=arrival.time_us // 1000
        )
