"""TimescaleDB's community edition: its policies do what `db maintain` does elsewhere; here they are set as the settings say.

A policy that the settings say nothing about stays as it is: somebody may have set it by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, cast

import psycopg
from psycopg.types.json import Jsonb

from schemas.settings_database import DatabaseSettings
from sinks.timescale.connection import one_row

_DAY = timedelta(days=1)

_JOBS = """
SELECT j.job_id, j.proc_name, coalesce(a.view_name, j.hypertable_name),
       extract(epoch FROM j.schedule_interval)::float8, j.config,
       nullif(s.last_run_started_at, '-infinity'), s.last_run_status, nullif(j.next_start, '-infinity'), s.total_failures
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.job_stats AS s USING (job_id)
LEFT JOIN timescaledb_information.continuous_aggregates AS a
    ON (a.materialization_hypertable_schema, a.materialization_hypertable_name)
     = (j.hypertable_schema, j.hypertable_name)
    OR (a.view_schema, a.view_name) = (j.hypertable_schema, j.hypertable_name)
WHERE j.job_id >= 1000 AND current_schema() IN (j.hypertable_schema, a.view_schema)
ORDER BY j.job_id"""

_Statement = tuple[str, tuple[Any, ...]]

# Batches and their order, as the migration set them.
_KEEP_BATCHES = """
SELECT alter_job(job_id, config => config || %s)
FROM timescaledb_information.jobs AS job
JOIN timescaledb_information.continuous_aggregates AS aggregate
    ON (job.hypertable_schema, job.hypertable_name)
     IN ((materialization_hypertable_schema, materialization_hypertable_name), (view_schema, view_name))
WHERE proc_name = 'policy_refresh_continuous_aggregate' AND view_schema = current_schema() AND view_name = %s"""

_KINDS = {
    "policy_compression": "compression",
    "policy_retention": "retention",
    "policy_refresh_continuous_aggregate": "refresh",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """A job of the server's.

    Attributes:
        job_id: of the server's own counting.
        kind: compression, retention, refresh, or the procedure's name.
        table: whose, a view for a rollup.
        interval_seconds: between two runs.
        config: what the server keeps of it.
        last_run_at: when it began last, None never.
        last_status: Success or Failed; None before the first run.
        next_run_at: None where none is planned.
        failures: runs that failed, in all.
    """

    job_id: int
    kind: str
    table: str
    interval_seconds: float
    config: dict[str, Any]
    last_run_at: datetime | None
    last_status: str | None
    next_run_at: datetime | None
    failures: int


@dataclass(frozen=True, slots=True)
class Ages:
    """What the settings say, in seconds; None says nothing."""

    keep_readings: float | None = None
    keep_minutes: float | None = None
    keep_hours: float | None = None
    compress_after: float | None = None

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Self:
        """As the settings have them; the default of `compress_after` is what the migrations set, and says nothing."""
        chosen = "compress_after" in settings.model_fields_set
        return cls(
            settings.keep_readings,
            settings.keep_minutes,
            settings.keep_hours,
            settings.compress_after if chosen else None,
        )


@dataclass(frozen=True, slots=True)
class _Change:
    """What is changed in words, in one transaction, and what must be done before it, outside of one."""

    text: str
    statements: tuple[_Statement, ...]
    before: tuple[_Statement, ...] = ()


def policies(connection: psycopg.Connection) -> list[Policy]:
    """The policies of this database's tables and rollups, in the order in which they were made."""
    return [
        Policy(
            job,
            _KINDS.get(kind, str(kind)),
            table,
            seconds,
            config or {},
            began,
            status,
            following,
            failures or 0,
        )
        for job, kind, table, seconds, config, began, status, following, failures in connection.execute(
            _JOBS.encode()
        )
    ]


def apply_policies(connection: psycopg.Connection, ages: Ages, *, dry_run: bool = False) -> list[str]:
    """Make the policies say what the settings say; gives what was (or would be) changed, in words.

    Readings that a policy will drop are rolled up first, which may take long. Raises psycopg.Error.
    """
    changes = list(_changes(connection, ages))
    if not dry_run:
        for statement, parameters in [one for change in changes for one in change.before]:
            connection.execute(statement.encode(), parameters)
        with connection.transaction():
            for statement, parameters in [one for change in changes for one in change.statements]:
                connection.execute(statement.encode(), parameters)
    return [change.text for change in changes]


