"""What the commands that ask the database for history share: times in flags, a progress bar, its errors as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from deploy.cli.terminal import messages
from schemas.durations import parse_duration
from schemas.errors import ConfigError, DatabaseError, first_line
from schemas.times import to_datetime


@contextmanager
def answering() -> Iterator[None]:
    """An error of the database while it is asked, as a DatabaseError that says what to do."""
    import psycopg  # noqa: PLC0415

    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise DatabaseError(
            "the database has no tables of Sigmawatch", "Make them with `sigmawatch db migrate`."
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(f"the database does not answer the question: {first_line(error)}") from error


def time_us(flag: str, text: str | None) -> int | None:
    """µs of a time that a flag has; a ConfigError of that flag where it is none."""
    if text is None:
        return None
    from producers.times import TimeParser  # noqa: PLC0415

    try:
        return TimeParser("iso").parse(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text}: {error}", "Write it as 2026-01-31T12:00:00Z.") from error


def moment(flag: str, text: str | None) -> datetime | None:
    """The time that a flag has; a ConfigError of that flag where it is none."""
    us = time_us(flag, text)
    return None if us is None else to_datetime(us)


def moment_or_ago(flag: str, text: str | None, now: datetime) -> datetime | None:
    """The same of a flag that may say how long before `now`, as 2h."""
    if text is None:
        return None
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        return moment(flag, text)


def iso(us: int) -> str:
    """A time for people, to the second."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; elsewhere nothing is shown."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = messages()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
