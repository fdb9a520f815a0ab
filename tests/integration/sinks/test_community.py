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
from sinks.timescale.maintain import maintain
from sinks.timescale.migrate import Strength, inspect_server, migrate, packaged_migrations, status
from sinks.timescale.policies import Ages, Policy, policies
from sinks.timescale.status import database_status
from tests.support import servers
from tests.support.sinks import Database, DatabaseServer, anomaly, new_database, new_role
from tests.support.waiting import until
from tests.support.writing import LOG, Sink, anomalies_batch, as_rows, readings_batch, sink_on, stored

pytestmark = pytest.mark.integration

DAY = 86_400.0
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
        store.query(
            "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
        running = "SELECT count(*) FROM timescaledb_information.job_stats WHERE job_id >= 1000 AND job_status = 'Running'"
        until(lambda: store.query(running) == [(0,)], what="the policies' first runs end")
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


COMPRESSION = ("compression", "readings")
REFRESH_HOURS = ("refresh", "readings_hourly")
REFRESH_MINUTES = ("refresh", "readings_by_minute")


def jobs(store: Database) -> dict[tuple[str, str], Policy]:
    """(kind, table) -> policy."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        return {(policy.kind, policy.table): policy for policy in policies(connection)}


def run_policy(store: Database, policy: tuple[str, str]) -> None:
    """Run a policy now, as the scheduler would; where that is at it at the same time, one of the two gives up."""
    job = jobs(store)[policy].job_id

    def ran() -> bool:
        try:
            store.query(f"CALL run_job({job})")
        except (psycopg.errors.DataException, psycopg.errors.LockNotAvailable):
            return False
        return True

    until(ran, what=f"{policy} runs")


def refresh(store: Database) -> None:
    run_policy(store, REFRESH_HOURS)
    run_policy(store, REFRESH_MINUTES)


def chunks(store: Database) -> dict[bool, int]:
    """In the columnstore or not -> number of chunks of readings."""
    rows = store.query(
        """SELECT is_compressed, count(*) FROM timescaledb_information.chunks
           WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings' GROUP BY 1"""
    )
    return dict(rows)


def compare_rollup(store: Database) -> None:
    """What is kept equals what the readings give now."""
    for view, bucket in (("readings_hourly", "hour"), ("readings_by_minute", "minute")):
        kept = f"SELECT device_id, metric, {bucket}, readings, mean, lowest, highest FROM {view}"
        now = f"""SELECT device_id, metric, date_trunc('{bucket}', time, 'UTC'), count(*), sum(value) / count(*),
                         min(value), max(value)
                  FROM readings GROUP BY 1, 2, 3"""
        assert store.query(f"({kept} EXCEPT ALL {now}) UNION ALL ({now} EXCEPT ALL {kept})") == [], view


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
    assert sorted(rollup) == [("readings_by_minute", False), ("readings_hourly", False)]
    found = jobs(store)
    assert set(found) == {COMPRESSION, REFRESH_HOURS, REFRESH_MINUTES}
    assert found[COMPRESSION].config["compress_after"] == "7 days"
    hours, minutes = found[REFRESH_HOURS], found[REFRESH_MINUTES]
    assert (hours.config["start_offset"], hours.config["end_offset"]) == (None, "01:00:00")
    assert (minutes.config["start_offset"], minutes.config["end_offset"]) == (None, "00:02:00")
    assert (hours.interval_seconds, minutes.interval_seconds) == (1800.0, 300.0)
    leftovers = "SELECT relname FROM pg_class WHERE relname LIKE 'rollup%%' OR relname = 'maintenance'"
    assert store.query(leftovers) == []


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
    run_policy(sink.store, COMPRESSION)
    assert chunks(sink.store) == {True: 3}
    assert stored(sink.store) == as_rows(readings)

    late = [replace(reading, time=reading.time + 30_000_000) for reading in old_readings(20, 100, start=700)]
    assert sink.write(readings_batch(late, first=60_000))[LOG].counts == Counts(stored=2000)
    repeated = [replace(reading, value=-1.0) for reading in [*readings[5000:9000], *late[:500]]]
    later = [replace(reading, time=reading.time + 45_000_000) for reading in old_readings(20, 100, start=700)]
    mixed = [reading for pair in zip(repeated, later, strict=False) for reading in pair] + repeated[2000:]
    assert sink.write(readings_batch(mixed, first=62_000))[LOG].counts == Counts(stored=2000, duplicates=4500)
    assert stored(sink.store) == as_rows([*readings, *late, *later])

    run_policy(sink.store, COMPRESSION)
    assert chunks(sink.store) == {True: 3}
    assert stored(sink.store) == as_rows([*readings, *late, *later])
    again = len(mixed) + 62_000
    assert sink.write(readings_batch(late, first=again))[LOG].counts == Counts(duplicates=2000)


