"""How well the run's faults were found: said at its end where it can be, never a reason for the run to fail."""

from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from deploy.clients import connect_database
from deploy.quality.report import as_json, rules_as_json
from deploy.quality.stored import run_quality
from schemas.errors import SigmawatchError

if TYPE_CHECKING:
    from schemas.settings import Settings

_log = structlog.get_logger(__name__)

_LONGEST = "20s"
"""Of a run with many millions of readings, `sigmawatch quality` can still be asked."""


def quality_of_run(settings: "Settings", span: tuple[int, int] | None) -> dict[str, Any] | None:
    """The quality as JSON says it; None where there was no fault, or where it cannot be said soon.

    Args:
        settings: name the database.
        span: event times of the run's first and last reading, µs.
    """
    if span is None:
        return None
    begin_us, last_us = span
    try:
        with connect_database(settings) as connection:
            connection.execute(f"SET statement_timeout = '{_LONGEST}'".encode())
            found = run_quality(connection, begin_us, last_us + 1)
    except (psycopg.Error, SigmawatchError) as error:
        _log.warning("the quality of detection cannot be said", reason=str(error).strip())
        return None
    except Exception:  # noqa: BLE001 - every reading was counted: a defect here is shown, and fails no run
        _log.exception("the quality of detection cannot be said")
        return None
    if found is None or not found.quality.events:
        return None
    return {**as_json(found.quality), "settings": rules_as_json(found.rules)}
