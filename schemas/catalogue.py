"""The catalogue: each version of each schema, a file of the package with a fixed id.

`Catalogue` is the `SchemaSource` of installations without a schema registry. The dataclasses in
`schemas.readings` mirror the newest version of each subject.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any, Protocol

from fastavro.schema import to_parsing_canonical_form

from schemas.errors import SigmawatchError, UnknownSchemaError

Schema = dict[str, Any]
"""An Avro record schema as JSON gives it."""


class Subject(StrEnum):
    """What there are schemas of: the folders under `schemas/avro`."""

    READING = "reading"
    DEVICE = "device"
    ANOMALY = "anomaly"


# An id, once given, stays with its file for ever: messages carry it. New versions get new ids.
SCHEMA_IDS = {
    (Subject.READING, 1): 1,
    (Subject.DEVICE, 1): 2,
    (Subject.ANOMALY, 1): 3,
    (Subject.ANOMALY, 2): 4,
}


class SchemaSource(Protocol):
    """Where the codec gets schemas from: `Catalogue`, or `schemas.registry.RegistryClient`."""

    def id_for(self, subject: str) -> int:
        """Id under which messages of a subject are written; its schema is the newest version.

        May block where it asks a server; that is cached.

        Raises:
            RegistryUnavailableError: the server does not answer.
            RegistryError: it has no such schema.
        """

    def schema(self, schema_id: int) -> Schema:
        """The schema with an id; may block as `id_for`.

        Raises:
            UnknownSchemaError: there is none.
            RegistryUnavailableError: the server does not answer.
        """

    def known_ids(self) -> Iterable[int]:
        """Ids whose schema is at hand, so that `schema` answers at once."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One file of the catalogue."""

    subject: str
    version: int
    schema_id: int
    schema: Schema


def packaged_versions() -> list[SchemaVersion]:
    """Every version in the package, by subject and version."""
    return [
        SchemaVersion(subject, version, schema_id, _load(subject, version))
        for (subject, version), schema_id in sorted(SCHEMA_IDS.items())
    ]


def _load(subject: str, version: int) -> Schema:
    text = resources.files("schemas").joinpath("avro", subject, f"{version}.avsc").read_text("utf-8")
    schema: Schema = json.loads(text)
    return schema


class Catalogue:
    """Schemas with fixed ids, in memory; never blocks.

    Args:
        versions: what is in it; the package's own files unless said (tests add versions).

    Raises:
        SigmawatchError: two versions have the same id.
    """

    def __init__(self, versions: Iterable[SchemaVersion] | None = None) -> None:
        self.versions = sorted(
            packaged_versions() if versions is None else versions,
            key=lambda entry: (entry.subject, entry.version),
        )
        self._by_id = {entry.schema_id: entry for entry in self.versions}
        if len(self._by_id) != len(self.versions):
            raise SigmawatchError("two schemas of the catalogue have the same id")

    def newest(self, subject: str) -> SchemaVersion:
        """The version in which messages of a subject are written.

        Raises:
            SigmawatchError: there is no such subject.
        """
        found = [entry for entry in self.versions if entry.subject == subject]
        if not found:
            raise SigmawatchError(f"no schema {subject!r} in the catalogue")
        return found[-1]

    def id_for(self, subject: str) -> int:
        """As `SchemaSource.id_for`."""
        return self.newest(subject).schema_id

    def schema(self, schema_id: int) -> Schema:
        """As `SchemaSource.schema`."""
        entry = self._by_id.get(schema_id)
        if entry is None:
            raise UnknownSchemaError(schema_id)
        return entry.schema

    def known_ids(self) -> Iterable[int]:
        """As `SchemaSource.known_ids`: all of them."""
        return self._by_id.keys()


def layout(schema: Schema) -> str:
    """What of a record schema decides its bytes: name, fields, types; equal layouts have equal bodies.

    Raises:
        Exception: fastavro's, where it is no Avro schema.
    """
    canonical = json.loads(to_parsing_canonical_form(schema))
    canonical["name"] = canonical["name"].rpartition(".")[2]
    return json.dumps(canonical)
