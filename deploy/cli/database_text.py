"""How a database stands, for people and as JSON; pure."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinks.timescale.maintain import Maintained
    from sinks.timescale.policies import Policy
    from sinks.timescale.status import DatabaseStatus, RollupStatus, TableStatus

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size_text(size: float) -> str:
    """Bytes for people, in thousands: 14.4 MB."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def status_lines(status: "DatabaseStatus") -> Iterator[str]:
    """A line a fact."""
    server = status.server
    postgres = f"PostgreSQL {server.postgres // 10_000}.{server.postgres % 10_000}"
    engine = f", TimescaleDB {server.timescaledb}" if server.timescaledb else ""
    yield f"server     {server.strength.text}; {postgres}{engine}"
    yield f"size       {size_text(status.size_bytes)}"
    for table in status.tables:
        yield f"{table.name:<10} {_table_text(table)}"
    for rollup in status.rollups:
        yield f"rollup     {rollup.view}: {_rollup_text(rollup)}"
    if any(rollup.kept_as == "table" for rollup in status.rollups):
        ran = f"last {_time(status.maintained_at)}" if status.maintained_at else "never ran"
        yield f"maintain   {ran}; {status.late_marks:,} marks of late readings wait"
    if status.dropped_before:
        yield f"dropped    readings before {_time(status.dropped_before)}"
    for policy in status.policies:
        yield f"policy     {_policy_text(policy)}"
    for row in status.migrations:
        when = f"  {_time(row.applied_at)}" if row.applied_at else ""
        yield f"{row.state:<10} {row.version:03d}_{row.name}{when}"


def status_json(status: "DatabaseStatus") -> dict[str, Any]:
    """The same as one object; times in ISO 8601, sizes in bytes."""
    found: dict[str, Any] = _plain(asdict(status))
    server = found.pop("server")
    return {
        "server": status.server.strength.name.lower(),
        "postgres": server["postgres"],
        "timescaledb": server["timescaledb"],
        **found,
        "migrations": [
            {
                "name": f"{row.version:03d}_{row.name}",
                "state": row.state,
                "applied_at": _plain(row.applied_at),
            }
            for row in status.migrations
        ],
    }


def maintained_lines(done: "Maintained", *, dry_run: bool) -> Iterator[str]:
    """What a run of `db maintain` did, or would do; nothing where nothing was due."""
    if done.busy:
        yield "another process maintains the database now"
    for change in done.policies:
        yield f"{'would set' if dry_run else 'set'}  {change}"
    for view, before in done.kept_before.items() if dry_run else ():
        if before is not None:
            yield f"would keep {view} up to {_time(before)}"
    for view, rows in done.rolled_up.items():
        if rows:
            yield f"kept {rows:,} rows of {view}, up to {_time(done.kept_before[view])}"
    if done.marks:
        yield f"{'would roll up' if dry_run else 'rolled up'} anew for {done.marks:,} marks of late readings"
    for table, count in done.dropped.items():
        yield f"would drop from {table}" if dry_run else f"dropped {count:,} {_of(done)} of {table}"
    if done.waited_for_writers:
        yield "somebody's transaction takes long; the next run goes on"


def maintained_json(done: "Maintained", *, dry_run: bool) -> dict[str, Any]:
    """The same as one object."""
    found: dict[str, Any] = _plain(asdict(done))
    return {
        "server": done.strength.name.lower(),
        "dry_run": dry_run,
        **{k: v for k, v in found.items() if k != "strength"},
    }


def _table_text(table: "TableStatus") -> str:
    count = f"{table.rows:,} rows" if table.exact else f"about {table.rows:,} rows"
    parts = [count, size_text(table.size_bytes)]
    if table.chunks is not None:
        parts.append("1 chunk" if table.chunks == 1 else f"{table.chunks:,} chunks")
    if table.compressed_chunks:
        was, now = size_text(table.compressed_from_bytes), size_text(table.compressed_to_bytes)
        parts.append(f"{table.compressed_chunks:,} compressed ({was} became {now})")
    if table.oldest and table.newest:
        parts.append(f"from {_time(table.oldest)} to {_time(table.newest)}")
    return ", ".join(parts)


def _rollup_text(rollup: "RollupStatus") -> str:
    if rollup.kept_as == "computed":
        return "computed when asked"
    if rollup.kept_before is None:
        return f"kept as {rollup.kept_as}, nothing yet"
    return f"kept as {rollup.kept_as} up to {_time(rollup.kept_before)}, {size_text(rollup.size_bytes)}"


def _policy_text(policy: "Policy") -> str:
    age = policy.config.get("compress_after") or policy.config.get("drop_after")
    what = f"{policy.kind} of {policy.table}" + (f" after {age}" if age else "")
    ran = (
        f"last {_time(policy.last_run_at)} {policy.last_status or ''}".rstrip()
        if policy.last_run_at
        else "never ran"
    )
    failed = f", {policy.failures} failed" if policy.failures else ""
    return f"{what}: {ran}{failed}"


def _of(done: "Maintained") -> str:
    return "rows" if done.strength.name == "PLAIN" else "chunks"


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"


def _plain(value: Any) -> Any:
    """As JSON can have it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
