"""`EmbeddedPostgres`: a database server of our own on loopback, its data kept in the state folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import sql

from deploy.embedded import debian
from deploy.embedded.errors import EmbeddedError, ForeignDataError, StartError, UnavailableError
from deploy.embedded.identity import can_reach, choose_identity
from deploy.embedded.paths import LOOPBACK, FolderLock, free_port, make_folder, port_answers
from deploy.embedded.process import Identity, ManagedProcess
from deploy.embedded.servers import Server, Source, find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USER = DATABASE = "sigmawatch"
# Where data goes that another user must reach, when the state folder is closed to that user.
SHARED_STATE = Path("/var/lib/sigmawatch")

_READY_SECONDS = 120.0  # recovery after a crash replays up to max_wal_size
_INIT_SECONDS = 120.0
_PORT_TRIES = 3

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "50",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",  # solid-state disks
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",  # nobody replicates from an embedded server
    "max_wal_senders": "0",
    "synchronous_commit": "on",  # what the sink acknowledged must survive
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}
_TIMESCALEDB_SETTINGS: Mapping[str, str] = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "4",
    "max_worker_processes": "16",
}


def render_settings(settings: Mapping[str, str]) -> str:
    """Write a `postgresql.conf`; every value is quoted."""
    lines = [f"{name} = '{_escape(value)}'" for name, value in settings.items()]
    return "# Written at every start; use ALTER SYSTEM for changes of your own.\n" + "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(text, encoding="ascii")


class EmbeddedPostgres:
    """A PostgreSQL server on loopback, with TimescaleDB where it can be had; start it with `start()` or `with`.

    Only who knows the password, which is made at random and kept in the state folder for its owner alone, can
    connect. As root the server runs in a user namespace, or as another user.

    Args:
        state_dir: Data, password and log go to `state_dir/postgres/`; a second start finds the data again.
        cache_dir: Where fetched programs are kept.
        port: A fixed port; without it a free one, kept over restarts of this object.
        source: "timescaledb", "postgresql", or "auto": what the data were made with, for a new data folder
            TimescaleDB if it can be had.
        settings: PostgreSQL settings that take the place of ours.
        user_namespace: Whether a user namespace may be used as root.
        progress: Told each step in a short sentence.
    """

    def __init__(
        self,
        state_dir: Path,
        cache_dir: Path,
        port: int | None = None,
        *,
        source: Source = "auto",
        settings: Mapping[str, str] | None = None,
        user_namespace: bool = True,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = state_dir.absolute() / "postgres"
        self._cache = cache_dir.absolute()
        self._port = port
        self._source: Source = source
        self._settings = dict(settings or {})
        self._user_namespace = user_namespace
        self._progress = progress or (lambda _: None)
        self._lock = FolderLock(self._folder, "database")
        self._password = ""
        self._server: Server | None = None
        self._identity: Identity | None = None
        self._data = self._folder / "data"
        self._process: ManagedProcess | None = None

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({self._folder}, port {self._port})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL with the password: for connecting, not for logs (see `safe_url`)."""
        return self._url(self._password)

    @property
    def safe_url(self) -> str:
        """The URL with stars for the password."""
        return self._url("***")

    @property
    def server(self) -> Server:
        """Which server runs; known after the start."""
        if self._server is None:
            raise StartError("the database was not started")
        return self._server

    @property
    def process(self) -> ManagedProcess:
        """The server's main process; known after the start."""
        if self._process is None:
            raise StartError("the database was not started")
        return self._process

    @property
    def port(self) -> int:
        """The loopback port; known after the start."""
        if self._port is None:
            raise StartError("the database was not started")
        return self._port

    @property
    def log_file(self) -> Path:
        """What the server prints: warnings and errors."""
        return self._folder / "postgres.log"

    def start(self) -> Self:
        """Start and wait until it takes connections; blocks 0.3 s, the first time 1 s, and 4-8 s more to fetch.

        Raises:
            FolderInUseError: Another process runs on the same state folder.
            ForeignDataError: The data were made by another source or major version.
            UnavailableError: There is no server to be had.
            StartError: It does not run; shows the end of its log.
        """
        if self._process is not None and self._process.alive:
            return self
        self._lock.acquire()
        try:
            self._prepare()
            self._run()
        except BaseException:
            if self._process is not None:
                self._process.stop()
            self._lock.release()
            raise
        self._progress(f"database: {self.server} on {LOOPBACK}:{self.port}")
        return self

    def stop(self) -> None:
        """Stop it in order: open transactions are rolled back, all is written. Blocks up to 30 s."""
        if self._process is not None:
            self._process.stop()
        self._lock.release()

    def kill(self) -> None:
        """End all its processes with SIGKILL, as a crash would; a start recovers what was committed."""
        self.process.kill()
        self._lock.release()

    def pause(self) -> None:
        """Freeze all its processes: connections stay open and nobody answers (Linux)."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self.process.resume()

    def restart(self) -> None:
        """Stop it if it runs and start it again on the same port and data."""
        self.stop()
        self.start()

    def _url(self, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{self.port}/{database}"

    # -- preparing -----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._folder.chmod(0o700)
        if self._identity is None:
            self._identity = choose_identity(allow_namespace=self._user_namespace)
        made = self._read_marker()
        self._data = Path(made["data"]) if made else self._place_for_data() / "data"
        if self._server is None:
            self._server = self._choose_server(made)
        self._check_data(made)
        self._password = self._read_password()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._configure()

    @property
    def _marker(self) -> Path:
        return self._folder / "made_by.json"

    def _read_marker(self) -> dict[str, Any]:
        """What the data were made with: `source`, `major`, `timescaledb`, `data` (their folder); else empty."""
        try:
            made: dict[str, Any] = json.loads(self._marker.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return made

    def _place_for_data(self) -> Path:
        if can_reach(self._identity, self._folder.parent):
            return self._folder
        # Opened to the one user it is for by its owner, and closed to all others by the data folder's mode.
        digest = hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]
        place = SHARED_STATE / digest
        make_folder(place)
        return place

    def _choose_server(self, made: dict[str, Any]) -> Server:
        if self._source != "auto" or not made:
            return find_server(self._source, self._cache, self._identity, self._progress)
        try:
            return find_server(made["source"], self._cache, self._identity, self._progress)
        except UnavailableError as error:
            raise ForeignDataError(
                f"the data in {self._data} were made by {made['source']}, which is not to be had now: "
                f"{error.message}",
                "Make it available, remove the data (sigmawatch down --purge), or choose another state folder.",
            ) from error

    def _check_data(self, made: dict[str, Any]) -> None:
        version_file = self._data / "PG_VERSION"
        if not version_file.exists():
            return
        source, major = made.get("source", "an unknown server"), version_file.read_text().strip()
        if source != self.server.kind or major != str(self.server.major):
            raise ForeignDataError(
                f"the data in {self._data} were made by {source} (PostgreSQL {major}) "
                f"and cannot be opened by {self.server.kind} (PostgreSQL {self.server.version})",
                "Choose the source they were made with, another state folder, or remove them "
                "(sigmawatch down --purge).",
            )

    def _read_password(self) -> str:
        file = self._folder / "password"
        with contextlib.suppress(FileNotFoundError):
            return file.read_text(encoding="ascii").strip()
        password = secrets.token_urlsafe(24)
        fresh = file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        _write_secret(fresh, password)
        fresh.rename(file)
        return password

    def _initialise(self) -> None:
        self._progress("database: making a new data folder")
        fresh = self._data.with_name("data.new")
        password_file = self._data.with_name("password.new")
        shutil.rmtree(fresh, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        fresh.mkdir(mode=0o700)
        _write_secret(password_file, self._password)
        self._give_away(fresh, password_file)
        argv = [
            str(self.server.programs / "initdb"),
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.server.major >= 17 else []),
            # One call for the whole file system in place of one a file.
            *(["--sync-method=syncfs"] if sys.platform == "linux" and self.server.major >= 17 else []),
        ]
        process = self._managed("initdb", argv, fresh, signal.SIGTERM)
        try:
            status = process.start().wait(_INIT_SECONDS)
        finally:
            process.kill()
            password_file.unlink(missing_ok=True)
        if status != 0:
            raise StartError(f"initdb ended with status {status}; its output:\n{process.log_tail()}\n")
        fresh.rename(self._data)
        self._write_marker()

    def _write_marker(self) -> None:
        made = {
            "source": self.server.kind,
            "major": self.server.major,
            "timescaledb": self.server.timescaledb,
            "data": str(self._data),
        }
        fresh = self._marker.with_suffix(".new")
        fresh.write_text(json.dumps(made) + "\n", encoding="utf-8")
        fresh.rename(self._marker)

    def _configure(self) -> None:
        extension = _TIMESCALEDB_SETTINGS if self.server.timescaledb else {}
        settings = {**_SETTINGS, **extension, **self._settings}
        configuration = self._data / "postgresql.conf"
        access = self._data / "pg_hba.conf"
        configuration.write_text(render_settings(settings), encoding="utf-8")
        access.write_text(f"host all all {LOOPBACK}/32 scram-sha-256\n", encoding="utf-8")
        self._give_away(configuration, access)
        if self.server.time_zones is not None:
            link = self._data / debian.LINKED_TIME_ZONES
            link.unlink(missing_ok=True)
            link.symlink_to(self.server.time_zones)
        self._forget_dead_server()

    def _forget_dead_server(self) -> None:
        """Remove a crashed server's pid file when its pid was given to some other program since.

        The server would take that one for itself. We hold the lock on the folder, so none of ours runs; that
        nobody else's does, PostgreSQL checks by its shared memory too.
        """
        file = self._data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(file.read_text(encoding="utf-8").splitlines()[0])
            name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
            if name != "postgres":
                file.unlink()

    def _give_away(self, *paths: Path) -> None:
        if self._identity is not None and not self._identity.namespace:
            for path in paths:
                os.chown(path, self._identity.uid, self._identity.gid)

    # -- running -------------------------------------------------------------------------------------------

    def _managed(self, name: str, argv: list[str], cwd: Path, stop_signal: signal.Signals) -> ManagedProcess:
        ours = {key for key in os.environ if key.startswith("PG")}
        return ManagedProcess(
            argv,
            name=name,
            log_file=self.log_file,
            # Time zone: what initdb writes must not depend on the machine. PG*: meant for somebody's client.
            env={**dict.fromkeys(ours), "TZ": "GMT", "LC_ALL": "C"},
            cwd=cwd,
            identity=self._identity,
            stop_signal=stop_signal,
            grace_seconds=30.0,
            hold_fds=[self._lock.fileno()],
        )

    def _run(self) -> None:
        for attempt in range(_PORT_TRIES):
            port = self._port or free_port()
            if port_answers(port):
                raise StartError(
                    f"port {port} is in use already", "Stop what listens there, or choose another."
                )
            argv = [str(self.server.programs / "postgres"), "-D", str(self._data), "-p", str(port)]
            # In the data folder, where it looks for time zones; SIGINT is the fast shutdown.
            process = self._managed("the database server", argv, self._data, signal.SIGINT)
            chosen, self._port = self._port, port
            self._process = process
            try:
                process.start().wait_ready(self._answers, _READY_SECONDS)
                break
            except StartError:
                self._port = chosen
                process.stop()
                # Somebody may have taken the free port in between.
                taken = "could not bind" in process.log_tail()
                if chosen is not None or not taken or attempt == _PORT_TRIES - 1:
                    raise
        self._update_extension()

    def _answers(self) -> bool:
        """Whether it takes connections; makes our database when it does and there is none."""
        if not port_answers(self.port):
            return False
        try:
            with psycopg.connect(
                self._url(self._password, "postgres"), connect_timeout=5, autocommit=True
            ) as link:
                known = link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if known is None:
                    link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                return False
            raise EmbeddedError(
                f"the password in {self._folder / 'password'} is not the database's",
                "Put the right one there, or remove the data (sigmawatch down --purge).",
            ) from None
        return True

    def _update_extension(self) -> None:
        """After a newer TimescaleDB was fetched, bring the database's own objects up to it."""
        made = self._read_marker()
        if not self.server.timescaledb or made.get("timescaledb") == self.server.timescaledb:
            return
        # It must be the session's first command: others load the old library.
        with (
            psycopg.connect(self.url, autocommit=True) as connection,
            contextlib.suppress(psycopg.errors.UndefinedObject),
        ):
            connection.execute("ALTER EXTENSION timescaledb UPDATE")
        self._write_marker()
