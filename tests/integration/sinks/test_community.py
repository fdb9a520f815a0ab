"""TimescaleDB's community edition: the columnstore and the kept rollup, and the sink at work on them.

They run where the most real of the chosen databases is one; SIGMAWATCH_TEST_DATABASE_URL may name it.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from schemas.errors import DatabaseError
from schemas.readings import AnomalySeverity, AnomalyState, Reading
from sinks.logs import Counts, LogId
from sinks.timescale import migrate as migrating
from sinks.timescale.migrate import Strength, inspect_server, migrate, packaged_migrations, status
from tests.support import servers
from tests.support.sinks import Database, DatabaseServer, anomaly, new_database, new_role, wait_until
from tests.support.writing import LOG, Sink, anomalies_batch, as_rows, readings_batch, sink_on, stored

pytestmark = pytest.mark.integration

LONG_AGO = 1_577_836_800_000_000
"""The first of January 2020: old enough for the columnstore on every machine's clock, µs."""


@pytest.fixture(scope="module")
def community_server(real_database_server: DatabaseServer) -> DatabaseServer:
    with (
        new_database(real_database_server) as probe,
        psycopg.connect(probe.url, autocommit=True) as connection,
    ):
        migrate(connection)
        server = inspect_server(connection)
    if server.strength is not Strength.COMMUNITY:
        pytest.skip(
            f"no community edition: {servers.OWN_DATABASE} may name one; here is {server.strength.text}"
        )
    return real_database_server


@pytest.fixture
def store(community_server: DatabaseServer) -> Iterator[Database]:
    with new_database(community_server) as fresh:
        yield fresh


@pytest.fixture
def sink(store: Database) -> Iterator[Sink]:
    with sink_on(store) as made:
        yield made


def old_readings(devices: int, each: int, start: int = 0, step: int = 60_000_000) -> list[Reading]:
    """A reading a minute, from 2020 on."""
    return [
        Reading(f"device-{device:03d}", "temperature", LONG_AGO + (start + i) * step, float(i), None)
        for i in range(each)
        for device in range(devices)
    ]


def new_readings(devices: int, each: int) -> list[Reading]:
    """A reading a second, up to now."""
    now = time.time_ns() // 1000
    return [
        replace(reading, time=now - i * 1_000_000) for i, reading in enumerate(old_readings(devices, each))
    ]


def jobs(store: Database) -> dict[str, tuple[int, dict[str, Any], float]]:
    """Procedure -> (id, configuration, seconds between two runs) of this database's own policies."""
    rows = store.query(
        """SELECT proc_name, job_id, config, extract(epoch from schedule_interval)::float8
           FROM timescaledb_information.jobs
           WHERE hypertable_schema = current_schema() AND job_id >= 1000"""
    )
    return {name: (job, config, seconds) for name, job, config, seconds in rows}


def run_policy(store: Database, name: str) -> None:
    """Run a policy now, as the scheduler would; where that is at it at the same time, one of the two gives up."""
    job = jobs(store)[name][0]

    def ran() -> bool:
        try:
            store.query(f"CALL run_job({job})")
        except (psycopg.errors.DataException, psycopg.errors.LockNotAvailable):
            return False
        return True

    wait_until(ran, name)


def chunks(store: Database) -> dict[bool, int]:
    """In the columnstore or not -> number of chunks of readings."""
    rows = store.query(
        """SELECT is_compressed, count(*) FROM timescaledb_information.chunks
           WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings' GROUP BY 1"""
    )
    return dict(rows)


def compare_rollup(store: Database) -> None:
    """What is kept equals what the readings give now."""
    kept = "SELECT device_id, metric, hour, readings, mean, lowest, highest FROM readings_hourly"
    now = """SELECT device_id, metric, date_trunc('hour', time, 'UTC'), count(*), sum(value) / count(*),
                    min(value), max(value)
             FROM readings GROUP BY 1, 2, 3"""
    assert store.query(f"({kept} EXCEPT ALL {now}) UNION ALL ({now} EXCEPT ALL {kept})") == []


def check_policies(store: Database) -> None:
    columnstore = store.query(
        """SELECT segmentby, orderby FROM timescaledb_information.hypertable_columnstore_settings
           WHERE hypertable = 'readings'::regclass"""
    )
    assert [(segment.replace(" ", ""), order.strip('"')) for segment, order in columnstore] == [
        ("device_id,metric", "time")
    ]
    rollup = store.query(
        """SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates
           WHERE view_schema = current_schema()"""
    )
    assert rollup == [("readings_hourly", False)]
    policies = jobs(store)
    assert policies["policy_compression"][1]["compress_after"] == "7 days"
    _, config, seconds = policies["policy_refresh_continuous_aggregate"]
    assert (config["start_offset"], config["end_offset"], seconds) == (None, "01:00:00", 1800.0)


