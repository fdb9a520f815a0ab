"""The commands replay and record as functions: settings and options in, a summary out.

Each opens its own Kafka clients and closes them; `stop` ends it early, with everything sent acknowledged.
"""

from pathlib import Path
from threading import Event

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from producers.clock import Clock, SystemClock
from producers.options import RecordOptions, ReplayOptions
from producers.record import RecordSummary, record_topic
from producers.replay.readings import ReplaySummary, replay_readings
from producers.replay.recorded import is_recorded_topic, replay_recording
from producers.simulation.schedule import time_bounds
from schemas.codec import Codec
from schemas.errors import ConfigError, SigmawatchError
from schemas.kafka import Publisher, client_config, new_client
from schemas.settings import KafkaSettings, Settings
from schemas.sources import schema_source

_ANSWER_S = 15.0
# Of a recording, only these can be chosen: everything else is as it was recorded.
_RECORDED_OPTIONS = {"format", "speed", "topic", "on_error", "timezone"}


def run_replay(
    settings: Settings,
    path: Path,
    options: ReplayOptions | None = None,
    *,
    stop: Event | None = None,
    console: Console | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
) -> ReplaySummary:
    """Replay a file of readings, or a recorded topic, which is seen from the file. Blocks until all is acknowledged.

    Raises:
        InputError: the file, or a row of it, is not usable; says what is acknowledged.
        ConfigError: the options do not fit the file; nothing was sent.
        TopicError: a recorded topic does not fit the one it is replayed into; nothing was sent.
        PublishError: the broker refused a message for good.
    """
    options, clock, stop = options or ReplayOptions(), clock or SystemClock(), stop or Event()
    recorded = is_recorded_topic(path)
    if recorded:
        _check_recorded_options(options)
    with Publisher(client_config(settings.kafka)) as publisher:
        if recorded:
            return replay_recording(
                path,
                publisher,
                lambda topic: partition_count(settings.kafka, topic),
                topic=options.topic,
                speed=options.speed,
                clock=clock,
                stop=stop,
                console=console,
            )
        return replay_readings(
            path,
            options,
            publisher,
            codec or Codec(schema_source(settings)),
            clock,
            topic=options.topic or settings.topics.readings,
            bounds=time_bounds(settings),
            stop=stop,
            console=console,
        )


def run_record(
    settings: Settings,
    topic: str,
    path: Path,
    options: RecordOptions | None = None,
    *,
    stop: Event | None = None,
    console: Console | None = None,
    clock: Clock | None = None,
) -> RecordSummary:
    """Record a topic into a file; errors as `record_topic`."""
    config = client_config(settings.kafka)
    return record_topic(config, topic, path, options, stop=stop, console=console, clock=clock)


def partition_count(settings: KafkaSettings, topic: str) -> int | None:
    """How many partitions a topic has, None where there is none; creates nothing.

    Raises:
        SigmawatchError: the broker does not answer.
    """
    admin = new_client(AdminClient, client_config(settings))
    try:
        # All topics: asking for one by name creates it, where the broker is set to do so.
        found = admin.list_topics(timeout=_ANSWER_S).topics.get(topic)
    except KafkaException as error:
        raise SigmawatchError(
            f"no answer from {settings.bootstrap_servers}: {error.args[0]}", "Is the broker running?"
        ) from error
    return len(found.partitions) or None if found is not None else None


def _check_recorded_options(options: ReplayOptions) -> None:
    default = ReplayOptions()
    given = [
        f"--{name.replace('_', '-')}"
        for name in ReplayOptions.__dataclass_fields__
        if name not in _RECORDED_OPTIONS and getattr(options, name) != getattr(default, name)
    ]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: the file is a recorded topic, which is brought back as it was",
            "Only --topic and --speed apply.",
        )
