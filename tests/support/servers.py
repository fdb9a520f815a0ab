"""Which brokers and databases the integration tests run on, and how each is started.

Always the embedded ones; beside them the most real ones that this machine has: a Kafka container where Docker has the
image, else Apache Kafka on the machine's Java; your own database server where SIGMAWATCH_TEST_DATABASE_URL names one,
else a TimescaleDB container where Docker has the image. `--brokers` and `--databases` (or SIGMAWATCH_TEST_BROKERS,
SIGMAWATCH_TEST_DATABASES) name others, separated by commas; the last one counts as the most real.

On a server of your own every test makes a database of its own and drops it. Where the user may not create databases
(cloud services), it makes a schema instead; the extension must be in the database then.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.embedded import EmbeddedPostgres, KafkaBroker, TansuBroker, cache_folder, kafka_available
from tests.support.waiting import until

KAFKA_IMAGES = ("apache/kafka:4.1.0", "apache/kafka:4.0.0", "apache/kafka:latest")
DATABASE_IMAGES = ("timescale/timescaledb:2.19.3-pg17", "timescale/timescaledb:latest-pg17")
OWN_DATABASE = "SIGMAWATCH_TEST_DATABASE_URL"

FAST_GROUPS = {
    "group.min.session.timeout.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.backoff.ms": "300",
}
"""Lets the tests use short sessions, so that a killed worker is noticed soon, and see compaction soon."""

QUICK_START = ("-XX:TieredStopAtLevel=1",)
"""Of Java: a broker that lives for a minute does not earn the optimising compiler's work back."""

WITHOUT_SYNC = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Of PostgreSQL, for servers whose processes may be killed, but whose machine is not."""


@cache
def docker_images() -> frozenset[str] | str:
    """Images that the local Docker engine has, or why there is none."""
    try:
        import docker  # noqa: PLC0415
        from docker.errors import DockerException  # noqa: PLC0415
    except ImportError:
        return "the docker package is missing"
    try:
        client = docker.from_env(timeout=60)
        try:
            return frozenset(tag for image in client.images.list() for tag in image.tags)
        finally:
            client.close()
    except (
        DockerException,
        OSError,
    ) as error:  # requests' errors, as of an engine too busy to answer, are OSErrors
        return f"Docker does not answer ({type(error).__name__})"


def local_image(wanted: tuple[str, ...]) -> str | None:
    """The first of the images that is here; tests pull nothing by themselves."""
    images = docker_images()
    return None if isinstance(images, str) else next((name for name in wanted if name in images), None)


@cache
def why_not(name: str) -> str | None:
    """Why a broker or database cannot be had here, None where it can."""
    if name == "kafka":
        return kafka_available()
    if name in {"kafka-container", "timescaledb-container"}:
        images = docker_images()
        if isinstance(images, str):
            return images
        wanted = KAFKA_IMAGES if name == "kafka-container" else DATABASE_IMAGES
        return None if local_image(wanted) else f"Docker has none of {', '.join(wanted)}"
    if name == "own":
        return None if os.environ.get(OWN_DATABASE) else f"{OWN_DATABASE} is not set"
    return None


BROKERS = ("tansu", "kafka", "kafka-container")
DATABASES = ("embedded", "postgresql", "timescaledb-container", "own")


def chosen(option: str, variable: str, known: tuple[str, ...], automatic: list[str]) -> list[str]:
    """The names that the option or the variable asks for; `automatic` where they say nothing or `auto`."""
    text = option or os.environ.get(variable, "auto")
    names = automatic if text == "auto" else [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise pytest.UsageError(f"{variable}: {', '.join(unknown)} is none of {', '.join(known)}")
    return names


def _handed(config: pytest.Config, what: str) -> list[str] | None:
    found: dict[str, list[str]] = getattr(config, "workerinput", {})
    return found.get(what)


def chosen_brokers(config: pytest.Config) -> list[str]:
    """The brokers of this run; in a process of pytest-xdist those that the first process has chosen."""
    if handed := _handed(config, "brokers"):
        return handed
    return chosen(config.getoption("--brokers"), "SIGMAWATCH_TEST_BROKERS", BROKERS, automatic_brokers())


def chosen_databases(config: pytest.Config) -> list[str]:
    """The databases of this run; in a process of pytest-xdist those that the first process has chosen."""
    if handed := _handed(config, "databases"):
        return handed
    return chosen(
        config.getoption("--databases"), "SIGMAWATCH_TEST_DATABASES", DATABASES, automatic_databases()
    )


def automatic_brokers() -> list[str]:
    """The embedded one and the most real one."""
    real = next((name for name in ("kafka-container", "kafka") if why_not(name) is None), None)
    return ["tansu", *([real] if real else [])]


def automatic_databases() -> list[str]:
    """The embedded one and the most real one."""
    real = next((name for name in ("own", "timescaledb-container") if why_not(name) is None), None)
    return ["embedded", *([real] if real else [])]


@contextmanager
def running_broker(name: str, folder: Path):
    """A fresh broker: `name`, `bootstrap_servers`, and for the embedded ones `kill`, `restart` and the rest."""
    if reason := why_not(name):
        pytest.skip(f"{name}: {reason}")
    if name == "tansu":
        with TansuBroker(folder) as broker:
            yield broker
    elif name == "kafka":
        with KafkaBroker(folder, cache_folder(), properties=FAST_GROUPS, java_options=QUICK_START) as broker:
            yield broker
    else:
        with _kafka_container() as broker:
            yield broker


_LOOPBACK: Any = ("127.0.0.1", None)
"""A free port, published on loopback only; `with_bind_ports` takes port numbers alone."""


@dataclass
class ContainerBroker:
    bootstrap_servers: str
    name: str = "kafka-container"


@contextmanager
def _kafka_container():
    """Apache Kafka's own image, a broker that is its controller too; testcontainers' class knows Confluent's only."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    _without_ryuk()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        **FAST_GROUPS,
    }
    container: Any = DockerContainer(local_image(KAFKA_IMAGES))
    container.ports[9092] = ("127.0.0.1", port)
    for key, value in properties.items():
        container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    with container:
        address = f"127.0.0.1:{port}"
        _until_it_answers(address)
        yield ContainerBroker(address)


