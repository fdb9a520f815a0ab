"""An anomaly out of a message, as all sinks of anomalies take it."""

from threading import Event

from confluent_kafka import Message

from schemas.codec import Codec
from schemas.dead_letters import DeadLetterReason
from schemas.errors import CodecError, RegistryUnavailableError
from schemas.readings import Anomaly
from sinks.patience import patiently
from sinks.times import to_datetime


def anomaly_of(message: Message, codec: Codec, stop: Event, longest_wait: float) -> Anomaly:
    """The anomaly that a message holds; blocks while the schema registry is away.

    Args:
        message: from the topic of anomalies.
        codec: knows the schemas.
        stop: ends the waiting.
        longest_wait: longest pause between two attempts, in seconds.

    Raises:
        CodecError: there is none in it, or one at a time that no calendar has; says the reason.
        StoppedError: told to stop while waiting.
    """
    value = message.value()
    if value is None:
        raise CodecError("no value", DeadLetterReason.NULL_VALUE)
    anomaly = patiently(
        lambda: codec.decode_anomaly(value),
        RegistryUnavailableError,
        stop,
        "the schema registry",
        longest_wait,
    )
    try:
        for us in (anomaly.opened_at, anomaly.cleared_at, anomaly.detected_at):
            to_datetime(us or 0)
    except OverflowError as error:
        raise CodecError(str(error), DeadLetterReason.TIME_OUT_OF_BOUNDS) from None
    return anomaly
