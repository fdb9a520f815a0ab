"""Dead letters in tests: settings on a test's topics, the command, and what the logs hold afterwards."""

import json
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from deploy.cli.main import main
from deploy.letters.letter import Letter
from deploy.letters.reading import ranges_of, read_letters
from deploy.reading import read_range
from schemas.readings import Reading
from schemas.settings import Settings, load_settings
from tests.support.sinks import T0, Topics

HOUR_US = 3_600_000_000
BOTH = "72h"
"""A `processor.max_ahead` that believes what the default refuses."""


def settings_on(topics: Topics, **more: Any) -> Settings:
    """Settings with a test's topics."""
    return load_settings(None, overrides_on(topics) | more, {})


def overrides_on(topics: Topics) -> dict[str, str]:
    """The same as overrides."""
    return {
        "kafka.bootstrap_servers": topics.bootstrap_servers,
        "topics.readings": topics.readings,
        "topics.anomalies": topics.anomalies,
        "topics.devices": topics.devices,
        "topics.partitions": str(topics.partitions),
    }


def dlq(topics: Topics, *arguments: str, code: int = 0, **settings: str) -> Any:
    """What `sigmawatch dlq ... --json` says, in this process."""
    overrides = overrides_on(topics) | {name.replace("__", "."): value for name, value in settings.items()}
    assigned = [part for name, value in overrides.items() for part in ("--set", f"{name}={value}")]
    out = StringIO()
    with redirect_stdout(out):
        ended = main(["dlq", *arguments, "--json", "--log-level", "error", *assigned])
    assert ended == code, out.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines() if line.strip()]


def ahead(devices: int, each: int) -> list[Reading]:
    """Readings two days ahead of their messages' timestamps: the default bounds refuse them."""
    return [
        Reading(f"device-{device:03d}", "temperature", T0 + 48 * HOUR_US + i * 1_000_000, float(i), None)
        for i in range(each)
        for device in range(devices)
    ]


def letters_in(settings: Settings, topic: str) -> list[Letter]:
    """All letters of a dead-letter topic."""
    return list(read_letters(settings, ranges_of(settings, [topic])))


def message_counts(settings: Settings, topic: str) -> Counter[tuple[bytes | None, bytes | None]]:
    """How often each (key, value) is on a topic."""
    return Counter(
        (message.key(), message.value())
        for batch in read_range(settings, ranges_of(settings, [topic]))
        for message in batch
    )
