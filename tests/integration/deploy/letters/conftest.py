"""Fixtures of the dead letters' tests: topics and a database of their own."""

import pytest

from deploy.letters.reading import existing_topics
from tests.support.letters import settings_on
from tests.support.sinks import Topics, database, topics
from tests.support.waiting import until

__all__ = ["database", "topics"]


@pytest.fixture(autouse=True)
def _listed(topics: Topics) -> None:
    """A topic that was made is listed a little later, on Kafka; the commands take what is not listed for missing."""
    named = {topics.readings, topics.anomalies, topics.devices}
    wanted = named | {f"{name}.dlq" for name in named}
    until(lambda: wanted <= existing_topics(settings_on(topics)).keys(), what="the topics are listed")