def _changes(connection: psycopg.Connection, ages: Ages) -> Iterator[_Change]:
    found = {(policy.kind, policy.table): policy for policy in policies(connection)}
    if ages.compress_after is not None:
        yield from _age(
            connection,
            found.get(("compression", "readings")),
            "readings",
            "compress_after",
            ages.compress_after,
        )
    for table, age in (
        ("readings", ages.keep_readings),
        ("readings_by_minute", ages.keep_minutes),
        ("readings_hourly", ages.keep_hours),
    ):
        if age is not None:
            yield from _age(connection, found.get(("retention", table)), table, "drop_after", age)
    if ages.keep_readings is not None:
        for view in ("readings_by_minute", "readings_hourly"):
            policy = found.get(("refresh", view))
            if policy is not None:
                yield from _refresh(connection, policy, timedelta(seconds=ages.keep_readings) - _DAY)


def _age(
    connection: psycopg.Connection, policy: Policy | None, table: str, key: str, seconds: float
) -> Iterator[_Change]:
    """A policy that does something with what is older than an age."""
    wanted = timedelta(seconds=seconds)
    if policy is not None and _interval(connection, policy.config.get(key)) == wanted:
        return
    add = (
        ("CALL add_columnstore_policy(%s::regclass, after => %s)", (table, wanted))
        if key == "compress_after"
        else ("SELECT add_retention_policy(%s::regclass, drop_after => %s)", (table, wanted))
    )
    remove = (("SELECT delete_job(%s)", (policy.job_id,)),) if policy is not None else ()
    what = "compressed" if key == "compress_after" else "dropped"
    yield _Change(f"{table}: {what} when older than {_days(wanted)}", (*remove, add))


def _refresh(connection: psycopg.Connection, policy: Policy, start: timedelta) -> Iterator[_Change]:
    """A refresh must not reach back to readings that are gone: it would empty their rollup."""
    now = _interval(connection, policy.config.get("start_offset"))
    if now is not None and start > now:
        start = min(start, max(now, _age_of_readings(connection)))
    if now == start:
        return
    end = _interval(connection, policy.config.get("end_offset"))
    # A first bound: what lies before it would never be rolled up, so that is done now.
    everything = (
        (
            "CALL refresh_continuous_aggregate(%s::regclass, NULL, clock_timestamp() - %s::interval)",
            (policy.table, end),
        ),
    )
    kept = {
        key: policy.config[key]
        for key in ("refresh_newest_first", "buckets_per_batch")
        if key in policy.config
    }
    yield _Change(
        f"{policy.table}: late readings count until they are {_days(start)} old",
        (
            ("SELECT remove_continuous_aggregate_policy(%s::regclass)", (policy.table,)),
            (
                """SELECT add_continuous_aggregate_policy(%s::regclass, start_offset => %s, end_offset => %s,
                          schedule_interval => %s)""",
                (policy.table, start, end, timedelta(seconds=policy.interval_seconds)),
            ),
            (_KEEP_BATCHES, (Jsonb(kept), policy.table)),
        ),
        before=everything if now is None else (),
    )


def _age_of_readings(connection: psycopg.Connection) -> timedelta:
    """Whole days since the oldest chunk of readings began."""
    (age,) = one_row(
        connection,
        """SELECT coalesce(date_trunc('day', justify_hours(clock_timestamp() - min(range_start))), INTERVAL '0')
           FROM timescaledb_information.chunks
           WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %s::regclass""",
        "readings",
    )
    return cast("timedelta", age)


def _interval(connection: psycopg.Connection, text: str | None) -> timedelta | None:
    return cast("timedelta | None", one_row(connection, "SELECT %s::interval", text)[0])


def _days(length: timedelta) -> str:
    days = length / _DAY
    return f"{days:g} days" if days >= 1 else f"{length.total_seconds() / 3600:g} h"