def _until_it_answers(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def answers() -> bool:
        with suppress(KafkaException):
            return bool(admin.list_topics(timeout=2.0).brokers)
        return False

    until(answers, 180, f"the broker at {address} answers")


@dataclass
class RunningDatabase:
    url: str = field(repr=False)  # has the password
    name: str


@contextmanager
def running_database(name: str, folder: Path):
    """A database server with an empty database: `url`, and for the embedded ones `kill` and `restart`."""
    if reason := why_not(name):
        pytest.skip(f"{name}: {reason}")
    if name == "timescaledb-container":
        with _database_container() as database:
            yield database
    elif name == "own":
        with scratch_database(os.environ[OWN_DATABASE]) as url:
            yield RunningDatabase(url, name)
    else:
        source = "auto" if name == "embedded" else "postgresql"
        with EmbeddedPostgres(folder, cache_folder(), source=source, settings=WITHOUT_SYNC) as database:
            yield database


@contextmanager
def _database_container():
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415

    _without_ryuk()
    container: Any = PostgresContainer(local_image(DATABASE_IMAGES), driver=None, dbname="sigmawatch")
    container.ports[5432] = _LOOPBACK
    container.with_env("POSTGRES_INITDB_ARGS", "--no-sync")
    container.with_command(
        " ".join(["postgres", *(f"-c {name}={value}" for name, value in WITHOUT_SYNC.items())])
    )
    with container as running:
        at = f"127.0.0.1:{running.get_exposed_port(5432)}"
        url = f"postgresql://{running.username}:{running.password}@{at}/{running.dbname}"
        yield RunningDatabase(url, "timescaledb-container")


@contextmanager
def scratch_database(server: str, options: str = "") -> Iterator[str]:
    """URL of a new and empty place on a server, dropped afterwards: a database, or else a schema.

    Args:
        server: URL of a database of that server, to create the new one from.
        options: of CREATE DATABASE.
    """
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE DATABASE {name} {options}".encode())
            kind, url = "DATABASE", urlsplit(server)._replace(path=f"/{name}").geturl()
        except psycopg.errors.InsufficientPrivilege as error:
            if options:
                pytest.skip(f"no database with {options} can be had: {error}")
            connection.execute(f"CREATE SCHEMA {name}".encode())
            kind, url = "SCHEMA", _in_schema(server, name)
    try:
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            how = "WITH (FORCE)" if kind == "DATABASE" else "CASCADE"
            connection.execute(f"DROP {kind} {name} {how}".encode())


def _in_schema(url: str, schema: str) -> str:
    """The URL with a search path of its own; the extension's functions are found in `public`."""
    parts = urlsplit(url)
    path = "options=" + quote(f"-csearch_path={schema},public", safe="")
    return parts._replace(query=f"{parts.query}&{path}" if parts.query else path).geturl()


def _without_ryuk() -> None:
    """The helper container that cleans up is an image of its own; where it is missing the tests clean up alone."""
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415

    if local_image((testcontainers_config.ryuk_image,)) is None:
        testcontainers_config.ryuk_disabled = True
    testcontainers_config.tc_host_override = "127.0.0.1"  # where the ports are published
