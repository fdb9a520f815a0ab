"""`sigmawatch ingest` as a function: settings in, until it is stopped."""

from collections.abc import Callable
from threading import Event

from producers.checks import NotBelievableError, check_id
from producers.clock import Clock, SystemClock
from producers.courier import Courier
from producers.ingest.app import ingest_app
from producers.ingest.metrics import IngestMetrics
from producers.ingest.sender import Sender
from producers.simulation.schedule import time_bounds
from schemas.codec import Codec
from schemas.errors import ConfigError
from schemas.kafka import Publisher, client_config
from schemas.settings import Settings
from schemas.web.app import serve

_STOP_SECONDS = 10.0


def run_ingest(
    settings: Settings,
    codec: Codec,
    stop: Event,
    *,
    on_listening: Callable[[int], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Take readings by HTTP and send them to Kafka until `stop` is set. Blocks.

    Args:
        settings: all of them; `settings.ingest` most.
        codec: knows the schema.
        stop: ends it: requests under way are answered first.
        on_listening: called with the port.
        clock: the machine's, if not given.

    Raises:
        ConfigError: the settings cannot be (an address off loopback without a token, a port that is taken).
        SigmawatchError: the schema registry refuses.
    """
    chosen, clock, metrics = settings.ingest, clock or SystemClock(), IngestMetrics()
    for key in ("device_id", "metric"):
        try:
            check_id(getattr(chosen, key))
        except NotBelievableError as error:
            raise ConfigError(f"ingest.{key}: {error}") from error
    publisher = Publisher(client_config(settings.kafka))
    sender = Sender(
        publisher,
        lambda: Courier(publisher, codec, settings.topics.readings),
        clock,
        metrics,
        max_pending=chosen.max_pending,
        on_failure=stop.set,
    )
    app = ingest_app(chosen, sender, clock, time_bounds(settings), metrics)
    sender.start()
    try:
        serve(app, chosen, stop, on_listening=on_listening)
    finally:
        sender.stop(_STOP_SECONDS)
    if sender.failure is not None:
        raise sender.failure
