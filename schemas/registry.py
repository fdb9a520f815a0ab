"""Client of a Confluent-compatible schema registry, as a `SchemaSource`.

Subjects follow the TopicNameStrategy: `readings-value` for the topic `readings`. Writers look up the id of our own
newest schema and never change the registry, unless `schema_registry.auto_register` is set: `sigmawatch schemas
register` does, after a BACKWARD check of its own and the registry's.
"""

import json
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.common._httpx_compat import httpx
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from schemas.catalogue import Catalogue, Schema, SchemaVersion, Subject
from schemas.compatibility import backward_problems, catalogue_problems
from schemas.errors import (
    CodecError,
    ConfigError,
    RegistryError,
    RegistryUnavailableError,
    UnknownSchemaError,
)
from schemas.settings import SchemaRegistrySettings, Settings, TopicSettings

_DEFAULTS = {
    "timeout": 10,  # the library waits for ever otherwise
    "max.retries": 0,  # callers wait and ask again; they know what they keep waiting
}
# The library wants these as numbers; options are text.
_NUMBERS = {
    "timeout", "cache.capacity", "cache.latest.ttl.sec", "max.retries", "retries.wait.ms", "retries.max.wait.ms",
}  # fmt: skip

_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND = 40401, 40403
_BACKWARD_LEVELS = {"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}
_PASSING = {408, 429}
"""HTTP statuses below 500 that go away by themselves."""


class SchemaState(StrEnum):
    """How a schema of ours stands with the registry."""

    FIXED = "fixed id"
    PRESENT = "present"
    REGISTERED = "registered"
    MISSING = "missing"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True, slots=True)
class SchemaResult:
    """What `register_schemas` or `check_schemas` found of one schema.

    Attributes:
        subject: as the registry names it, `readings-value`; without a registry the catalogue's name.
        version: of our file.
        state: how it stands.
        schema_id: its id, None where it has none.
        problems: what is wrong; empty where all is well.
    """

    subject: str
    version: int
    state: SchemaState
    schema_id: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether messages can be written with it."""
        return (
            self.state in {SchemaState.FIXED, SchemaState.PRESENT, SchemaState.REGISTERED}
            and not self.problems
        )

    def __str__(self) -> str:
        number = "" if self.schema_id is None else f" (id {self.schema_id})"
        details = f": {'; '.join(self.problems)}" if self.problems else ""
        return f"{self.subject} version {self.version} {self.state}{number}{details}"


class RegistryClient:
    """A registry's schemas, each asked for once; blocks up to the option `timeout` (10 s) a request.

    Raises:
        ConfigError: `schema_registry.url` is not set, or an option is not usable.
    """

    def __init__(self, settings: SchemaRegistrySettings, topics: TopicSettings) -> None:
        if settings.url is None:
            raise ConfigError("schema_registry.url is not set")
        self._auto_register = settings.auto_register
        self._url = settings.url
        self._catalogue = Catalogue()
        self._subjects = {
            Subject.READING: f"{topics.readings}-value",
            Subject.DEVICE: f"{topics.devices}-value",
            Subject.ANOMALY: f"{topics.anomalies}-value",
        }
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, Schema] = {}
        try:
            self._client = SchemaRegistryClient(
                {"url": settings.url, **_DEFAULTS, **_numbers(settings.options)}
            )
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ConfigError(f"schema_registry.options: {error}") from error
        self._close = weakref.finalize(
            self, self._client.close
        )  # a codec that is let go closes nothing itself

    def id_for(self, subject: str) -> int:
        """As `SchemaSource.id_for`; registers a missing schema where `auto_register` is set."""
        if subject not in self._ids:
            result = self.register(subject) if self._auto_register else self._look_up(subject)
            if not result.fine or result.schema_id is None:
                raise RegistryError(f"schema registry: {result}", "Run `sigmawatch schemas register`.")
            self._ids[subject] = result.schema_id
        return self._ids[subject]

    def schema(self, schema_id: int) -> Schema:
        """As `SchemaSource.schema`.

        Raises:
            CodecError: the schema is there and no Avro schema by itself.
        """
        if schema_id not in self._schemas:
            try:
                found = self._client.get_schema(schema_id)
            except Exception as error:
                if _code(error) == _SCHEMA_NOT_FOUND:
                    raise UnknownSchemaError(schema_id) from error
                self._fail(error)
            self._schemas[schema_id] = _parse(schema_id, found)
        return self._schemas[schema_id]

    def known_ids(self) -> Iterable[int]:
        """As `SchemaSource.known_ids`: those asked for so far."""
        return tuple(self._schemas)

    def register(self, subject: str) -> SchemaResult:
        """Put our newest schema of a subject into the registry, if it is not there and reads what is.

        Raises:
            RegistryUnavailableError: no answer.
            RegistryError: the registry refuses (rights, or a stricter compatibility level of its own).
        """
        ours = self._catalogue.newest(subject)
        present = self._look_up(subject)
        if present.state is not SchemaState.MISSING:
            return present
        name = self._subjects[Subject(subject)]
        problems = self._compatibility_problems(name, ours)
        if problems:
            return SchemaResult(name, ours.version, SchemaState.INCOMPATIBLE, problems=tuple(problems))
        try:
            schema_id = self._client.register_schema(name, _registry_schema(ours))
        except Exception as error:  # noqa: BLE001 -- translated
            self._fail(error)
        return SchemaResult(name, ours.version, SchemaState.REGISTERED, schema_id)

    def check(self, subject: str) -> SchemaResult:
        """How our newest schema of a subject stands; changes nothing. Errors as `register`."""
        ours = self._catalogue.newest(subject)
        name = self._subjects[Subject(subject)]
        result = self._look_up(subject)
        problems = list(result.problems)
        state = result.state
        if state is SchemaState.MISSING:
            incompatible = self._compatibility_problems(name, ours)
            if incompatible:
                state, problems = SchemaState.INCOMPATIBLE, incompatible
        level = self._level(name)
        if level not in _BACKWARD_LEVELS:
            problems.append(f"the registry's compatibility level is {level}, expected BACKWARD or stricter")
        return SchemaResult(name, ours.version, state, result.schema_id, tuple(problems))

    def close(self) -> None:
        """Close the connections; done by itself when the client is let go."""
        self._close()

    def _look_up(self, subject: str) -> SchemaResult:
        ours = self._catalogue.newest(subject)
        name = self._subjects[Subject(subject)]
        try:
            found = self._client.lookup_schema(name, _registry_schema(ours))
        except Exception as error:  # noqa: BLE001 -- translated
            if _code(error) in {_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND}:
                return SchemaResult(name, ours.version, SchemaState.MISSING)
            self._fail(error)
        if found.schema_id is None:
            raise RegistryError(f"schema registry {self._url}: answered without a schema id")
        return SchemaResult(name, ours.version, SchemaState.PRESENT, found.schema_id)

    def _compatibility_problems(self, name: str, ours: SchemaVersion) -> list[str]:
        """Why ours cannot read what the registry's newest version of the subject wrote."""
        try:
            latest = self._client.get_latest_version(name)
        except Exception as error:  # noqa: BLE001 -- translated
            if _code(error) == _SUBJECT_NOT_FOUND:
                return []
            self._fail(error)
        try:
            theirs = _parse(latest.schema_id or 0, latest.schema)
            return [
                f"cannot read version {latest.version}: {text}"
                for text in backward_problems(ours.schema, theirs)
            ]
        except (CodecError, KeyError, TypeError) as error:
            return [f"version {latest.version} is not comparable: {error}"]

    def _level(self, name: str) -> str:
        for subject in (name, None):
            try:
                config = self._client.get_config(subject)
            except Exception as error:  # noqa: BLE001 -- translated
                if (
                    subject is not None
                    and isinstance(error, SchemaRegistryError)
                    and error.http_status_code == 404
                ):
                    continue  # no level of its own: the global one holds
                self._fail(error)
            return str(config.compatibility_level or config.compatibility)
        raise AssertionError

    def _fail(self, error: Exception) -> NoReturn:
        """Raise what a client's exception means."""
        where = f"schema registry {self._url}"
        if isinstance(error, httpx.TransportError | OAuthTokenError):
            raise RegistryUnavailableError(
                f"{where} does not answer: {error or type(error).__name__}"
            ) from error
        if isinstance(error, SchemaRegistryError):
            status = error.http_status_code
            text = f"{error.error_message} (HTTP {status})"
            if status >= 500 or status in _PASSING:
                raise RegistryUnavailableError(f"{where} does not answer: {text}") from error
            remedy = "Check schema_registry.options and your rights." if status in {401, 403} else ""
            raise RegistryError(f"{where} refuses: {text}", remedy) from error
        raise RegistryError(f"{where} answers nonsense: {error!r}", "Is it a schema registry?") from error


