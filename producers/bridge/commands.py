"""`sigmawatch bridge mqtt` as a function: settings in, until it is stopped."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import structlog

from producers.bridge.address import address_of
from producers.bridge.arrivals import Arrival, ArrivalJournal
from producers.bridge.bridge import Bridge, BridgeOptions, Settle
from producers.bridge.carrier import Carrier
from producers.bridge.decode import RuleReader
from producers.bridge.metrics import BridgeMetrics
from producers.clock import Clock, SystemClock
from producers.courier import Courier
from producers.rounds import Rounds
from producers.simulation.schedule import time_bounds
from schemas.bridge_rules import subscriptions
from schemas.codec import Codec
from schemas.health import HealthServer
from schemas.kafka import Publisher, client_config
from schemas.mqtt.link import LinkOptions, MqttLink
from schemas.settings import Settings

_LOG = structlog.get_logger(__name__)


def run_bridge(
    settings: Settings, codec: Codec, stop: Event, *, state: Path | None = None, clock: Clock | None = None
) -> None:
    """Turn MQTT messages into readings until `stop` is set. Blocks.

    Args:
        settings: all of them; `settings.bridge` most.
        codec: knows the schema.
        stop: ends it: what was received goes to Kafka first, for `bridge.drain` at most.
        state: folder of the journal, where the settings name no file; None keeps no journal.
        clock: the machine's, if not given.

    Raises:
        ConfigError: the settings cannot be.
        SigmawatchError: a broker or the schema registry refuses for good.
    """
    chosen, clock, metrics = settings.bridge, clock or SystemClock(), BridgeMetrics()
    address = address_of(chosen)
    rules = tuple(RuleReader(rule) for rule in chosen.rules)
    filters = tuple(subscriptions(chosen.rules))
    path = chosen.journal or (state / f"bridge-{chosen.client_id}.journal" if state else None)
    journal = ArrivalJournal(path if any(rule.by_arrival for rule in rules) else None)
    link = MqttLink(
        LinkOptions(
            address=address,
            client_id=chosen.client_id,
            filters=filters,
            mqtt5=chosen.protocol == "5",
            session_expiry=round(chosen.session_expiry),
            keepalive=round(chosen.keepalive),
            max_in_flight=chosen.max_in_flight,
            accept_retained=chosen.retained == "accept",
        )
    )
    options = BridgeOptions(
        rules=rules,
        accept_retained=chosen.retained == "accept",
        max_payload_bytes=chosen.max_payload_bytes,
        max_in_flight=chosen.max_in_flight,
        drain_seconds=chosen.drain,
    )
    publisher = Publisher(client_config(settings.kafka))
    topic = settings.topics.readings

    def carrier() -> Carrier:
        courier = Courier(publisher, codec, topic)
        return Carrier(publisher, courier, topic, chosen.client_id, time_bounds(settings), clock)

    def rounds(settle: Settle, on_failure: Callable[[], None]) -> Rounds[Arrival]:
        return Rounds(publisher, carrier, settle, lambda _: 1, clock, on_failure)

    bridge = Bridge(options, link, journal, clock, metrics, rounds)
    _LOG.info("bridging", mqtt=str(address), topics=list(filters), readings=topic)
    with HealthServer(
        chosen.metrics_host, chosen.metrics_port, metrics.registry, lambda: bridge.alive, lambda: bridge.ready
    ):
        bridge.run(stop)
