"""`sink mqtt` put together from the settings."""

import structlog

from schemas.codec import Codec
from schemas.kafka import client_config
from schemas.mqtt.address import parse_address
from schemas.mqtt.link import LinkOptions
from schemas.mqtt.publishing import PublishingLink
from schemas.settings import Settings
from sinks.dead_letters import dead_letter_office_of
from sinks.kafka import consumer_defaults
from sinks.mqtt.topics import AnomalyTopics
from sinks.mqtt.worker import MqttSink, MqttSinkOptions

_LOG = structlog.get_logger(__name__)


def mqtt_sink(settings: Settings, codec: Codec) -> MqttSink:
    """`sink mqtt` as the settings want it; connects to nothing yet.

    Raises:
        ConfigError: mqtt_sink.url is missing, or something is wrong with it.
    """
    chosen = settings.mqtt_sink
    link = LinkOptions(
        address=parse_address(chosen.url, chosen, "mqtt_sink.url"),
        client_id=chosen.client_id,
        filters=(),
        mqtt5=chosen.protocol == "5",
        session_expiry=0,
        keepalive=round(chosen.keepalive),
        section="mqtt_sink",
        persistent=False,
    )
    topics = AnomalyTopics(chosen.prefix, chosen.topic)
    _LOG.info("publishing anomalies by MQTT", broker=str(link.address), topic=chosen.topic)
    options = MqttSinkOptions(
        group=chosen.group,
        consumer=client_config(settings.kafka, **consumer_defaults(chosen.group)),
        client_id=chosen.client_id,
        topics=topics,
        topic=settings.topics.anomalies,
        retain_open=chosen.retain_open,
        max_in_flight=chosen.max_in_flight,
    )
    return MqttSink(
        options,
        codec,
        lambda will: PublishingLink(link, will),
        dead_letter_office_of(settings, chosen.group),
    )