def test_the_columnstore_is_a_fraction_of_the_size(sink: Sink) -> None:
    sink.write(readings_batch(old_readings(20, 1440)))
    run_policy(sink.store, COMPRESSION)
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
    refresh(sink.store)
    compare_rollup(sink.store)
    run_policy(sink.store, COMPRESSION)
    late = [replace(reading, time=reading.time + 1, value=1e6) for reading in readings[::100]]
    sink.write(readings_batch(late, first=30_300))
    refresh(sink.store)
    compare_rollup(sink.store)
    kept = "SELECT sum(readings)::int8 FROM readings_hourly WHERE hour < '2020-02-01'"
    assert sink.store.query(kept) == [(30_300,)]


def test_policies_at_work_while_the_sink_writes(sink: Sink) -> None:
    """Chunks are packed and hours rolled up under its hands: every row once, every counter exact."""
    done = threading.Event()
    runs = {COMPRESSION: 0, REFRESH_HOURS: 0, REFRESH_MINUTES: 0}

    def work(name: tuple[str, str]) -> None:
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
    refresh(sink.store)
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
            "pending",
        ]
        connection.execute(f"RESET ROLE; ALTER ROLE {owner} LOGIN; SET ROLE {owner}".encode())
        assert [m.needs for m in migrate(connection)].count(Strength.COMMUNITY) == 3


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
    assert jobs(store)[COMPRESSION].config["compress_after"] == "90 days"
    assert store.query(
        """SELECT segmentby FROM timescaledb_information.hypertable_columnstore_settings
           WHERE hypertable = 'readings'::regclass"""
    ) == [("metric",)]


