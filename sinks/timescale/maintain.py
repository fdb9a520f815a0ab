"""`sigmawatch db maintain`: rollups are kept, late readings enter them, what is old enough is dropped.

On the community edition TimescaleDB's policies do it, and this sets them. One process at a time; a second one finds the
first and does nothing. Safe to end at any point, and to run while sinks write.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
import structlog

from schemas.errors import DatabaseError, first_line
from sinks.timescale import rollups
from sinks.timescale.connection import one_row
from sinks.timescale.dropping import day_before, drop_readings, drop_rollup, droppable_before
from sinks.timescale.migrate import Strength, require_current
from sinks.timescale.policies import Ages, apply_policies
from sinks.timescale.rollups import HOURS, MINUTES, ROLLUPS, Rollup, Tell
from sinks.timescale.verdicts import needing_rights

_LOG = structlog.get_logger(__name__)
_AS_OWNER = "Run `sigmawatch db maintain` as the tables' owner, the migrator."
_ALONE = "hashtextextended('sigmawatch db maintain', 0)"


@dataclass(slots=True)
class Maintained:
    """What a run did; in a dry run, what it would do.

    Attributes:
        strength: of the server.
        busy: another process was at it, so that nothing was done.
        policies: changes of the server's policies, in words (community edition).
        rolled_up: view -> rows made of readings that were not rolled up before; not known in a dry run.
        kept_before: view -> up to where it is kept now.
        marks: marks of late, corrected and deleted readings that were worked off.
        dropped: table -> chunks, or rows on plain PostgreSQL, that went; in a dry run 0 or 1.
        waited_for_writers: somebody's transaction took longer than 2 s; the next run goes on.
    """

    strength: Strength
    busy: bool = False
    policies: list[str] = field(default_factory=list)
    rolled_up: dict[str, int] = field(default_factory=dict)
    kept_before: dict[str, datetime | None] = field(default_factory=dict)
    marks: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    waited_for_writers: bool = False


def _silent(_what: str, _done: float, _total: float) -> None:
    return


def maintain(
    connection: psycopg.Connection,
    ages: Ages,
    *,
    dry_run: bool = False,
    tell: Tell = _silent,
    stop: Callable[[], bool] = lambda: False,
) -> Maintained:
    """One run; blocks until everything that is due is done.

    Args:
        connection: of the tables' owner, in autocommit mode.
        ages: what is kept how long.
        dry_run: change nothing.
        tell: hears of progress.
        stop: asked between transactions; what is left is the next run's.

    Raises:
        DatabaseError: migrations are pending, rights are missing, or the server cannot keep rollups.
        psycopg.OperationalError: an outage.
    """
    strength = require_current(connection)
    done = Maintained(strength)
    with needing_rights(_AS_OWNER), _explained(), _alone(connection) as mine:
        if not mine:
            done.busy = True
        elif strength is Strength.COMMUNITY:
            done.policies = apply_policies(connection, ages, dry_run=dry_run)
        elif not rollups.kept_as_tables(connection):
            raise DatabaseError(
                "this TimescaleDB cannot tell which readings changed, so no rollups are kept and nothing is dropped",
                "Update it to 2.18 or newer, then run `sigmawatch db migrate` on a new database.",
            )
        else:
            try:
                _keep(connection, ages, done, dry_run=dry_run, tell=tell, stop=stop)
            except psycopg.errors.LockNotAvailable:
                done.waited_for_writers = True
                _LOG.warning("maintenance waits for a long transaction; the next run goes on")
    return done


def _keep(
    connection: psycopg.Connection,
    ages: Ages,
    done: Maintained,
    *,
    dry_run: bool,
    tell: Tell,
    stop: Callable[[], bool],
) -> None:
    """What policies do elsewhere."""
    state = rollups.rollup_state(connection)
    targets = {rollup: rollups.target_of(connection, rollup, state) for rollup in ROLLUPS}
    done.kept_before = {rollup.view: target for rollup, target in targets.items()}
    if dry_run:
        done.marks = rollups.waiting_marks(connection)
        done.dropped = {table: 1 for table, _ in _droppable(connection, ages, done.strength, targets)}
        return
    watched = targets[MINUTES]
    if watched is not None and (state.watched_before is None or state.watched_before < watched):
        rollups.watch(connection, watched)
    for rollup, target in targets.items():
        if target is not None:
            done.rolled_up[rollup.view] = rollups.roll_forward(connection, rollup, target, tell, stop)
    done.marks = rollups.roll_marked(connection, tell, stop)
    chunked = done.strength >= Strength.APACHE
    by_table = {rollup.table: rollup for rollup in ROLLUPS}
    for table, bound in _droppable(connection, ages, done.strength, targets):
        if table == "readings":
            went = drop_readings(connection, bound, chunked=chunked, tell=tell, stop=stop)
        else:
            went = drop_rollup(connection, by_table[table], bound, chunked=chunked, stop=stop)
        done.dropped[table] = went
    if not stop():
        connection.execute("UPDATE maintenance SET ran_at = clock_timestamp()")


def _droppable(
    connection: psycopg.Connection,
    ages: Ages,
    strength: Strength,
    targets: dict[Rollup, datetime | None],
) -> Iterator[tuple[str, datetime]]:
    """(table, up to where) of what is old enough; of readings, what is rolled up by then."""
    (now,) = one_row(connection, "SELECT clock_timestamp()")
    chunked = strength >= Strength.APACHE
    kept = {"readings": ages.keep_readings, MINUTES.table: ages.keep_minutes, HOURS.table: ages.keep_hours}
    for table, age in kept.items():
        if age is None:
            continue
        bound = day_before(now, age)
        if table == "readings":
            done = [target for target in targets.values() if target is not None]
            if not done:
                continue
            bound = min(bound, day_before(min(done), 0.0))
        before = droppable_before(connection, table, bound, chunked=chunked)
        if before is not None:
            yield table, before


@contextmanager
def _alone(connection: psycopg.Connection) -> Iterator[bool]:
    """Whether no other process is at it; it is kept out until the end."""
    (mine,) = one_row(connection, f"SELECT pg_try_advisory_lock({_ALONE})")
    try:
        yield mine
    finally:
        if mine and not connection.broken and not connection.closed:
            connection.execute(f"SELECT pg_advisory_unlock({_ALONE})".encode())


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InvalidParameterValue as error:
        raise DatabaseError(
            f"the database refuses a policy: {first_line(error)}",
            "See database.keep_readings, keep_minutes, keep_hours and compress_after.",
        ) from error
