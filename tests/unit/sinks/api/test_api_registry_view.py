"""The read-only registry: by hand, and through confluent_kafka's own client."""

import json
import threading

import pytest
from api_parts import client_of, told_api
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastapi.testclient import TestClient

from schemas.catalogue import Catalogue
from schemas.registry import SchemaState, check_schemas
from schemas.settings import ApiSettings, SchemaRegistrySettings, Settings
from schemas.web.app import serve
from sinks.api.app import query_app

CATALOGUE = Catalogue()


@pytest.fixture(scope="module")
def address():
    """A server with the view in it."""
    settings = Settings(api=ApiSettings(port=0))
    stop, ports = threading.Event(), []
    listening = threading.Event()

    def told(port):
        ports.append(port)
        listening.set()

    app = query_app(settings, told_api())
    thread = threading.Thread(target=serve, args=(app, settings.api, stop), kwargs={"on_listening": told})
    thread.start()
    assert listening.wait(60)
    yield f"http://127.0.0.1:{ports[0]}"
    stop.set()
    thread.join(60)


@pytest.fixture(scope="module")
def registry(address):
    with SchemaRegistryClient({"url": address}) as made:
        yield made


@pytest.fixture(scope="module")
def client():
    with client_of(told_api()) as made:
        yield made


def code_of(action):
    with pytest.raises(SchemaRegistryError) as caught:
        action()
    return caught.value.error_code


def test_the_client_finds_every_version(registry):
    assert registry.get_subjects() == ["anomalies-value", "devices-value", "readings-value"]
    assert registry.get_versions("anomalies-value") == [1, 2]
    for entry in CATALOGUE.versions:
        subject = {"reading": "readings", "device": "devices", "anomaly": "anomalies"}[
            entry.subject
        ] + "-value"
        found = registry.get_version(subject, entry.version)
        assert (found.schema_id, found.version, found.subject) == (entry.schema_id, entry.version, subject)
        assert json.loads(found.schema.schema_str) == entry.schema
        assert json.loads(registry.get_schema(entry.schema_id).schema_str) == entry.schema
        looked_up = registry.lookup_schema(subject, Schema(json.dumps(entry.schema, indent=3), "AVRO"))
        assert (looked_up.schema_id, looked_up.version) == (entry.schema_id, entry.version)
    assert registry.get_latest_version("anomalies-value").version == 2


def test_the_client_can_compare(registry):
    schema = CATALOGUE.newest("reading").schema
    assert registry.test_compatibility("readings-value", Schema(json.dumps(schema), "AVRO"))
    more = schema | {"fields": [*schema["fields"], {"name": "colour", "type": "string"}]}
    assert not registry.test_compatibility("readings-value", Schema(json.dumps(more), "AVRO"))
    assert registry.get_config("readings-value").compatibility_level == "BACKWARD_TRANSITIVE"


def test_errors_are_those_of_confluent(registry):
    other = Schema('{"type": "record", "name": "Other", "fields": []}', "AVRO")
    assert code_of(lambda: registry.get_versions("nothing-value")) == 40401
    assert code_of(lambda: registry.get_version("readings-value", 9)) == 40402
    assert code_of(lambda: registry.get_schema(99)) == 40403
    assert code_of(lambda: registry.lookup_schema("readings-value", other)) == 40403
    assert code_of(lambda: registry.register_schema("readings-value", other)) == 42205
    assert code_of(lambda: registry.lookup_schema("readings-value", Schema("{", "AVRO"))) == 42201
    assert code_of(lambda: registry.get_config("nothing-value")) == 40401


def test_registering_what_is_there_gives_its_id(registry):
    entry = CATALOGUE.newest("anomaly")
    schema = Schema(json.dumps(entry.schema), "AVRO")
    assert registry.register_schema("anomalies-value", schema) == entry.schema_id


def test_our_own_check_takes_it_for_a_registry(address):
    settings = Settings(schema_registry=SchemaRegistrySettings(url=address))
    assert {result.state for result in check_schemas(settings)} == {SchemaState.PRESENT}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/schemas/types", ["AVRO"]),
        ("/schemas/ids/4/versions", [{"subject": "anomalies-value", "version": 2}]),
        ("/schemas/ids/4/subjects", ["anomalies-value"]),
        ("/subjects?subjectPrefix=read", ["readings-value"]),
        ("/subjects/readings-value/versions/latest/referencedby", []),
        ("/config", {"compatibilityLevel": "BACKWARD_TRANSITIVE"}),
        ("/mode", {"mode": "READONLY"}),
        ("/mode/readings-value", {"mode": "READONLY"}),
    ],
)
def test_plain_questions(client, path, expected):
    answer = client.get(path)
    assert answer.json() == expected
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subjects/%00/versions", 404, 40401),
        ("/subjects/readings-value/versions/0", 422, 42202),
        ("/subjects/readings-value/versions/%D9%A1", 422, 42202),
        ("/subjects/readings-value/versions/first", 422, 42202),
        ("/schemas/ids/one", 404, 40403),
        ("/schemas/ids/%D9%A1", 404, 40403),
        ("/schemas/ids/" + "9" * 500, 404, 40403),
    ],
)
def test_nonsense_is_told_in_confluents_form(client, path, status, code):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"schema": 5}',
        b'{"schema": "\\"int\\""}',
        b'{"schema": "{}", "schemaType": "JSON"}',
        b"\xff",
    ],
)
def test_a_body_that_is_no_schema_is_refused(client, body):
    answer = client.post("/subjects/readings-value", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, 42201)


def test_why_versions_do_not_fit_is_told_when_asked(client):
    body = {
        "schema": '{"type": "record", "name": "Reading", "fields": [{"name": "colour", "type": "string"}]}'
    }
    path = "/compatibility/subjects/readings-value/versions?verbose=true"
    found = client.post(path, json=body).json()
    assert found["is_compatible"] is False
    assert any("colour" in message for message in found["messages"])


def test_with_a_registry_of_its_own_nothing_plays_one():
    settings = Settings(schema_registry=SchemaRegistrySettings(url="http://127.0.0.1:8081"))
    with TestClient(query_app(settings, told_api()), base_url="http://127.0.0.1") as made:
        assert made.get("/subjects").status_code == 404
