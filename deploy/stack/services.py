"""Broker and database of a stack: started here, or the user's own."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deploy.embedded import EmbeddedPostgres, KafkaBroker, TansuBroker, cache_folder
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.settings import Settings

Broker = Literal["tansu", "kafka"]

_MEMORY_SHARE = 0.25
"""Of the machine's memory, how much the broker that keeps its log there may take before the run is ended."""
_LEAST_MEMORY = 1 << 30


@dataclass(slots=True)
class Services:
    """What the parts connect to.

    Attributes:
        bootstrap_servers: of the broker.
        database_url: with its password.
        broker: the embedded broker, if there is one.
        database: the embedded database, if there is one.
        places: where they are, for people.
    """

    bootstrap_servers: str
    database_url: str
    broker: TansuBroker | KafkaBroker | None
    database: EmbeddedPostgres | None
    places: str

    def broker_memory_is_full(self) -> bool:
        """Whether the embedded broker holds so much in memory that the machine would suffer."""
        if not isinstance(self.broker, TansuBroker):
            return False
        used = self.broker.process.memory_bytes
        return used is not None and used > max(_LEAST_MEMORY, _MEMORY_SHARE * machine_memory())

    def broker_is_dead(self) -> bool:
        """Whether the embedded broker ended; what an in-memory one held is gone with it."""
        return self.broker is not None and not self.broker.process.alive

    def database_is_dead(self) -> bool:
        """Whether the embedded database ended."""
        return self.database is not None and not self.database.process.alive


def machine_memory() -> int:
    """Bytes of the machine's memory."""
    import os  # noqa: PLC0415

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def start_services(
    settings: "Settings",
    state: Path,
    broker: str,
    *,
    own_broker: bool,
    own_database: bool,
    tell: Callable[[str], None],
    stack: ExitStack,
) -> Services:
    """Start what is not the user's own; `stack` stops it. Blocks some seconds, the first time longer.

    Raises:
        ConfigError: there is no such broker.
        EmbeddedError: one cannot be had or does not start.
    """
    if broker not in ("tansu", "kafka"):
        raise ConfigError(f"--broker {broker}", "Give tansu or kafka.")
    embedded_database: EmbeddedPostgres | None = None
    if own_database:
        assert settings.database.url is not None
        url = settings.database.url.get_secret_value()
    else:
        embedded_database = stack.enter_context(
            EmbeddedPostgres(state, cache_folder(settings.cache_dir), progress=tell)
        )
        url = embedded_database.url
    embedded_broker: TansuBroker | KafkaBroker | None = None
    if own_broker:
        servers = settings.kafka.bootstrap_servers
    else:
        embedded_broker = (
            stack.enter_context(TansuBroker(state, progress=tell))
            if broker == "tansu"
            else stack.enter_context(KafkaBroker(state, settings.cache_dir, progress=tell))
        )
        servers = embedded_broker.bootstrap_servers
    name = {"tansu": "Tansu", "kafka": "Apache Kafka"}[broker] if embedded_broker else "Kafka"
    store = str(embedded_database.server) if embedded_database else "your database"
    return Services(servers, url, embedded_broker, embedded_database, f"{name} on {servers}, {store}")


def with_services(settings: "Settings", services: Services) -> "Settings":
    """The settings with the addresses of broker and database."""
    from pydantic import SecretStr  # noqa: PLC0415

    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": services.bootstrap_servers}),
            "database": settings.database.model_copy(update={"url": SecretStr(services.database_url)}),
        }
    )
