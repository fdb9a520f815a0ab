"""Anomalies out of messages, as all sinks of anomalies take them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

from confluent_kafka import Message

from schemas.codec import Codec
from schemas.dead_letters import DeadLetterReason, is_meant_for
from schemas.errors import CodecError, RegistryUnavailableError
from schemas.readings import Anomaly
from schemas.times import to_datetime
from sinks.dead_letters import DeadLetter
from sinks.patience import patiently
from sinks.reader import TopicAndPartition


class Incoming(NamedTuple):
    """A message that is new to a sink: where it stands, and the anomaly in it or why there is none.

    Neither is there where the message was put back for another sink.
    """

    key: TopicAndPartition
    offset: int
    anomaly: Anomaly | None = None
    letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class AnomalyReader:
    """Reads anomalies; blocks while the schema registry is away.

    Attributes:
        codec: knows the schemas.
        group: consumer group of the sink, by which messages are put back for it.
        stop: ends the waiting.
        longest_wait: longest pause between two attempts, in seconds.
        on_pause: called before each pause.
    """

    codec: Codec
    group: str
    stop: Event
    longest_wait: float
    on_pause: Callable[[], object] = lambda: None

    def read(
        self, messages: Sequence[Message], positions: Mapping[TopicAndPartition, int]
    ) -> Iterator[Incoming]:
        """What messages say that stand at or behind `positions`, each once.

        Raises:
            StoppedError: told to stop while waiting.
        """
        expected = dict(positions)
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if offset < expected[key]:
                continue
            expected[key] = offset + 1
            if not is_meant_for(message.headers(), self.group):
                yield Incoming(key, offset)
                continue
            try:
                yield Incoming(key, offset, self._anomaly(message))
            except CodecError as error:
                letter = DeadLetter(*key, message, error.reason, error.message)  # type: ignore[arg-type]
                yield Incoming(key, offset, letter=letter)

    def _anomaly(self, message: Message) -> Anomaly:
        """The anomaly that a message holds.

        Raises:
            CodecError: there is none in it, or one at a time that no calendar has; says the reason.
            StoppedError: told to stop while waiting.
        """
        value = message.value()
        if value is None:
            raise CodecError("no value", DeadLetterReason.NULL_VALUE)
        anomaly = patiently(
            lambda: self.codec.decode_anomaly(value),
            RegistryUnavailableError,
            self.stop,
            "the schema registry",
            self.longest_wait,
            self.on_pause,
        )
        try:
            for us in (anomaly.opened_at, anomaly.cleared_at, anomaly.detected_at):
                to_datetime(us or 0)
        except OverflowError as error:
            raise CodecError(str(error), DeadLetterReason.TIME_OUT_OF_BOUNDS) from None
        return anomaly
