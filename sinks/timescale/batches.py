"""Messages of one log, decoded and planned: what the writer takes. No I/O, unless the codec asks a registry."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError
from schemas.readings import Anomaly, Device
from sinks.dead_letters import DeadLetter, Message
from sinks.logs import LogId
from sinks.timescale.plan import first_new, plan_readings
from sinks.timescale.tables import AnomalyRows, DeviceRows, ReadingRows, anomaly_values
from sinks.timescale.writer import LogBatch

BatchMaker = Callable[[LogId, int, Sequence[Message]], LogBatch | None]
"""Makes a batch of (log, its position, messages read since, ascending by offset); None where none is new.

Raises RegistryUnavailableError where the codec needs the registry and it does not answer.
"""
_Decoded = TypeVar("_Decoded")


def batch_makers(
    codec: Codec, bounds: TimeBounds, *, readings: str, anomalies: str, devices: str
) -> dict[str, BatchMaker]:
    """Topic -> how its messages become a batch.

    Args:
        codec: knows the schemas.
        bounds: which event times of readings are believed.
        readings: name of the topic of readings.
        anomalies: name of the topic of anomalies.
        devices: name of the topic of devices.
    """

    def of_readings(log: LogId, position: int, messages: Sequence[Message]) -> LogBatch | None:
        fresh = _fresh(position, messages)
        if not fresh:
            return None
        timestamps = np.fromiter((message.timestamp()[1] for message in fresh), np.int64, len(fresh))
        columns = decode_readings([message.value() for message in fresh], timestamps, codec, bounds)
        plan = plan_readings(columns)
        refused = [DeadLetter(log.topic, log.partition, fresh[row], reason) for row, reason in plan.refused]
        return _batch(log, position, fresh, ReadingRows(columns, plan.rows), refused, plan.repeated)

    def of_anomalies(log: LogId, position: int, messages: Sequence[Message]) -> LogBatch | None:
        fresh = _fresh(position, messages)
        if not fresh:
            return None
        good, decoded, refused = _decode_each(log, fresh, lambda message: _anomaly(codec, message))
        return _batch(log, position, fresh, AnomalyRows(decoded, good), refused)

    def of_devices(log: LogId, position: int, messages: Sequence[Message]) -> LogBatch | None:
        fresh = _fresh(position, messages)
        if not fresh:
            return None
        good, decoded, refused = _decode_each(log, fresh, lambda message: _device(codec, message))
        rows = DeviceRows([device_id for device_id, _ in decoded], [device for _, device in decoded], good)
        return _batch(log, position, fresh, rows, refused)

    return {readings: of_readings, anomalies: of_anomalies, devices: of_devices}


def _fresh(position: int, messages: Sequence[Message]) -> Sequence[Message]:
    offsets = np.fromiter((message.offset() for message in messages), np.int64, len(messages))
    first = first_new(position, offsets)
    return messages[first:] if first else messages


def _batch(
    log: LogId,
    position: int,
    messages: Sequence[Message],
    rows: ReadingRows | AnomalyRows | DeviceRows,
    refused: list[DeadLetter],
    repeated: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None,
) -> LogBatch:
    batch = LogBatch(log, position, messages[-1].offset() + 1, messages, rows, refused=refused)
    if repeated is not None:
        batch.repeated = repeated
    return batch


def _decode_each(
    log: LogId, messages: Sequence[Message], decode: Callable[[Message], _Decoded]
) -> tuple[list[int], list[_Decoded], list[DeadLetter]]:
    """(indexes of the good messages, what they say, dead letters of the others)."""
    good: list[int] = []
    decoded: list[_Decoded] = []
    refused: list[DeadLetter] = []
    for index, message in enumerate(messages):
        try:
            decoded.append(decode(message))
        except CodecError as error:
            refused.append(DeadLetter(log.topic, log.partition, message, error.reason, error.message))
        else:
            good.append(index)
    return good, decoded, refused


def _anomaly(codec: Codec, message: Message) -> Anomaly:
    value = message.value()
    if value is None:
        raise CodecError("no value", DeadLetterReason.NULL_VALUE)
    anomaly = codec.decode_anomaly(value)
    try:
        anomaly_values(anomaly)
    except OverflowError as error:
        raise CodecError(str(error), DeadLetterReason.TIME_OUT_OF_BOUNDS) from None
    return anomaly


def _device(codec: Codec, message: Message) -> tuple[str, Device | None]:
    """A device; a tombstone says by its key which device is no more."""
    value = message.value()
    if value is not None:
        device = codec.decode_device(value)
        device_id = device.device_id
    else:
        device = None
        try:
            device_id = (message.key() or b"").decode()
        except UnicodeDecodeError as error:
            raise CodecError(f"key: {error}", DeadLetterReason.BAD_DEVICE_ID) from None
    if not device_id:
        raise CodecError("no device id", DeadLetterReason.BAD_DEVICE_ID)
    return device_id, device
