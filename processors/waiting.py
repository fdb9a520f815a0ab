"""Before a worker starts: its topics must be there.

Faust takes a topic that is missing at its start for one without partitions, and looks again after minutes; without a broker
it ends. Here both are waited for.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.dead_letters import dlq_topic
from schemas.errors import TopicError
from schemas.kafka import client_config, new_client
from schemas.settings import Settings
from schemas.topics import changelog_topic

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
_SAY_EVERY = 20
"""Looks between two lines in the log: a line every 10 s, or a minute where the broker does not answer."""


def wait_for_topics(settings: Settings) -> bool:
    """Block until the topics that the processor reads and writes exist; False when SIGTERM or SIGINT came first.

    Call it from the main thread.

    Raises:
        TopicError: they differ in their number of partitions, so that no worker could have both of one number.
        ConfigError: librdkafka refuses an option.
    """
    topics = settings.topics
    readings, changelog = topics.readings, changelog_topic(settings.processor.group)
    written = {topics.anomalies, dlq_topic(readings)}
    admin = new_client(AdminClient, client_config(settings.kafka))
    looks = 0
    with _stopped_by_signals() as stop:
        while not stop.is_set():
            try:
                found = admin.list_topics(timeout=_ANSWER_SECONDS).topics
            except KafkaException as error:
                reason = f"the broker does not answer: {error.args[0].str()}"
            else:
                counts = {
                    name: len(found[name].partitions)
                    for name in (readings, changelog, *written)
                    if name in found and found[name].error is None
                }
                missing = ", ".join(sorted({readings, changelog, *written} - counts.keys()))
                if not missing:
                    _require_equal({name: counts[name] for name in (readings, changelog)})
                    return True
                reason = f"missing: {missing}; `sigmawatch topics create` makes them"
            if looks % _SAY_EVERY == 0:
                log.warning("waiting for the topics", reason=reason)
            looks += 1
            stop.wait(_PAUSE_SECONDS)
    return False


def _require_equal(counts: dict[str, int]) -> None:
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} has {count} partitions" for name, count in counts.items())
        raise TopicError(
            said, "Give both as many as the larger has; making the changelog anew would lose the state."
        )


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that both signals set; afterwards they do what they did before."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
