"""What several commands make from the settings: the codec, the log, Kafka clients, a database connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from schemas.codec import Codec
from schemas.errors import ConfigError, SigmawatchError, first_line
from schemas.kafka import client_config, new_client
from schemas.settings import Settings

if TYPE_CHECKING:
    import psycopg

ANSWER_SECONDS = 15.0
"""How long a cluster may take to answer a question."""


class UnreachableError(SigmawatchError):
    """A broker or database does not answer a command that needs it now."""


def begin(settings: Settings) -> Settings:
    """Set up logging as the settings say; gives them back."""
    from schemas.logging import configure_logging  # noqa: PLC0415

    configure_logging(settings.log)
    return settings


def codec_of(settings: Settings) -> Codec:
    """The codec on the registry, where there is one, else on the catalogue.

    Raises:
        ConfigError: the registry's options are not usable.
    """
    from schemas.sources import schema_source  # noqa: PLC0415

    return Codec(schema_source(settings))


def admin_client(settings: Settings) -> Any:
    """confluent_kafka's AdminClient.

    Raises:
        ConfigError: librdkafka refuses its options.
    """
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    return new_client(AdminClient, client_config(settings.kafka))


def require_broker(settings: Settings, admin: Any) -> Any:
    """The cluster's metadata.

    Raises:
        UnreachableError: it does not answer.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        return admin.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        raise unreachable(settings, error) from error


def unreachable(settings: Settings, error: Any) -> UnreachableError:
    """The error for a KafkaException."""
    said = error.args[0]
    reason = said.str() if hasattr(said, "str") else str(said)
    return UnreachableError(
        f"the broker at {settings.kafka.bootstrap_servers} does not answer: {reason}",
        "Is it running? Name it with --bootstrap-servers.",
    )


def partition_counter(settings: Settings) -> Callable[[str], int | None]:
    """A function that gives the number of a topic's partitions, None where there is no such topic."""
    admin = admin_client(settings)

    def count(topic: str) -> int | None:
        found = require_broker(settings, admin).topics.get(topic)
        return len(found.partitions) or None if found is not None else None

    return count


def database_url(settings: Settings) -> str:
    """The database's URL, with its password.

    Raises:
        ConfigError: none is set.
    """
    if settings.database.url is None:
        raise ConfigError(
            "no database is named",
            "Give --database URL, SIGMAWATCH_DATABASE__URL, or database.url in the file.",
        )
    return settings.database.url.get_secret_value()


def safe_place(url: str) -> str:
    """A database URL without user and password."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.hostname or 'localhost'}{port}{parts.path}"


def connect_database(settings: Settings) -> "psycopg.Connection":
    """A connection in autocommit mode.

    Raises:
        ConfigError: no database is named.
        UnreachableError: it does not answer, or refuses us.
    """
    import psycopg  # noqa: PLC0415

    from sinks.timescale.connection import connection_options  # noqa: PLC0415

    url = database_url(settings)
    with reaching(url):
        timeout = max(1, round(settings.database.connect_timeout))
        return psycopg.connect(url, **connection_options("sigmawatch", timeout))


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """A block that connects to the database at `url`: what goes wrong is an UnreachableError."""
    import psycopg  # noqa: PLC0415

    try:
        yield
    except psycopg.Error as error:
        raise UnreachableError(
            f"the database {safe_place(url)} cannot be reached: {first_line(error)}",
            "Is it running, and are user and password right?",
        ) from None
