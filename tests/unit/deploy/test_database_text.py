"""How a database stands and what its maintenance did, in words and as JSON."""

import json
from datetime import UTC, datetime

import pytest

from deploy.cli.database_text import maintained_json, maintained_lines, size_text, status_json, status_lines
from sinks.timescale.maintain import Maintained
from sinks.timescale.migrate import MigrationStatus, Server, Strength
from sinks.timescale.policies import Policy
from sinks.timescale.status import DatabaseStatus, RollupStatus, TableStatus

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (14_430_000, "14.4 MB"),
        (999_900, "1.0 MB"),
        (3.2e14, "320 TB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


def community() -> DatabaseStatus:
    return DatabaseStatus(
        Server(150018, "2.28.3", Strength.COMMUNITY),
        46_700_000,
        [TableStatus("readings", 2_000_000, False, 14_400_000, AT, AT, 40, 32, 44_100_000, 2_400_000)],
        [
            RollupStatus("readings_by_minute", "continuous aggregate", AT, 1000),
            RollupStatus("readings_hourly", "continuous aggregate", None, 0),
        ],
        [Policy(1000, "compression", "readings", 60.0, {"compress_after": "7 days"}, AT, "Failed", None, 3)],
        None,
        0,
        None,
        [MigrationStatus(1, "tables", Strength.PLAIN, "applied", AT)],
    )


def test_a_community_database() -> None:
    text = "\n".join(status_lines(community()))
    assert (
        "community edition (compression, continuous aggregates, policies); PostgreSQL 15.18, TimescaleDB 2.28.3"
        in text
    )
    assert (
        "about 2,000,000 rows, 14.4 MB, 40 chunks, 32 compressed (44.1 MB became 2.4 MB), from 2026-01-02 03:04:05"
        in text
    )
    assert "readings_by_minute: kept as continuous aggregate up to 2026-01-02 03:04:05, 1.0 kB" in text
    assert "readings_hourly: kept as continuous aggregate, nothing yet" in text
    assert "compression of readings after 7 days: last 2026-01-02 03:04:05 Failed, 3 failed" in text
    assert "applied    001_tables  2026-01-02 03:04:05" in text
    assert "maintain" not in text


def test_a_plain_database() -> None:
    status = DatabaseStatus(
        Server(180006, None, Strength.PLAIN),
        1000,
        [TableStatus("readings", 1, True, 24_600, None, None, None, 0, 0, 0)],
        [
            RollupStatus("readings_hourly", "table", AT, 500),
            RollupStatus("readings_by_minute", "computed", None, 0),
        ],
        [],
        AT,
        7,
        AT,
        [],
    )
    text = "\n".join(status_lines(status))
    assert "plain PostgreSQL (tables and indexes); PostgreSQL 18.6\n" in text
    assert "readings   1 rows, 24.6 kB\n" in text
    assert "readings_by_minute: computed when asked" in text
    assert "maintain   last 2026-01-02 03:04:05; 7 marks of late readings wait" in text
    assert "dropped    readings before 2026-01-02 03:04:05" in text


def test_status_as_json() -> None:
    found = json.loads(json.dumps(status_json(community())))
    assert (found["server"], found["timescaledb"], found["postgres"]) == ("community", "2.28.3", 150018)
    assert found["tables"][0]["compressed_chunks"] == 32
    assert found["tables"][0]["oldest"] == AT.isoformat()
    assert found["migrations"] == [{"name": "001_tables", "state": "applied", "applied_at": AT.isoformat()}]
    assert found["policies"][0]["last_status"] == "Failed"


def test_what_a_run_did() -> None:
    done = Maintained(
        Strength.PLAIN,
        rolled_up={"readings_by_minute": 1200, "readings_hourly": 0},
        kept_before={"readings_by_minute": AT, "readings_hourly": None},
        marks=3,
        dropped={"readings": 50},
    )
    assert list(maintained_lines(done, dry_run=False)) == [
        "kept 1,200 rows of readings_by_minute, up to 2026-01-02 03:04:05",
        "rolled up anew for 3 marks of late readings",
        "dropped 50 rows of readings",
    ]
    assert (
        next(maintained_lines(done, dry_run=True))
        == "would keep readings_by_minute up to 2026-01-02 03:04:05"
    )
    found = json.loads(json.dumps(maintained_json(done, dry_run=False)))
    assert (found["server"], found["dropped"], found["marks"]) == ("plain", {"readings": 50}, 3)


def test_what_a_run_on_the_community_edition_did() -> None:
    done = Maintained(Strength.COMMUNITY, policies=["readings: dropped when older than 30 days"])
    assert list(maintained_lines(done, dry_run=False)) == ["set  readings: dropped when older than 30 days"]
    assert list(maintained_lines(Maintained(Strength.APACHE, busy=True), dry_run=False)) == [
        "another process maintains the database now"
    ]