def test_anomalies_that_somebody_packed_get_their_new_columns(store: Database) -> None:
    """A columnstore of the user's own on `anomalies`, with rows in it: the columns come, and an old episode ends."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        migrate(connection, [m for m in packaged_migrations() if m.version < 6])
        connection.execute(
            """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, value, score, mean, std, lower,
                   upper, readings, detected_at)
               VALUES ('00000000-0000-0000-0000-000000000001', 'device-1', 'temperature', 'deviation', 'OPENED',
                   '2020-01-01', 9, 5, 1, 1, 0, 2, 1, '2020-01-01')"""
        )
        connection.execute("ALTER TABLE anomalies SET (timescaledb.enable_columnstore)")
        connection.execute("SELECT compress_chunk(show_chunks('anomalies'))")
        assert migrate(connection)[0].name == "anomaly_details"
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


def apply(store: Database, ages: Ages) -> list[str]:
    with psycopg.connect(store.url, autocommit=True) as connection:
        return maintain(connection, ages).policies


def rolled_up(store: Database) -> list[list[tuple[Any, ...]]]:
    """Both rollups; a standard deviation depends on the order of its readings in the last digits."""
    columns = "readings, mean, round(std::numeric, 9), lowest, highest"
    return [
        store.query(f"SELECT device_id, metric, {bucket}, {columns} FROM {view} ORDER BY 1, 2, 3")
        for view, bucket in (("readings_hourly", "hour"), ("readings_by_minute", "minute"))
    ]


def test_retention_that_keeps_the_rollups(sink: Sink) -> None:
    """`db maintain` sets the policies; what was not rolled up yet is, before the first reading may go."""
    sink.write(readings_batch([*old_readings(10, 3000), *new_readings(10, 30)]))
    before = rolled_up(sink.store)
    year = Ages(keep_readings=365 * DAY)
    assert len(apply(sink.store, year)) == 3
    assert apply(sink.store, year) == []
    run_policy(sink.store, ("retention", "readings"))
    refresh(sink.store)
    assert sink.store.query("SELECT count(*) FROM readings WHERE time < '2021-01-01'") == [(0,)]
    assert rolled_up(sink.store) == before
    # A longer age does not let a refresh reach back to what is gone.
    assert len(apply(sink.store, Ages(keep_readings=20 * 365 * DAY))) == 1
    refresh(sink.store)
    assert rolled_up(sink.store) == before


def test_policies_follow_the_settings(sink: Sink) -> None:
    changed = apply(
        sink.store,
        Ages(keep_readings=90 * DAY, keep_minutes=30 * DAY, keep_hours=400 * DAY, compress_after=3 * DAY),
    )
    assert len(changed) == 6
    found = jobs(sink.store)
    assert found[COMPRESSION].config["compress_after"] == "3 days"
    dropped = {
        table: policy.config["drop_after"] for (kind, table), policy in found.items() if kind == "retention"
    }
    assert dropped == {"readings": "90 days", "readings_by_minute": "30 days", "readings_hourly": "400 days"}
    assert (
        found[REFRESH_HOURS].config["start_offset"]
        == found[REFRESH_MINUTES].config["start_offset"]
        == "89 days"
    )
    with psycopg.connect(sink.store.url, autocommit=True) as connection:
        told = database_status(connection)
    assert len(told.policies) == 6
    assert {rollup.kept_as for rollup in told.rollups} == {"continuous aggregate"}


def test_a_dry_run_sets_nothing(sink: Sink) -> None:
    before = jobs(sink.store)
    with psycopg.connect(sink.store.url, autocommit=True) as connection:
        assert len(maintain(connection, Ages(keep_readings=90 * DAY), dry_run=True).policies) == 3
    assert set(jobs(sink.store)) == set(before)


def test_status_tells_of_compressed_chunks(sink: Sink) -> None:
    sink.write(readings_batch(old_readings(20, 1440)))
    run_policy(sink.store, COMPRESSION)
    with psycopg.connect(sink.store.url, autocommit=True) as connection:
        readings = database_status(connection).tables[0]
    assert (readings.rows, readings.chunks, readings.compressed_chunks) == (28_800, 1, 1)
    assert 0 < readings.compressed_to_bytes < readings.compressed_from_bytes
    assert readings.oldest is not None
    assert readings.oldest.year == 2020


def test_what_maintenance_kept_of_dropped_readings_is_carried_over(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Apache-2 server whose old readings were dropped, and that is then given the community licence."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        with monkeypatch.context() as weaker:
            weaker.setattr(
                migrating,
                "inspect_server",
                lambda link: replace(inspect_server(link), strength=Strength.APACHE),
            )
            migrate(connection)
            connection.execute(
                """INSERT INTO readings SELECT 'd', 'm', now() - i * INTERVAL '1 hour', i FROM generate_series(1, 480) AS i"""
            )
            before = rolled_up(store)
            assert maintain(connection, Ages(keep_readings=5 * DAY)).dropped["readings"] > 10
            assert rolled_up(store) == before
        migrate(connection)
    refresh(store)
    assert rolled_up(store) == before
    assert store.query("SELECT count(*) < 200 FROM readings") == [(True,)]
