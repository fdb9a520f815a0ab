"""Before the parts start: topics and tables, and what lies there of runs before."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from deploy.clients import admin_client, connect_database, require_broker
from deploy.reading import ends_of
from deploy.stack.committed import committed_offsets
from deploy.stack.database import Database

if TYPE_CHECKING:
    from schemas.settings import Settings

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run begins with.

    Attributes:
        topic_ids: topic -> Kafka's id.
        partitions: of the readings; topics that were there may have other numbers of them than the settings say.
        since: the database's time.
    """

    topic_ids: dict[str, str]
    partitions: int
    since: datetime


def prepare(settings: "Settings", tell: Tell) -> Prepared:
    """Make the topics and tables that are missing; blocks.

    Raises:
        SigmawatchError: broker or database cannot be reached, or refuse.
    """
    from schemas.topics import create_topics, topic_specs  # noqa: PLC0415
    from sinks.kafka import TopicIds  # noqa: PLC0415
    from sinks.timescale.migrate import inspect_server, migrate  # noqa: PLC0415

    admin = admin_client(settings)
    require_broker(settings, admin)
    result = create_topics(admin, topic_specs(settings))
    partitions = len(require_broker(settings, admin).topics[settings.topics.readings].partitions)
    with connect_database(settings) as connection:
        applied = migrate(connection)
        strength = inspect_server(connection).strength
    made = f"{len(result.created)} topics made" if result.created else "topics are there"
    tables = f"{len(applied)} migrations applied" if applied else "tables are there"
    tell(f"{made}, {tables}; the database is {strength.text}")
    ids = TopicIds(admin, (settings.topics.readings, settings.topics.anomalies, settings.topics.devices))
    database = Database(settings)
    try:
        found = database.readings_of_before()
        since = database.now()
    finally:
        database.close()
    if found != "0":
        tell(f"found {found} readings of before")
    if settings.topics.readings in result.existing:
        _tell_waiting(settings, partitions, tell)
    return Prepared(ids.answer(ids.request()), partitions, since)


def _tell_waiting(settings: "Settings", partitions: int, tell: Tell) -> None:
    """Say how many readings wait in the topic for the processors."""
    committed = committed_offsets(settings, partitions)
    ends = ends_of(settings, [settings.topics.readings])
    waiting = sum(max(0, end - committed.get(number, 0)) for (_, number), end in ends.items())
    if waiting:
        tell(f"catching up first with {waiting:,} readings that wait in the topic")
