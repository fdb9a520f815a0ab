"""Where on this machine things are kept; known without the embedded parts, which an image does not have."""

import os
from collections.abc import Mapping
from pathlib import Path


def cache_folder(override: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of what can be fetched again: `override`, SIGMAWATCH_CACHE_DIR, or the user's cache folder."""
    return _folder(override, environ, "SIGMAWATCH_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def state_folder(override: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of data to keep: `override`, SIGMAWATCH_STATE_DIR, or the user's state folder."""
    return _folder(override, environ, "SIGMAWATCH_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _folder(override: Path | str | None, environ: Mapping[str, str], ours: str, xdg: str, usual: str) -> Path:
    named = override or environ.get(ours)
    if named:
        return Path(named).expanduser().absolute()
    base = Path(environ.get(xdg, ""))
    # The XDG specification: a relative path there is to be ignored.
    return (base if base.is_absolute() else Path.home() / usual) / "sigmawatch"
