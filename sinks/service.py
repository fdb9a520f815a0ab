"""Sinks as programs: put together from settings, with an HTTP port for probes, until a signal ends them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.health import HealthServer
from schemas.kafka import client_config
from schemas.settings import Settings
from sinks.anomaly_log import AnomalyLog, AnomalyLogOptions
from sinks.dead_letters import dead_letter_office_of
from sinks.kafka import consumer_defaults
from sinks.metrics import SinkMetrics
from sinks.timescale.connection import connector_of
from sinks.timescale.worker import Worker, WorkerOptions


class Sink(Protocol):
    """What `serve` runs: `Worker`, `AnomalyLog` and those of other packages."""

    @property
    def metrics(self) -> SinkMetrics:
        """Where it counts."""
        ...

    def run(self) -> None:
        """Block until `stop`."""
        ...

    def stop(self) -> None:
        """Return at once; `run` comes to its end."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it does its work."""
        ...

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        ...


def timescale_sink(settings: Settings, codec: Codec, *, migrate: bool = True) -> Worker:
    """`sink timescale` as the settings want it; connects to nothing yet.

    Args:
        settings: topics, group, batches, database.
        codec: knows the schemas.
        migrate: build the tables at the start; otherwise they must be there.

    Raises:
        ConfigError: database.url is missing.
    """
    options = WorkerOptions(
        group=settings.sink.group,
        consumer=client_config(settings.kafka, **consumer_defaults(settings.sink.group)),
        readings=settings.topics.readings,
        anomalies=settings.topics.anomalies,
        devices=settings.topics.devices,
        batch_readings=settings.sink.batch_readings,
        batch_seconds=settings.sink.batch_interval,
        bounds=TimeBounds(max_ahead_us=round(settings.processor.max_ahead * 1e6)),
        migrate=migrate,
    )
    office = dead_letter_office_of(settings, settings.sink.group)
    return Worker(options, codec, connector_of(settings), office)


def log_sink(settings: Settings, codec: Codec) -> AnomalyLog:
    """`sink log` as the settings want it; opens nothing yet.

    Args:
        settings: topic, group, file.
        codec: knows the schemas.
    """
    chosen = settings.log_sink
    options = AnomalyLogOptions(
        group=chosen.group,
        consumer=client_config(settings.kafka, **consumer_defaults(chosen.group)),
        path=chosen.path,
        topic=settings.topics.anomalies,
        rotate_bytes=chosen.rotate_bytes,
        keep_files=chosen.keep_files,
    )
    return AnomalyLog(options, codec, dead_letter_office_of(settings, chosen.group))


def serve(sink: Sink, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Run a sink until SIGTERM or SIGINT; blocks. Call it from the main thread.

    Args:
        sink: what to run.
        host: address of its HTTP port.
        port: /metrics, /livez and /readyz are here; None for no HTTP, 0 for any free port.

    Raises:
        SigmawatchError: what `sink.run` raises, or the port is taken.
    """
    with _stopped_by_signals(sink.stop):
        if port is None:
            sink.run()
            return
        with HealthServer(host, port, sink.metrics.registry, lambda: sink.alive, lambda: sink.ready):
            sink.run()


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Both signals call `stop`; afterwards they do what they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
