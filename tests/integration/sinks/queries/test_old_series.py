"""Series whose old readings were dropped for their age: what is kept of them is shown."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from sinks.dashboard import DashboardSources
from sinks.dashboard.data import ChartQuestion, DashboardData
from sinks.dashboard.shapes import ms
from sinks.queries.connection import Readers
from sinks.queries.series import Abilities, abilities_of, newest, oldest
from sinks.timescale.maintain import maintain
from sinks.timescale.migrate import migrate
from sinks.timescale.policies import Ages
from sinks.timescale.rollups import kept_as_tables
from tests.support.sinks import new_database

pytestmark = pytest.mark.integration

DAY = 86_400.0
STEP = timedelta(minutes=7)
FIRST = datetime.now(UTC).replace(minute=0, second=30, microsecond=0) + timedelta(minutes=4, days=-20)
LAST = {"long": timedelta(days=20), "ended": timedelta(days=2)}
INSERT = """INSERT INTO readings SELECT %s, 'power', time, 1.0
            FROM generate_series(%s::timestamptz, %s, interval '7 minutes') AS time"""


@contextmanager
def connected(database):
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


def drop_readings(connection):
    """What retention does to readings older than three days, when they are rolled up."""
    if kept_as_tables(connection):
        maintain(connection, Ages(keep_readings=3 * DAY))
        return
    for view in ("readings_by_minute", "readings_hourly"):
        connection.execute(f"CALL refresh_continuous_aggregate('{view}', NULL, NULL)")
    connection.execute("SELECT drop_chunks('readings', now() - interval '3 days')")


@pytest.fixture
def database(every_database_server):
    with new_database(every_database_server) as made:
        with connected(made) as connection:
            migrate(connection)
            for device, length in LAST.items():
                connection.execute(INSERT, (device, FIRST, FIRST + length))
        yield made


def ends(connection, device, abilities):
    return tuple(end(connection, device, "power", abilities) for end in (oldest, newest))


def test_a_series_begins_and_ends_where_its_rollups_do(database):
    with connected(database) as connection:
        last = {device: newest(connection, device, "power", Abilities()) for device in LAST}
        drop_readings(connection)
        abilities = abilities_of(connection)
        assert abilities.rollups == {"readings_by_minute", "readings_hourly"}
        assert oldest(connection, "long", "power", Abilities()) > FIRST + timedelta(days=10)
        assert ends(connection, "ended", Abilities()) == (None, None)
        begin = FIRST.replace(minute=0, second=0)
        assert ends(connection, "long", abilities) == (begin, last["long"])
        assert ends(connection, "ended", abilities) == (begin, last["ended"].replace(second=0))
        assert ends(connection, "nobody", abilities) == (None, None)

        connection.execute(
            f"TRUNCATE {'rollup_minutes' if kept_as_tables(connection) else 'readings_by_minute'}"
        )
        assert ends(connection, "ended", abilities) == (begin, last["ended"].replace(minute=0, second=0))


def test_a_young_series_begins_with_its_first_reading(database):
    with connected(database) as connection:
        connection.execute(INSERT, ("young", FIRST + timedelta(days=19, minutes=13), FIRST + timedelta(20)))
        drop_readings(connection)
        found = oldest(connection, "young", "power", abilities_of(connection))
    assert found == FIRST + timedelta(days=19, minutes=13)


def test_a_diagram_of_all_begins_where_the_rollups_do(database):
    with connected(database) as connection:
        drop_readings(connection)
    readers = Readers(SecretStr(database.url))
    readers.open()
    try:
        data = DashboardData(DashboardSources(connection=readers.connection))
        shown = data.charts(ChartQuestion("long", None, None, 400))
    finally:
        readers.close()
    assert shown["from"] == ms(FIRST.replace(minute=0, second=0))
    (chart,) = shown["metrics"]
    assert chart["t"][0] <= shown["from"]
    assert (
        sum(chart["count"]) == 1 + timedelta(days=20) // STEP if "count" in chart else len(chart["t"]) > 100
    )
