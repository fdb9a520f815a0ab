"""Looking into a file before it is replayed: how far apart its readings are."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.stack.plan import median_interval
from producers.clock import SystemClock
from producers.replay.files import SourceFile
from producers.replay.readings import file_readings
from producers.replay.recorded import is_recorded_topic
from producers.replay.rows import BadRow
from schemas.errors import CodecError, RegistryError
from schemas.recording import RecordingReader

if TYPE_CHECKING:
    from producers.options import ReplayOptions
    from schemas.readings import Reading
    from schemas.settings import Settings


def interval_of_file(path: Path, options: "ReplayOptions", settings: "Settings") -> float | None:
    """Median seconds between two readings of one series; None where no series has two.

    Raises:
        InputError: it cannot be read.
        ConfigError: the options do not fit it.
    """
    return median_interval(_readings_of(path, options, settings))


def _readings_of(path: Path, options: "ReplayOptions", settings: "Settings") -> Iterator["Reading"]:
    """The file's readings as a replay would publish them, without the bad rows.

    Raises:
        InputError: it cannot be read.
        ConfigError: the options do not fit it.
    """
    if is_recorded_topic(path):
        yield from _recorded_readings(path, settings)
        return
    for row in file_readings(path, options, SystemClock().now_us()):
        if not isinstance(row, BadRow):
            yield row


def _recorded_readings(path: Path, settings: "Settings") -> Iterator["Reading"]:
    from deploy.clients import codec_of  # noqa: PLC0415

    codec = codec_of(settings)
    with SourceFile(path) as source:
        for message in RecordingReader(source.stream, str(path)):
            try:
                yield codec.decode_reading(message.value)
            except (CodecError, RegistryError):
                continue
