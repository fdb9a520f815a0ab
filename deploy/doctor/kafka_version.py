"""Which Kafka a broker is, asked by one request of the protocol itself: librdkafka does not tell."""

import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.settings import Settings

_API_VERSIONS, _FETCH = 18, 1
# The newest version of the fetch request that a Kafka offers, and the oldest Kafka that offers it.
_BY_FETCH = ((18, "4.1"), (17, "3.9"), (16, "3.7"), (15, "3.5"), (13, "3.1"), (12, "2.7"), (11, "2.3"))


def kafka_version(settings: "Settings", seconds: float) -> str:
    """The oldest Kafka that offers what the broker does, "" where it does not say: a question before any password."""
    try:
        answer = _offer(settings, seconds)
    except (OSError, ValueError, EOFError):
        return ""
    _, error, count = struct.unpack_from(">ihi", answer)
    if error or not 0 < count <= (len(answer) - 10) // 6:
        return ""
    offered = {key: newest for key, _, newest in struct.iter_unpack(">hhh", answer[10 : 10 + 6 * count])}
    return next((kafka for least, kafka in _BY_FETCH if offered.get(_FETCH, 0) >= least), "")


def _offer(settings: "Settings", seconds: float) -> bytes:
    """The broker's answer to the question which requests it takes.

    Raises:
        OSError: it does not answer.
        EOFError: it hangs up.
        ValueError: the address is none, or the answer is no Kafka's.
    """
    host, _, port = settings.kafka.bootstrap_servers.split(",")[0].strip().rpartition(":")
    options = settings.kafka.options
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(socket.create_connection((host.strip("[]"), int(port)), timeout=seconds))
        if options.get("security.protocol", "").lower().endswith("ssl"):
            trust = ssl.create_default_context(cafile=options.get("ssl.ca.location"))
            link = stack.enter_context(trust.wrap_socket(link, server_hostname=host.strip("[]")))
        name = b"sigmawatch"
        request = struct.pack(">hhih", _API_VERSIONS, 0, 1, len(name)) + name
        link.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", _exactly(link, 4))[0]
        if not 10 <= size <= 1 << 16:
            raise ValueError("no answer of Kafka's")
        return _exactly(link, size)


def _exactly(link: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = link.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found
