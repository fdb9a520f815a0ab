"""Rollups that `db maintain` keeps as tables: exact, whatever changes and whenever it is ended, and old readings that go.

On plain PostgreSQL and TimescaleDB's Apache-2 edition. What the community edition does is in test_community.py.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from schemas.errors import DatabaseError
from sinks.timescale import dropping, rollups
from sinks.timescale.maintain import Maintained, maintain
from sinks.timescale.migrate import Strength, migrate
from sinks.timescale.policies import Ages
from sinks.timescale.rollups import rollup_state
from tests.support.sinks import Database, DatabaseServer, new_database
from tests.support.waiting import until

pytestmark = pytest.mark.integration

DAY = 86_400.0

INSERT = "INSERT INTO readings SELECT %s, %s, %s::timestamptz + i * %s::interval, i % 7 FROM generate_series(0, %s - 1) AS i ON CONFLICT DO NOTHING"

VIEWS = {"readings_by_minute": "minute", "readings_hourly": "hour"}


def migrated(store: Database) -> Database:
    with psycopg.connect(store.url, autocommit=True) as connection:
        migrate(connection)
        kept = rollups.kept_as_tables(connection)
    if not kept:
        pytest.skip("the server keeps rollups by itself")
    return store


@pytest.fixture
def plain(plain_database: Database) -> Database:
    """For what chunks make no difference to."""
    return migrated(plain_database)


@pytest.fixture(params=["plain", "real"])
def store(
    request: pytest.FixtureRequest,
    running_databases: Callable[[str], DatabaseServer],
    real_database_server: DatabaseServer,
) -> Iterator[Database]:
    """Plain PostgreSQL, and the most real server."""
    server = running_databases("postgresql") if request.param == "plain" else real_database_server
    with new_database(server) as fresh:
        yield migrated(fresh)


@contextmanager
def connected(store: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(store.url, autocommit=True) as connection:
        yield connection


def now() -> datetime:
    return datetime.now(UTC)


def add(
    connection: psycopg.Connection,
    device: str,
    begin: datetime,
    step: timedelta,
    count: int,
    metric: str = "m",
) -> None:
    connection.execute(INSERT.replace("% 7", "%% 7").encode(), (device, metric, begin, step, count))


def run(store: Database, ages: Ages | None = None) -> Maintained:
    with connected(store) as connection:
        return maintain(connection, ages or Ages())


def compare(store: Database) -> None:
    """The views say what the readings give. Values are small integers, so that sums are exact in any order."""
    for view, bucket in VIEWS.items():
        kept = f"SELECT device_id, metric, {bucket}, readings, mean, round(std::numeric, 9), lowest, highest FROM {view}"
        given = f"""SELECT device_id, metric, date_trunc('{bucket}', time, 'UTC'), count(*), sum(value) / count(*),
                           round(stddev_samp(value)::numeric, 9), min(value), max(value)
                    FROM readings GROUP BY 1, 2, 3"""
        assert store.query(f"({kept} EXCEPT ALL {given}) UNION ALL ({given} EXCEPT ALL {kept})") == [], view


def total(store: Database, view: str = "readings_hourly") -> int:
    ((count,),) = store.query(f"SELECT coalesce(sum(readings), 0)::int8 FROM {view}")
    return int(count)


def kept_rows(store: Database) -> tuple[int, int]:
    ((minutes, hours),) = store.query(
        "SELECT (SELECT count(*) FROM rollup_minutes), (SELECT count(*) FROM rollup_hours)"
    )
    return int(minutes), int(hours)


def test_an_empty_database_has_nothing_to_keep(plain: Database) -> None:
    done = run(plain)
    assert (done.rolled_up, done.marks, done.dropped) == ({}, 0, {})
    assert not done.busy


def test_what_is_over_is_kept_and_the_rest_computed(store: Database) -> None:
    with connected(store) as connection:
        add(connection, "a", now() - timedelta(hours=30), timedelta(seconds=20), 5400)
        add(connection, "b", now() - timedelta(days=700), timedelta(hours=7), 100)  # far away, with holes
        compare(store)
        done = run(store)
        compare(store)
        state = rollup_state(connection)
        assert state.minutes_before is not None
        assert state.hours_before is not None
        assert timedelta(0) < now() - state.minutes_before < timedelta(minutes=10)
        assert state.hours_before <= state.minutes_before <= (state.watched_before or state.minutes_before)
        assert kept_rows(store) == (
            done.rolled_up["readings_by_minute"],
            done.rolled_up["readings_hourly"],
        )
        assert done.rolled_up["readings_hourly"] > 120
        again = run(store)
        assert again.rolled_up["readings_hourly"] == again.marks == 0
        add(connection, "a", now(), timedelta(milliseconds=1), 10)  # the newest: nothing to mark
        assert rollups.waiting_marks(connection) == 0
    compare(store)


def test_late_readings_corrections_and_deletions_count_after_the_next_run(store: Database) -> None:
    with connected(store) as connection:
        begin = now() - timedelta(days=3)
        for device in "abc":
            add(connection, device, begin, timedelta(minutes=1), 4000)
        run(store)
        add(connection, "a", begin + timedelta(seconds=30), timedelta(minutes=10), 100)
        add(connection, "new", begin - timedelta(days=30), timedelta(hours=1), 50)
        connection.execute(
            "UPDATE readings SET value = value + 100 WHERE device_id = 'b' AND time < %s",
            (begin + timedelta(hours=2),),
        )
        connection.execute(
            "UPDATE readings SET time = time - INTERVAL '2 h 1 s' WHERE device_id = 'b' AND time > %s",
            (begin + timedelta(hours=60),),
        )
        connection.execute(
            "DELETE FROM readings WHERE device_id = 'c' AND time < %s", (begin + timedelta(hours=5),)
        )
        assert run(store).marks > 0
        assert rollups.waiting_marks(connection) == 0
    compare(store)


@pytest.mark.parametrize(
    ("series", "each", "step"),
    [(1, 3000, timedelta(hours=1)), (300, 10, timedelta(hours=1))],
    ids=["many-hours", "many-series"],
)
def test_a_history_that_is_brought_in_late_makes_few_marks(
    plain: Database, series: int, each: int, step: timedelta
) -> None:
    with connected(plain) as connection:
        add(connection, "live", now() - timedelta(hours=3), timedelta(minutes=1), 170)
        add(connection, "old", now() - timedelta(days=130), timedelta(hours=5), 600)
        run(plain)
        begin = now() - timedelta(days=126)
        connection.execute(
            """INSERT INTO readings SELECT 'history-' || s, 'm', %s::timestamptz + i * %s::interval, i %% 7
               FROM generate_series(1, %s) AS s, generate_series(0, %s - 1) AS i""",
            (begin, step, series, each),
        )
        assert 0 < rollups.waiting_marks(connection) <= 10
        run(plain)
    compare(plain)


@pytest.mark.parametrize("seed", [1])
def test_whatever_happens_in_whatever_order(
    store: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Inserts, corrections, deletions, runs, and runs that die at one of their steps."""
    draw = random.Random(seed)
    start = now() - timedelta(days=2)

    def moment() -> datetime:
        return start + timedelta(seconds=draw.randrange(2 * 86_400))

    with connected(store) as connection:
        for _ in range(40):
            match draw.randrange(6):
                case 0 | 1:
                    step = timedelta(seconds=draw.choice([1, 37, 600, 4000]))
                    add(
                        connection,
                        draw.choice("abc"),
                        moment(),
                        step,
                        draw.randrange(1, 300),
                        draw.choice("mn"),
                    )
                case 2:
                    a, b = sorted((moment(), moment()))
                    connection.execute(
                        "DELETE FROM readings WHERE device_id = %s AND time BETWEEN %s AND %s",
                        (draw.choice("abc"), a, b),
                    )
                case 3:
                    connection.execute("UPDATE readings SET value = value + 1 WHERE time > %s", (moment(),))
                case 4:
                    run(store)
                case _:
                    _die_somewhere(store, monkeypatch, draw)
    run(store)
    compare(store)


