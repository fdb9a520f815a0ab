"""Reading a changelog partition to its real end, without Faust."""

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.errors import SigmawatchError
from schemas.kafka import client_config, new_client
from schemas.settings import Settings

_FOR_GOOD = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own codes are named so
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
}


def changelog_reader(settings: Settings, topic: str) -> Callable[[int], list[tuple[bytes, bytes | None]]]:
    """A function that reads one partition of `topic` from its beginning to its end: (key, value) by record.

    The end is where fetches say it is, which the embedded broker too gets right; an outage is waited out, so it
    blocks. It raises SigmawatchError where the topic is missing or may not be read.
    """
    config = {
        **client_config(settings.kafka),
        "group.id": f"{settings.processor.group}-restore",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_uncommitted",
    }

    def read(partition: int) -> list[tuple[bytes, bytes | None]]:
        records: list[tuple[bytes, bytes | None]] = []
        consumer = new_client(Consumer, config)
        try:
            consumer.assign([TopicPartition(topic, partition, 0)])
            while True:
                for message in consumer.consume(10_000, timeout=1.0):
                    error = message.error()
                    if error is None:
                        records.append((message.key() or b"", message.value()))
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                        return records
                    elif error.fatal() or error.code() in _FOR_GOOD:
                        raise SigmawatchError(f"changelog {topic}[{partition}]: {error.str()}")
        finally:
            consumer.close()

    return read
