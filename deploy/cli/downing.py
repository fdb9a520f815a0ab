"""What `sigmawatch down` does: stop a running `up`, or remove what it keeps."""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.cli.exits import REFUSED
from deploy.cli.terminal import messages, say
from deploy.embedded import FolderInUseError, FolderLock, purge, state_folder

if TYPE_CHECKING:
    from schemas.settings import Settings

_OURS = ("logs", "up")
_TURN_SECONDS = 0.1


def run_down(settings: "Settings", *, purge: bool, yes: bool) -> int:
    """Stop or purge; gives the exit code.

    Raises:
        FolderInUseError: purging what is in use.
    """
    state = state_folder(settings.state_dir)
    return _purge(state, yes=yes) if purge else _stop(state)


def _stop(state: Path) -> int:
    lock = FolderLock(state / "up", "sigmawatch up")
    pid = lock.holder()
    if pid is None:
        say(f"nothing runs on {state}")
        return 0
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    console = messages()
    with console.status(f"process {pid} drains and stops"):
        while lock.holder() == pid:
            time.sleep(_TURN_SECONDS)
    say(f"stopped `sigmawatch up` (process {pid})")
    return 0


def _purge(state: Path, *, yes: bool) -> int:
    holder = FolderLock(state / "up", "sigmawatch up").holder()
    if holder is not None:
        raise FolderInUseError(
            f"a `sigmawatch up` runs on {state} (process {holder})",
            "Stop it first: `sigmawatch down`.",
            pid=holder,
        )
    if not yes and not _confirmed(state):
        say("nothing was removed")
        return REFUSED
    removed = [*purge(state)]
    for name in _OURS:
        if (state / name).is_dir():
            shutil.rmtree(state / name)
            removed.append(state / name)
    for folder in removed:
        say(f"removed {folder}")
    if not removed:
        say(f"there is nothing in {state}")
    with suppress(OSError):  # only when it is empty
        state.rmdir()
    return 0


def _confirmed(state: Path) -> bool:
    """Ask; without a terminal nobody can answer, and the answer is no."""
    if not sys.stdin.isatty():
        say("Without a terminal `down --purge` wants --yes.")
        return False
    sys.stderr.write(f"Remove all readings and anomalies in {state}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