def test_an_empty_database_gets_columnstore_rollup_and_policies(store: Database) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        assert migrate(connection) == list(packaged_migrations())
        assert migrate(connection) == []
        assert {row.state for row in status(connection)} == {"applied"}
    check_policies(store)


@pytest.mark.parametrize(
    "before", [Strength.PLAIN, Strength.APACHE], ids=lambda strength: strength.name.lower()
)
def test_a_database_that_becomes_community_keeps_its_rows(
    store: Database, monkeypatch: pytest.MonkeyPatch, before: Strength
) -> None:
    """What such a server leaves behind; the licence itself is the whole server's, so it is not changed here."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        with monkeypatch.context() as weaker:
            weaker.setattr(
                migrating, "inspect_server", lambda link: replace(inspect_server(link), strength=before)
            )
            assert {m.needs for m in migrate(connection)} == {s for s in Strength if s <= before}
        connection.execute(
            """INSERT INTO readings SELECT 'd', 'm', '2020-01-01'::timestamptz + i * INTERVAL '1 minute', i
               FROM generate_series(0, 4999) AS i"""
        )
        before_rows = store.query("SELECT * FROM readings_hourly ORDER BY hour")
        assert {m.needs for m in migrate(connection)} == {s for s in Strength if s > before}
        assert migrate(connection) == []
    check_policies(store)
    for policy in jobs(store):
        run_policy(store, policy)
    assert store.query("SELECT count(*), sum(value) FROM readings") == [(5000, 12_497_500.0)]
    assert store.query("SELECT * FROM readings_hourly ORDER BY hour") == before_rows
    assert chunks(store) == {True: 4}


def test_old_readings_go_into_the_columnstore_and_stay_one_row_a_key(sink: Sink) -> None:
    """Late and repeated readings of days that are packed: by COPY, and by the staging table."""
    readings = old_readings(20, 3000)
    sink.write(readings_batch(readings))
    run_policy(sink.store, "policy_compression")
    assert chunks(sink.store) == {True: 3}
    assert stored(sink.store) == as_rows(readings)

    late = [replace(reading, time=reading.time + 30_000_000) for reading in old_readings(20, 100, start=700)]
    assert sink.write(readings_batch(late, first=60_000))[LOG].counts == Counts(stored=2000)
    repeated = [replace(reading, value=-1.0) for reading in [*readings[5000:9000], *late[:500]]]
    later = [replace(reading, time=reading.time + 45_000_000) for reading in old_readings(20, 100, start=700)]
    mixed = [reading for pair in zip(repeated, later, strict=False) for reading in pair] + repeated[2000:]
    assert sink.write(readings_batch(mixed, first=62_000))[LOG].counts == Counts(stored=2000, duplicates=4500)
    assert stored(sink.store) == as_rows([*readings, *late, *later])

    run_policy(sink.store, "policy_compression")
    assert chunks(sink.store) == {True: 3}
    assert stored(sink.store) == as_rows([*readings, *late, *later])
    again = len(mixed) + 62_000
    assert sink.write(readings_batch(late, first=again))[LOG].counts == Counts(duplicates=2000)


def test_the_columnstore_is_a_fraction_of_the_size(sink: Sink) -> None:
    sink.write(readings_batch(old_readings(20, 1440)))
    run_policy(sink.store, "policy_compression")
    ((before, after),) = sink.store.query(
        """SELECT before_compression_total_bytes, after_compression_total_bytes
           FROM hypertable_columnstore_stats('readings')"""
    )
    assert after < before / 5


def test_the_rollup_is_kept_and_follows_late_readings(sink: Sink) -> None:
    readings = old_readings(10, 3000)
    fresh = new_readings(10, 30)
    sink.write(readings_batch([*readings, *fresh]))
    compare_rollup(sink.store)  # nothing is kept yet
    run_policy(sink.store, "policy_refresh_continuous_aggregate")
    compare_rollup(sink.store)
    run_policy(sink.store, "policy_compression")
    late = [replace(reading, time=reading.time + 1, value=1e6) for reading in readings[::100]]
    sink.write(readings_batch(late, first=30_300))
    run_policy(sink.store, "policy_refresh_continuous_aggregate")
    compare_rollup(sink.store)
    kept = "SELECT sum(readings)::int8 FROM readings_hourly WHERE hour < '2020-02-01'"
    assert sink.store.query(kept) == [(30_300,)]


def test_policies_at_work_while_the_sink_writes(sink: Sink) -> None:
    """Chunks are packed and hours rolled up under its hands: every row once, every counter exact."""
    done = threading.Event()
    runs = {"policy_compression": 0, "policy_refresh_continuous_aggregate": 0}

    def work(name: str) -> None:
        while not done.is_set():
            run_policy(sink.store, name)
            runs[name] += 1

    threads = [threading.Thread(target=work, args=[name]) for name in runs]
    for thread in threads:
        thread.start()
    readings, total, offset = [], Counts(), 0
    try:
        for turn in range(20):
            part = old_readings(10, 200, start=150 * turn)  # a quarter of each was there before
            readings += part
            total += sink.write(readings_batch(part, first=offset))[LOG].counts
            offset += len(part)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert min(runs.values()) > 1
    assert total == Counts(stored=30_500, duplicates=9_500)
    assert sink.store.totals() == {"readings": (30_500, 0, 9_500, 0)}
    assert stored(sink.store) == as_rows(
        list({(r.device_id, r.time): r for r in reversed(readings)}.values())
    )
    run_policy(sink.store, "policy_refresh_continuous_aggregate")
    compare_rollup(sink.store)


def test_an_owner_who_cannot_run_policies_is_told(community_server: DatabaseServer) -> None:
    with (
        new_database(community_server, "TEMPLATE template0") as empty,
        new_role(empty, "NOLOGIN") as owner,
        psycopg.connect(empty.url, autocommit=True) as connection,
    ):
        connection.execute("CREATE EXTENSION timescaledb")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner}".encode())
        with pytest.raises(DatabaseError, match="ALTER ROLE"):
            migrate(connection)
        assert [row.state for row in status(connection) if row.needs is Strength.COMMUNITY] == [
            "pending",
            "pending",
        ]
        connection.execute(f"RESET ROLE; ALTER ROLE {owner} LOGIN; SET ROLE {owner}".encode())
        assert [m.needs for m in migrate(connection)] == [Strength.COMMUNITY] * 2 + [Strength.PLAIN]


def test_settings_of_the_users_own_stay(store: Database) -> None:
    """Somebody who has set up a columnstore before us knows his data better."""
    community = [migration for migration in packaged_migrations() if migration.needs is Strength.COMMUNITY]
    with psycopg.connect(store.url, autocommit=True) as connection:
        migrate(connection, [m for m in packaged_migrations() if m.needs is not Strength.COMMUNITY])
        connection.execute(
            """ALTER TABLE readings SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'metric');
               CALL add_columnstore_policy('readings', after => INTERVAL '90 days')"""
        )
        assert migrate(connection) == community
    assert jobs(store)["policy_compression"][1]["compress_after"] == "90 days"
    assert store.query(
        """SELECT segmentby FROM timescaledb_information.hypertable_columnstore_settings
           WHERE hypertable = 'readings'::regclass"""
    ) == [("metric",)]


def test_anomalies_that_somebody_packed_get_their_new_columns(store: Database) -> None:
    """A columnstore of the user's own on `anomalies`, with rows in it: the columns come, and an old episode ends."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        migrate(connection, [m for m in packaged_migrations() if m.name != "anomaly_details"])
        connection.execute(
            """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, value, score, mean, std, lower,
                   upper, readings, detected_at)
               VALUES ('00000000-0000-0000-0000-000000000001', 'device-1', 'temperature', 'deviation', 'OPENED',
                   '2020-01-01', 9, 5, 1, 1, 0, 2, 1, '2020-01-01')"""
        )
        connection.execute("ALTER TABLE anomalies SET (timescaledb.enable_columnstore)")
        connection.execute("SELECT compress_chunk(show_chunks('anomalies'))")
        assert [m.name for m in migrate(connection)] == ["anomaly_details"]
    details = "SELECT state, severity, channel, expected, reason, storm_id FROM anomalies"
    assert store.query(details) == [("OPENED", "WARNING", "", None, "", None)]
    with sink_on(store) as sink:
        log = LogId("anomalies", "life-1", 0)
        sink.position(log)
        ended = anomaly(
            1,
            AnomalyState.CLEARED,
            opened_at=LONG_AGO,
            severity=AnomalySeverity.INFO,
            channel="jump",
            reason="why",
        )
        assert sink.write(anomalies_batch([ended], 0))[log].counts == Counts(updated=1)
    assert store.query(details) == [("CLEARED", "INFO", "jump", None, "why", None)]


def test_retention_that_keeps_the_rollup(sink: Sink) -> None:
    """The statements in docs/operation.md."""
    sink.write(readings_batch([*old_readings(10, 3000), *new_readings(10, 30)]))
    run_policy(sink.store, "policy_refresh_continuous_aggregate")
    before = sink.store.query("SELECT * FROM readings_hourly ORDER BY 1, 2, 3")
    sink.store.query(
        """SELECT add_retention_policy('readings', INTERVAL '365 days');
           SELECT remove_continuous_aggregate_policy('readings_hourly');
           SELECT add_continuous_aggregate_policy('readings_hourly', start_offset => INTERVAL '360 days',
               end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes')"""
    )
    run_policy(sink.store, "policy_retention")
    run_policy(sink.store, "policy_refresh_continuous_aggregate")
    assert sink.store.query("SELECT count(*) FROM readings WHERE time < '2021-01-01'") == [(0,)]
    assert sink.store.query("SELECT * FROM readings_hourly ORDER BY 1, 2, 3") == before