class DeathError(Exception):
    """Of the process, as the test has it."""


def _die_somewhere(store: Database, monkeypatch: pytest.MonkeyPatch, draw: random.Random) -> None:
    left = draw.randrange(1, 5)

    def strike(_point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise DeathError

    with monkeypatch.context() as patched:
        patched.setattr(rollups, "fail_point", strike)
        with suppress(DeathError):
            run(store)


def test_writers_at_work_meanwhile(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is committed while the bounds move is lost, however long its transaction was open."""
    monkeypatch.setattr(rollups, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '120s'")
    done = threading.Event()
    errors: list[Exception] = []

    def write(number: int) -> None:
        draw = random.Random(number)
        try:
            with connected(plain) as connection:
                while not done.is_set():
                    with connection.transaction():
                        for _ in range(3):
                            begin = now() - timedelta(seconds=draw.randrange(900))
                            add(connection, f"d{number}", begin, timedelta(seconds=1), 20)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        runs = [run(plain) for _ in range(12)]
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not errors
    assert sum(each.marks for each in runs) > 0
    run(plain)
    compare(plain)


def test_a_bound_waits_for_who_writes_before_it(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that wrote before the bound moved, and commits after it: its readings are in the rollup."""
    monkeypatch.setattr(rollups, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '120s'")
    with connected(plain) as connection, connected(plain) as slow:
        add(connection, "a", now() - timedelta(hours=2), timedelta(minutes=1), 115)
        outcome: list[Maintained] = []
        with slow.transaction():
            add(slow, "slow", now() - timedelta(hours=1), timedelta(seconds=1), 50)
            thread = threading.Thread(target=lambda: outcome.append(run(plain)))
            thread.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            until(lambda: plain.query(waiting) != [(0,)], what="the run waits for the writer")
        thread.join(60)
        assert [each.waited_for_writers for each in outcome] == [False]
    assert total(plain) == total(plain, "readings_by_minute") == 165
    compare(plain)


def test_one_run_at_a_time(plain: Database) -> None:
    with connected(plain) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('sigmawatch db maintain', 0))")
        assert run(plain).busy
    assert not run(plain).busy


def test_a_dry_run_changes_nothing(plain: Database) -> None:
    with connected(plain) as connection:
        add(connection, "a", now() - timedelta(days=20), timedelta(hours=1), 470)
        told = maintain(connection, Ages(keep_readings=3 * DAY), dry_run=True)
        assert told.dropped == {"readings": 1}
        assert kept_rows(plain) == (0, 0)
        assert rollup_state(connection).watched_before is None
    assert plain.query("SELECT count(*) FROM readings") == [(470,)]


def test_old_readings_go_and_their_rollup_stays(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "_ROWS_AT_ONCE", 300)
    with connected(store) as connection:
        add(connection, "a", now() - timedelta(days=20), timedelta(hours=1), 480)
        add(connection, "b", now() - timedelta(days=20), timedelta(minutes=13), 400)
        before = total(store), total(store, "readings_by_minute")
        done = run(store, Ages(keep_readings=3 * DAY))
        assert done.dropped["readings"] > 0
        ((oldest,),) = store.query("SELECT min(time) FROM readings")
        assert timedelta(days=3) <= now() - oldest < timedelta(days=4)
        assert (total(store), total(store, "readings_by_minute")) == before == (880, 880)
        dropped_before = rollup_state(connection).dropped_before
        assert dropped_before is not None
        assert dropped_before <= oldest

        # Who comes later than that enters no rollup, does not empty one, and goes with the next run.
        add(connection, "a", now() - timedelta(days=19, seconds=1), timedelta(minutes=1), 5)
        assert run(store, Ages(keep_readings=3 * DAY)).dropped["readings"] > 0
        assert (total(store), total(store, "readings_by_minute")) == before
        assert run(store, Ages(keep_readings=3 * DAY)).dropped == {}


def test_nothing_is_dropped_that_is_not_rolled_up(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late reading whose mark waits holds its day back."""
    with connected(store) as connection:
        add(connection, "a", now() - timedelta(days=20), timedelta(hours=1), 480)
        run(store)
        add(connection, "late", now() - timedelta(days=12), timedelta(minutes=1), 7)
        with monkeypatch.context() as patched:
            patched.setattr(rollups, "roll_marked", lambda *_: 0)
            assert run(store, Ages(keep_readings=3 * DAY)).dropped == {"readings": 0}
        assert store.query("SELECT count(*) FROM readings") == [(487,)]
        run(store, Ages(keep_readings=3 * DAY))
        assert total(store) == 487
        assert store.query("SELECT count(*) < 100 FROM readings") == [(True,)]


def test_rollups_have_ages_of_their_own(store: Database) -> None:
    with connected(store) as connection:
        for days in (200, 101, 99, 31, 29, 4, 2, 1):
            add(connection, "a", now() - timedelta(days=days), timedelta(seconds=1), 5)
        run(store, Ages(keep_readings=3 * DAY, keep_minutes=30 * DAY, keep_hours=100 * DAY))
        ((minutes, hours),) = store.query(
            """SELECT extract(day FROM now() - (SELECT min(minute) FROM readings_by_minute))::int,
                      extract(day FROM now() - (SELECT min(hour) FROM readings_hourly))::int"""
        )
    assert minutes == 29
    assert hours in {99, 101}  # whole chunks of 30 days, where there are chunks


def test_pending_migrations_are_named(plain_database: Database) -> None:
    with connected(plain_database) as connection, pytest.raises(DatabaseError, match="db migrate"):
        maintain(connection, Ages())


def test_a_server_that_cannot_tell_changes_is_refused(plain: Database) -> None:
    """As TimescaleDB before 2.18, where such triggers cannot be made."""
    with connected(plain) as connection:
        connection.execute("DROP TRIGGER mark_inserted ON readings")
        with pytest.raises(DatabaseError, match=r"2\.18"):
            maintain(connection, Ages())


def test_a_replay_of_old_readings_is_in_the_views_at_once(plain: Database) -> None:
    """The bounds follow the newest reading where that is long ago, so that what follows it is not late."""
    with connected(plain) as connection:
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        for day in range(3):
            add(connection, "a", begin + timedelta(days=day), timedelta(minutes=10), 144)
            assert total(plain) == total(plain, "readings_by_minute") == 144 * (day + 1)
            assert run(plain).marks == 0
    compare(plain)


def test_the_latest_reading_of_each_series(every_database_server: DatabaseServer) -> None:
    with new_database(every_database_server) as store, connected(store) as connection:
        migrate(connection)
        connection.execute(
            """INSERT INTO devices (device_id, type, name, manufacturer, model, firmware, serial_number, units, attributes)
               SELECT 'device-' || i, 't', '', '', '', '', '', '{"x": "m", "y": ""}', '{}' FROM generate_series(1, 3) AS i"""
        )
        for device, metric in (("device-1", "x"), ("device-1", "y"), ("device-2", "x")):
            add(connection, device, now() - timedelta(days=9), timedelta(hours=1), 50, metric)
        rows = store.query("SELECT device_id, metric, value FROM readings_latest ORDER BY 1, 2")
        assert rows == [("device-1", "x", 0.0), ("device-1", "y", 0.0), ("device-2", "x", 0.0)]
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM readings_latest WHERE device_id = 'device-1'"
        ).fetchall()
        assert "devices_pkey" in str(plan)
        assert Strength.PLAIN or "readings_pkey" in str(plan)
