"""The catalogue as a schema registry shows it, to be read only: for console tools, and clients in other languages.

Paths, answers and error codes are those of Confluent's registry. Subjects follow the TopicNameStrategy, `readings-value`;
ids are the catalogue's, which messages carry where no registry is set.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastavro.schema import parse_schema
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from schemas.catalogue import Catalogue, Schema, SchemaVersion, Subject
from schemas.compatibility import backward_problems
from schemas.settings import TopicSettings
from schemas.strict_json import NotJsonError, parse_json
from schemas.web.errors import GUARDED, ErrorBody
from sinks.api.answers import answer

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_LEVEL = "BACKWARD_TRANSITIVE"

SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403
_INVALID_SCHEMA, _INVALID_VERSION, _READ_ONLY = 42201, 42202, 42205

_Subject = Annotated[str, Path(examples=["readings-value"])]
_Version = Annotated[str, Path(description="A number, or latest.", examples=["latest"])]


class RegistryRefusal(BaseModel):
    """An error, as Confluent's registry tells it."""

    error_code: int
    message: str


class RegisteredSchema(BaseModel):
    """A version of a subject; `schema` is JSON in text."""

    model_config = ConfigDict(extra="allow")

    subject: str
    version: int
    id: int


class _RefusedError(HTTPException):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(code // 100, message)
        self.code = code


_REFUSAL = {_MEDIA_TYPE: {"schema": RegistryRefusal.model_json_schema()}}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"content": _REFUSAL, "description": "No such subject, version or schema."}
}
_UNUSABLE: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorBody, "content": _REFUSAL, "description": "The version or the schema is none."}
}
_EXAMPLE = {
    "subject": "readings-value",
    "version": 1,
    "id": 1,
    "schema": '{"type": "record", "name": "Reading"}',
}


class _View:
    """The catalogue by subject."""

    def __init__(self, catalogue: Catalogue, topics: TopicSettings) -> None:
        names = {
            Subject.READING: f"{topics.readings}-value",
            Subject.DEVICE: f"{topics.devices}-value",
            Subject.ANOMALY: f"{topics.anomalies}-value",
        }
        self._versions: dict[str, dict[int, SchemaVersion]] = {name: {} for name in sorted(names.values())}
        self._by_id: dict[int, list[tuple[str, SchemaVersion]]] = {}
        for entry in catalogue.versions:
            name = names[Subject(entry.subject)]
            self._versions[name][entry.version] = entry
            self._by_id.setdefault(entry.schema_id, []).append((name, entry))

    def subjects(self) -> list[str]:
        return list(self._versions)

    def versions(self, subject: str) -> dict[int, SchemaVersion]:
        found = self._versions.get(subject)
        if not found:
            raise _RefusedError(SUBJECT_NOT_FOUND, f"Subject '{subject[:200]}' not found.")
        return found

    def version(self, subject: str, version: str) -> SchemaVersion:
        versions = self.versions(subject)
        if version in ("latest", "-1"):
            return versions[max(versions)]
        if not (version.isascii() and version.isdecimal() and 0 < int(version) < 2**31):
            message = (
                f"The specified version '{version[:50]}' is not a valid version id. Allowed values are between"
                ' [1, 2^31-1] and the string "latest"'
            )
            raise _RefusedError(_INVALID_VERSION, message)
        if int(version) not in versions:
            raise _RefusedError(VERSION_NOT_FOUND, f"Version {version} not found.")
        return versions[int(version)]

    def by_id(self, schema_id: str) -> list[tuple[str, SchemaVersion]]:
        usable = schema_id.isascii() and schema_id.isdecimal() and len(schema_id) < 12
        found = self._by_id.get(int(schema_id)) if usable else None
        if not found:
            raise _RefusedError(SCHEMA_NOT_FOUND, f"Schema {schema_id[:50]} not found")
        return found

    def like(self, subject: str, wanted: Schema) -> SchemaVersion:
        """The newest version of a subject that is this schema, but for what only people read."""
        for entry in reversed(self.versions(subject).values()):
            if _meaning(entry.schema) == _meaning(wanted):
                return entry
        raise _RefusedError(SCHEMA_NOT_FOUND, "Schema not found")


def add_registry_view(app: FastAPI, topics: TopicSettings, catalogue: Catalogue | None = None) -> None:
    """Put the routes, and their form of errors, into an app."""
    view = _View(catalogue or Catalogue(), topics)
    routes = APIRouter(
        tags=["schema registry (read-only)"], default_response_class=Response, responses=GUARDED
    )
    _add_subjects(routes, view)
    _add_schemas(routes, view)
    _add_questions(routes, view)
    _add_configuration(routes, view)
    app.include_router(routes)
    app.add_exception_handler(_RefusedError, _on_refused)


