"""Removing what the embedded parts keep in the state folder, and finding who uses it."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from deploy.embedded.paths import FolderLock
from deploy.embedded.postgres import SHARED_STATE

PARTS = ("tansu", "kafka", "postgres")


def running(state_dir: Path) -> dict[str, int]:
    """The parts in use now, each with the id of the process that started it."""
    held = {part: FolderLock(state_dir / part, part).holder() for part in PARTS}
    return {part: pid for part, pid in held.items() if pid is not None}


def purge(state_dir: Path) -> list[Path]:
    """Remove all data, logs and passwords of the embedded parts; gives the folders that were there.

    Fetched programs stay in the cache. Blocks while a part of a killed process is still stopping.

    Raises:
        FolderInUseError: A part is running; what came before it is removed.
    """
    removed = []
    for part in PARTS:
        folder = state_dir.absolute() / part
        if not folder.is_dir():
            continue
        with FolderLock(folder, part):
            if (elsewhere := _elsewhere(folder)) is not None:
                shutil.rmtree(elsewhere)
                removed.append(elsewhere)
                with contextlib.suppress(OSError):  # other state folders may have theirs there
                    SHARED_STATE.rmdir()
            shutil.rmtree(folder)
            removed.append(folder)
    return removed


def _elsewhere(folder: Path) -> Path | None:
    """Where the database keeps its data if not in its folder: only what we made ourselves counts."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        place = Path(json.loads((folder / "made_by.json").read_text(encoding="utf-8"))["data"]).parent
        if place.parent == SHARED_STATE and place.is_dir():
            return place
    return None
