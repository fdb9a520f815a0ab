"""The image's health check: asks the part that runs in this container whether it is alive.

Parts with a port are asked for /livez there; the other commands live as long as their process.
"""

import http.client
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Part:
    """A command that answers on a port, the flag that names the port, and the setting without it."""

    words: tuple[str, ...]
    flag: str
    setting: str


PARTS = (
    Part(("process",), "--web-port", "processor.web_port"),
    Part(("sink", "timescale"), "--metrics-port", "sink.metrics_port"),
    Part(("sink", "notify"), "--metrics-port", "notify.metrics_port"),
    Part(("sink", "mqtt"), "--metrics-port", "mqtt_sink.metrics_port"),
    Part(("bridge", "mqtt"), "--metrics-port", "bridge.metrics_port"),
    Part(("ingest",), "--port", "ingest.port"),
    Part(("serve",), "--port", "api.port"),
    Part(("simulate", "--control"), "--control-port", "control.port"),
)


def part_of(command: Sequence[str]) -> Part | None:
    """Which part a command line starts, None for one without a port."""
    return next((part for part in PARTS if all(word in command for word in part.words)), None)


def given_port(command: Sequence[str], part: Part) -> int | None:
    """The port that a command line's flag names."""
    named = re.findall(rf"\0{part.flag}[=\0](\d+)(?=\0|\Z)", "\0".join(["", *command]))
    return int(named[-1]) if named else None


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


def port_in_settings(part: Part) -> int:
    """The port without the flag: of environment, configuration file or default."""
    # Only here: the settings take longer to load than all the rest, and this runs every few seconds.
    from schemas.settings import load_settings  # noqa: PLC0415

    return int(attrgetter(part.setting)(load_settings()))


def main() -> int:
    """0 where the container's part is alive."""
    command = Path("/proc/1/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    part = part_of(command)
    if part is None:
        return 0
    return 0 if alive(given_port(command, part) or port_in_settings(part)) else 1


if __name__ == "__main__":
    sys.exit(main())