class _RegistryJson(JSONResponse):
    media_type = _MEDIA_TYPE


def _described(example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {_MEDIA_TYPE: {"example": example}}}, 304: {"description": "Not changed."}}


def _add_subjects(routes: APIRouter, view: _View) -> None:
    @routes.get("/subjects", responses=_described(["anomalies-value", "devices-value", "readings-value"]))
    def subjects(
        request: Request,
        prefix: Annotated[str, Query(alias="subjectPrefix", max_length=1000)] = "",
    ) -> Response:
        """What there are schemas of."""
        wanted = prefix.removeprefix(":*:")
        return _answer(request, [name for name in view.subjects() if name.startswith(wanted)])

    @routes.get("/subjects/{subject}/versions", responses=_described([1]) | _NOT_FOUND)
    def versions(request: Request, subject: _Subject) -> Response:
        """The versions of a subject."""
        return _answer(request, list(view.versions(subject)))

    @routes.get(
        "/subjects/{subject}/versions/{version}", responses=_described(_EXAMPLE) | _NOT_FOUND | _UNUSABLE
    )
    def version(request: Request, subject: _Subject, version: _Version) -> Response:
        """A version of a subject."""
        return _answer(request, _registered(subject, view.version(subject, version)))

    @routes.get(
        "/subjects/{subject}/versions/{version}/schema",
        responses=_described({"type": "record", "name": "Reading"}) | _NOT_FOUND | _UNUSABLE,
    )
    def bare(request: Request, subject: _Subject, version: _Version) -> Response:
        """Its schema alone."""
        return _answer(request, view.version(subject, version).schema)

    @routes.get(
        "/subjects/{subject}/versions/{version}/referencedby",
        responses=_described([]) | _NOT_FOUND | _UNUSABLE,
    )
    def referenced(request: Request, subject: _Subject, version: _Version) -> Response:
        """Ids of schemas that refer to it: none do."""
        view.version(subject, version)
        return _answer(request, [])


def _add_schemas(routes: APIRouter, view: _View) -> None:
    identity = Annotated[str, Path(examples=["1"])]

    @routes.get("/schemas/types", responses=_described(["AVRO"]))
    def types(request: Request) -> Response:
        """Kinds of schemas."""
        return _answer(request, ["AVRO"])

    @routes.get("/schemas/ids/{schema_id}", responses=_described({"schema": "{}"}) | _NOT_FOUND)
    def schema(request: Request, schema_id: identity) -> Response:
        """The schema that messages with this id are written in."""
        ((_, entry), *_) = view.by_id(schema_id)
        return _answer(request, {"schema": _text(entry)})

    @routes.get(
        "/schemas/ids/{schema_id}/schema",
        responses=_described({"type": "record", "name": "Reading"}) | _NOT_FOUND,
    )
    def bare(request: Request, schema_id: identity) -> Response:
        """The schema alone."""
        return _answer(request, view.by_id(schema_id)[0][1].schema)

    @routes.get("/schemas/ids/{schema_id}/subjects", responses=_described(["readings-value"]) | _NOT_FOUND)
    def subjects(request: Request, schema_id: identity) -> Response:
        """Subjects that have it."""
        return _answer(request, [subject for subject, _ in view.by_id(schema_id)])

    @routes.get(
        "/schemas/ids/{schema_id}/versions",
        responses=_described([{"subject": "readings-value", "version": 1}]) | _NOT_FOUND,
    )
    def versions(request: Request, schema_id: identity) -> Response:
        """Subjects and versions that are it."""
        found = view.by_id(schema_id)
        return _answer(request, [{"subject": name, "version": entry.version} for name, entry in found])


