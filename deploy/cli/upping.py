"""What `sigmawatch up` does with its flags: the settings of the run, its source, its end."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.cli.exits import INTERRUPTED, REFUSED
from deploy.cli.flags import Given
from deploy.cli.guessing import interval_of_file
from deploy.cli.producing import replay_options
from deploy.cli.terminal import print_json
from deploy.embedded import FolderInUseError, FolderLock, state_folder
from deploy.stack.display import Display, summary_lines
from deploy.stack.plan import (
    Source,
    demo_overrides,
    window_is_set,
    window_overrides,
)
from deploy.stack.run import LeaveError, Run, RunOptions
from producers.replay.recorded import is_recorded_topic
from schemas.durations import format_duration, parse_duration
from schemas.errors import ConfigError
from schemas.logging import configure_logging

if TYPE_CHECKING:
    from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What the user asked of `up`."""

    given: Given
    duration: str | None
    replay: Path | None
    speed: str | None
    broker: str
    workers: int
    web: bool
    as_json: bool


def run_up(request: UpRequest) -> int:
    """Run the stack; gives the exit code.

    Raises:
        SigmawatchError: it cannot be started, or fails for good.
    """
    given = request.given
    settings = given.settings()
    # What the parts log is in their files; of this process only what is wrong concerns people.
    configure_logging(settings.log.model_copy(update={"level": "warning"}))
    state = state_folder(settings.state_dir)
    console = Console(stderr=request.as_json, highlight=False)
    display = Display(console, settings.topics.readings)
    source, overrides = _file(request, settings, display) if request.replay else _fleet(request, settings)
    settings = Given(given.config, {**given.overrides, **overrides}).settings()
    options = RunOptions(
        settings=settings,
        source=source,
        state=state,
        broker=request.broker,
        own_broker="bootstrap_servers" in settings.kafka.model_fields_set,
        own_database=settings.database.url is not None,
        workers=request.workers,
        web=request.web,
        environ=os.environ,
    )
    with _claimed(state):
        run = Run(options, display)
        try:
            verdict = run.execute()
        except LeaveError:
            display.tell("left without draining: what was in flight is not counted")
            return INTERRUPTED
    for line in summary_lines(verdict):
        console.print(line, soft_wrap=True)
    if request.as_json:
        print_json(verdict.as_json())
    return 0 if verdict.good else REFUSED


def _claimed(state: Path) -> FolderLock:
    """The state folder for this `up` alone.

    Raises:
        FolderInUseError: another one runs on it.
    """
    try:
        return FolderLock(state / "up", "sigmawatch up").acquire()
    except FolderInUseError as error:
        who = f" (process {error.pid})" if error.pid else ""
        raise FolderInUseError(
            f"a `sigmawatch up` runs on {state}{who}",
            "Stop it with `sigmawatch down`, or choose another folder with --state-dir.",
            pid=error.pid,
        ) from None


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--duration {text}: {error}") from error
    if seconds <= 0:
        raise ConfigError(f"--duration {text}", "Give a time above zero, as in 30, 90s, 10m.")
    return seconds


def _fleet(request: UpRequest, settings: "Settings") -> tuple[Source, dict[str, str]]:
    """The simulated fleet."""
    if request.given.options:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(request.given.options))
        raise ConfigError(f"{flags} describes a file", "Name the file with --replay.")
    overrides = demo_overrides(settings)
    if request.speed is not None:
        overrides["simulate.speed"] = request.speed
    return Source("simulate", ("simulate",), _seconds(request.duration)), overrides


def _file(request: UpRequest, settings: "Settings", display: Display) -> tuple[Source, dict[str, str]]:
    """A file in the fleet's place, and a window that fits it."""
    assert request.replay is not None
    path = request.replay.absolute()
    given = dict(request.given.options)
    if request.speed is not None:
        given["speed"] = request.speed
    options = replay_options(given)
    overrides: dict[str, str] = {}
    interval = interval_of_file(path, options, settings)
    if interval is not None and not window_is_set(settings):
        overrides = window_overrides(interval, settings.processor.panes)
        window = overrides["processor.window"]
        display.tell(
            f"{path.name}: a reading of a series every {format_duration(interval)}, so the window is {window} "
            "(--window chooses another)"
        )
    command = ["replay", str(path)]
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(flag)
        else:
            # With an equals sign: a value may begin with a dash.
            command += [f"{flag}={one}" for one in (value if isinstance(value, list) else [value])]
    if is_recorded_topic(path):
        command.append(f"--topic={settings.topics.readings}")
    return Source("replay", tuple(command), _seconds(request.duration), path), overrides
