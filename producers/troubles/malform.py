"""What a malformed message is, as bytes."""

import hashlib
import json
from collections.abc import Callable

from producers.troubles.settings import MalformedKind
from schemas.codec import HEADER
from schemas.readings import Reading
from schemas.times import to_datetime

# The largest id of registries, which give ids from 1 up. Always the same one: each unknown id is asked for.
_UNKNOWN_ID = 2**31 - 1
_HEAD = HEADER.size


_BROKEN: dict[MalformedKind, Callable[[bytes, bytes], bytes | None]] = {
    # A part of a record is never a record.
    MalformedKind.TRUNCATED: lambda value, noise: value[: _HEAD + noise[0] % (len(value) - _HEAD)],
    # The body begins with the length of the device id: an odd number below 128 stands for a negative one.
    MalformedKind.RANDOM_BYTES: lambda value, noise: (
        value[:_HEAD] + bytes([noise[0] & 0x7F | 1]) + noise[1 : max(2, len(value) - _HEAD)]
    ),
    MalformedKind.UNKNOWN_SCHEMA: lambda value, _: HEADER.pack(0, _UNKNOWN_ID) + value[_HEAD:],
    MalformedKind.WRONG_MAGIC: lambda value, noise: bytes([1 + noise[0] % 255]) + value[1:],
    MalformedKind.TRAILING_BYTES: lambda value, noise: value + noise[1 : 2 + noise[0] % 8],
    MalformedKind.NON_FINITE: lambda value, _: value,
    MalformedKind.EMPTY: lambda _, __: b"",
    MalformedKind.NO_VALUE: lambda _, __: None,
    MalformedKind.TEXT: lambda _, __: b"ERR 0x1F: sensor does not answer",
}


def malform(kind: MalformedKind, value: bytes, reading: Reading) -> bytes | None:
    """A malformed message in place of a reading; the same for the same arguments.

    Each is what `settings.REASONS` says to every decoder, never a reading by chance.

    Args:
        kind: How it is broken.
        value: The reading's message value in the wire format. For NON_FINITE its value is non-finite already.
        reading: What is in it.
    """
    if kind is MalformedKind.JSON:
        return _json(reading)
    return _BROKEN[kind](value, hashlib.blake2b(value).digest())


def _json(reading: Reading) -> bytes:
    time = to_datetime(reading.time).isoformat()
    fields = {"device": reading.device_id, "metric": reading.metric, "ts": time, "value": reading.value}
    return json.dumps(fields).encode()