def _add_questions(routes: APIRouter, view: _View) -> None:
    body = {
        "requestBody": {
            "required": True,
            "content": {
                _MEDIA_TYPE: {
                    "schema": {
                        "type": "object",
                        "required": ["schema"],
                        "properties": {"schema": {"type": "string"}, "schemaType": {"const": "AVRO"}},
                    },
                    "example": {"schema": '{"type": "record", "name": "Reading", "fields": []}'},
                }
            },
        }
    }

    @routes.post(
        "/subjects/{subject}",
        responses=_described(_EXAMPLE) | _NOT_FOUND | _UNUSABLE,
        openapi_extra=body,
    )
    async def look_up(request: Request, subject: _Subject) -> Response:
        """Which version of a subject a schema is."""
        view.versions(subject)
        return _answer(request, _registered(subject, view.like(subject, await _schema_of(request))))

    @routes.post(
        "/subjects/{subject}/versions",
        responses=_described({"id": 1}) | _NOT_FOUND | _UNUSABLE,
        openapi_extra=body,
    )
    async def register(request: Request, subject: _Subject) -> Response:
        """The id of a schema that is there; another one is refused, as nothing can be registered here."""
        wanted = await _schema_of(request)
        try:
            return _answer(request, {"id": view.like(subject, wanted).schema_id})
        except _RefusedError:
            raise _RefusedError(
                _READ_ONLY, f"Subject {subject[:200]} is in read-only mode: the catalogue is in the program"
            ) from None

    @routes.post(
        "/compatibility/subjects/{subject}/versions/{version}",
        responses=_described({"is_compatible": True}) | _NOT_FOUND | _UNUSABLE,
        openapi_extra=body,
    )
    async def compare(
        request: Request, subject: _Subject, version: _Version, verbose: bool = False
    ) -> Response:
        """Whether a schema reads what a version wrote."""
        entry = view.version(subject, version)
        return _compared(request, [entry], await _schema_of(request), verbose=verbose)

    @routes.post(
        "/compatibility/subjects/{subject}/versions",
        responses=_described({"is_compatible": True}) | _NOT_FOUND | _UNUSABLE,
        openapi_extra=body,
    )
    async def compare_all(request: Request, subject: _Subject, verbose: bool = False) -> Response:
        """Whether a schema reads what every version wrote."""
        entries = list(view.versions(subject).values())
        return _compared(request, entries, await _schema_of(request), verbose=verbose)


def _add_configuration(routes: APIRouter, view: _View) -> None:
    level = {"compatibilityLevel": _LEVEL}

    @routes.get("/config", responses=_described(level))
    def config(request: Request) -> Response:
        """How versions must fit together."""
        return _answer(request, level)

    @routes.get("/config/{subject}", responses=_described(level) | _NOT_FOUND)
    def config_of(request: Request, subject: _Subject) -> Response:
        """How the versions of a subject must fit together."""
        view.versions(subject)
        return _answer(request, level)

    @routes.get("/mode", responses=_described({"mode": "READONLY"}))
    def mode(request: Request) -> Response:
        """Whether schemas can be registered: no."""
        return _answer(request, {"mode": "READONLY"})

    @routes.get("/mode/{subject}", responses=_described({"mode": "READONLY"}) | _NOT_FOUND)
    def mode_of(request: Request, subject: _Subject) -> Response:
        """Whether versions of a subject can be registered: no."""
        view.versions(subject)
        return _answer(request, {"mode": "READONLY"})


def _answer(request: Request, content: Any) -> Response:
    return answer(request, content, media_type=_MEDIA_TYPE)


def _compared(request: Request, entries: list[SchemaVersion], wanted: Schema, *, verbose: bool) -> Response:
    problems = [
        f"version {entry.version}: {problem}"
        for entry in entries
        for problem in backward_problems(wanted, entry.schema)
    ]
    messages = {"messages": problems} if verbose else {}
    return _answer(request, {"is_compatible": not problems, **messages})


def _registered(subject: str, entry: SchemaVersion) -> dict[str, Any]:
    return {"subject": subject, "version": entry.version, "id": entry.schema_id, "schema": _text(entry)}


def _text(entry: SchemaVersion) -> str:
    return json.dumps(entry.schema, separators=(",", ":"))


async def _schema_of(request: Request) -> Schema:
    """The schema in a request's body, whatever the body's type is called."""
    try:
        return _schema_in(parse_json(await request.body()))
    except NotJsonError as error:
        raise _RefusedError(_INVALID_SCHEMA, f"Invalid schema: the body is {error}") from None


def _schema_in(content: Any) -> Schema:
    text = content.get("schema") if isinstance(content, Mapping) else None
    if not isinstance(text, str):
        raise _RefusedError(_INVALID_SCHEMA, 'Invalid schema: the body has no text "schema"')
    if content.get("schemaType") not in (None, "AVRO") or content.get("references"):
        raise _RefusedError(_INVALID_SCHEMA, "Invalid schema: only AVRO without references is known here")
    try:
        schema = json.loads(text)
        parse_schema(schema)
        backward_problems(schema, schema)
        _meaning(schema)
    except Exception as error:  # noqa: BLE001 - fastavro's, of many kinds
        raise _RefusedError(_INVALID_SCHEMA, f"Invalid schema: {str(error)[:200]}") from None
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise _RefusedError(_INVALID_SCHEMA, "Invalid schema: it is no record")
    return schema


def _meaning(schema: Any) -> Any:
    """A schema without what says nothing to programs."""
    if isinstance(schema, list):
        return [_meaning(part) for part in schema]
    if isinstance(schema, dict):
        kept = {key: _meaning(value) for key, value in schema.items() if key != "doc"}
        return kept["type"] if set(kept) == {"type"} and isinstance(kept["type"], str) else kept
    return schema


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, _RefusedError)
    message = str(error.detail).encode(errors="replace").decode()
    return _RegistryJson({"error_code": error.code, "message": message}, HTTPStatus(error.status_code))
