"""What the processors' group has committed."""

from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.clients import unreachable
from schemas.kafka import client_config, new_client, settled

if TYPE_CHECKING:
    from schemas.settings import Settings


def committed_offsets(settings: "Settings", partitions: int) -> dict[int, int]:
    """Partition of the readings -> offset that the processors' group has committed.

    Raises:
        UnreachableError: the broker does not answer.
    """
    # Not the admin client: Tansu does not answer its question for a group's offsets.
    group = settings.processor.group
    consumer = new_client(Consumer, client_config(settings.kafka, **{"group.id": group}))
    asked = [TopicPartition(settings.topics.readings, number) for number in range(partitions)]
    try:
        found = settled(partial(consumer.committed, asked, timeout=30.0))
    except KafkaException as error:
        raise unreachable(settings, error) from error
    finally:
        consumer.close()
    return {entry.partition: entry.offset for entry in found if entry.error is None and entry.offset >= 0}