def register_schemas(settings: Settings) -> list[SchemaResult]:
    """Register every schema that the registry lacks; blocks. What `sigmawatch schemas register` does.

    Raises:
        ConfigError: no registry is set.
        RegistryError: the catalogue's own versions do not fit each other, or the registry refuses.
        RegistryUnavailableError: no answer.
    """
    problems = catalogue_problems(Catalogue())
    if problems:
        raise RegistryError("; ".join(problems))
    client = RegistryClient(settings.schema_registry, settings.topics)
    try:
        return [client.register(subject) for subject in Subject]
    finally:
        client.close()


def check_schemas(settings: Settings) -> list[SchemaResult]:
    """How every schema stands, without a change; blocks. What `sigmawatch schemas check` does.

    Without a registry the catalogue's own versions are compared with each other. Errors as `register_schemas`.
    """
    catalogue = Catalogue()
    problems = catalogue_problems(catalogue)
    if settings.schema_registry.url is None:
        return [_fixed(catalogue.newest(subject), problems) for subject in Subject]
    if problems:
        raise RegistryError("; ".join(problems))
    client = RegistryClient(settings.schema_registry, settings.topics)
    try:
        return [client.check(subject) for subject in Subject]
    finally:
        client.close()


def _fixed(newest: SchemaVersion, problems: list[str]) -> SchemaResult:
    own = tuple(problem for problem in problems if problem.startswith(f"{newest.subject} "))
    return SchemaResult(newest.subject, newest.version, SchemaState.FIXED, newest.schema_id, own)


def _registry_schema(version: SchemaVersion) -> RegistrySchema:
    return RegistrySchema(json.dumps(version.schema), "AVRO")


def _parse(schema_id: int, found: RegistrySchema) -> Schema:
    if (found.schema_type or "AVRO") != "AVRO" or found.references:
        raise CodecError(f"schema {schema_id} is no Avro schema by itself")
    try:
        schema: Schema = json.loads(found.schema_str or "")
    except ValueError as error:
        raise CodecError(f"schema {schema_id} is no Avro schema: {error}") from error
    return schema


def _code(error: Exception) -> int | None:
    return error.error_code if isinstance(error, SchemaRegistryError) else None


def _numbers(options: Mapping[str, str]) -> dict[str, Any]:
    return {key: float(value) if key in _NUMBERS else value for key, value in options.items()}
