"""The image's health check: asks the part that runs in this container whether it is alive.

Processors and sinks are asked for /livez on their port; the other commands live as long as their process.
"""

import http.client
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_SECONDS = 3.0


def port_of(command: Sequence[str], processor_port: int, sink_port: int) -> int | None:
    """The port that a command line answers on, None where it has none."""
    for flag, part, port in (
        ("--web-port", ["process"], processor_port),
        ("--metrics-port", ["sink", "timescale"], sink_port),
    ):
        if all(word in command for word in part):
            given = [word for before, word in pairwise(command) if before == flag]
            return int(given[-1]) if given and given[-1].isdecimal() else port
    return None


def alive(port: int) -> bool:
    """Whether /livez on loopback says so; blocks up to 3 s."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    """0 where the container's part is alive."""
    command = Path("/proc/1/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    if port_of(command, 0, 0) is None:
        return 0
    # Only here: the settings take longer to load than all the rest, and this runs every few seconds.
    from schemas.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    port = port_of(command, settings.processor.web_port, settings.sink.metrics_port)
    return 0 if port is None or alive(port) else 1


if __name__ == "__main__":
    sys.exit(main())
