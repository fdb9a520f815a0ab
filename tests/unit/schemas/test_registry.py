"""The registry's client: laws that hold on every registry, and what it makes of one that misbehaves.

The laws run on the server of `registry_server.py`, and with SIGMAWATCH_TEST_REGISTRY=URL on a real one.
"""

import json
import os
import socket
import uuid

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from registry_server import RegistryServer

from schemas.catalogue import Catalogue, Subject
from schemas.codec import Codec
from schemas.errors import (
    CodecError,
    ConfigError,
    RegistryError,
    RegistryUnavailableError,
    UnknownSchemaError,
)
from schemas.readings import AnomalySeverity, Device, Reading
from schemas.registry import RegistryClient, SchemaState, check_schemas, register_schemas
from schemas.settings import SchemaRegistrySettings, Settings, TopicSettings
from schemas.sources import schema_source
from schemas.testing import anomaly

READING_1 = Catalogue().schema(1)
# What another, newer program may have registered under our topic.
READING_2 = READING_1 | {"fields": [*READING_1["fields"], {"name": "quality", "type": "int", "default": 0}]}
NOTHING_NEW = bytes.fromhex("0200000000")
"""The fields of Anomaly's version 2 at their defaults, which version 1 has not."""
FOREIGN = {"type": "record", "name": "Reading", "fields": [{"name": "device_id", "type": "int"}]}


@pytest.fixture
def server():
    with RegistryServer() as server:
        yield server


@pytest.fixture(params=["in-test", "real"])
def url(request):
    if request.param == "in-test":
        return request.getfixturevalue("server").url
    real = os.environ.get("SIGMAWATCH_TEST_REGISTRY")
    if not real:
        pytest.skip("SIGMAWATCH_TEST_REGISTRY names no real registry")
    return real


def settings_for(url, **registry):
    name = uuid.uuid4().hex[:8]  # a real registry keeps what other tests did
    topics = TopicSettings(readings=f"r-{name}", devices=f"d-{name}", anomalies=f"a-{name}")
    return Settings(schema_registry=SchemaRegistrySettings(url=url, **registry), topics=topics)


@pytest.fixture
def settings(url):
    return settings_for(url)


def client_for(settings):
    return RegistryClient(settings.schema_registry, settings.topics)


def put(settings, subject, schema):
    """Register as somebody else does."""
    with SchemaRegistryClient({"url": settings.schema_registry.url}) as client:
        client.set_compatibility(subject, "NONE")
        schema_id = client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
        client.set_compatibility(subject, "BACKWARD")
    return schema_id


# -- laws


def test_register_then_check(settings):
    topics = settings.topics
    names = [f"{topics.readings}-value", f"{topics.devices}-value", f"{topics.anomalies}-value"]
    assert [(result.subject, result.state, result.fine) for result in check_schemas(settings)] == [
        (name, SchemaState.MISSING, False) for name in names
    ]
    first = register_schemas(settings)
    assert [(result.subject, result.state, result.fine) for result in first] == [
        (name, SchemaState.REGISTERED, True) for name in names
    ]
    for again in (register_schemas(settings), check_schemas(settings)):
        assert [(result.state, result.schema_id, result.fine) for result in again] == [
            (SchemaState.PRESENT, result.schema_id, True) for result in first
        ]


def test_messages_carry_the_registrys_ids(settings):
    ids = {result.subject: result.schema_id for result in register_schemas(settings)}
    codec = Codec(schema_source(settings))
    reading = Reading("d", "m", 7, 2.5, "drift")
    data = codec.encode_reading(reading)
    assert int.from_bytes(data[1:5]) == ids[f"{settings.topics.readings}-value"]
    assert Codec(schema_source(settings)).decode_reading(data) == reading
    assert codec.decode_device(codec.encode_device(Device("d", "t"))) == Device("d", "t")
    assert codec.reading_prefix_ids() == {ids[f"{settings.topics.readings}-value"]}


def test_a_newer_reading_of_somebody_else_is_read(settings):
    register_schemas(settings)
    newer = put(settings, f"{settings.topics.readings}-value", READING_2)
    codec = Codec(schema_source(settings))
    data = codec.encode_reading(Reading("d", "m", 7, 2.5))  # still written as ours
    newer_data = b"\0" + newer.to_bytes(4) + data[5:] + b"\x06"
    assert codec.decode_reading(newer_data) == Reading("d", "m", 7, 2.5)
    assert codec.decode(newer_data)[1]["quality"] == 3
    assert newer not in codec.reading_prefix_ids()
    assert all(result.fine for result in check_schemas(settings))


def test_a_newer_version_of_ours_goes_over_the_older_one(settings):
    """A registry as a program before Anomaly's version 2 left it, with that program's messages in Kafka."""
    subject = f"{settings.topics.anomalies}-value"
    older = put(settings, subject, Catalogue().schema(3))
    assert check_schemas(settings)[2].state is SchemaState.MISSING
    result = register_schemas(settings)[2]
    assert (result.subject, result.version, result.state, result.fine) == (
        subject, 2, SchemaState.REGISTERED, True,
    )  # fmt: skip
    assert result.schema_id != older
    codec = Codec(schema_source(settings))
    new = anomaly(severity=AnomalySeverity.CRITICAL, reason="why")
    data = codec.encode_anomaly(new)
    assert int.from_bytes(data[1:5]) == result.schema_id
    assert codec.decode_anomaly(data) == new
    bare = Codec(Catalogue()).encode_anomaly(anomaly())[5:]
    old_data = b"\0" + older.to_bytes(4) + bare.removesuffix(NOTHING_NEW)
    assert codec.decode_anomaly(old_data) == anomaly()


def test_what_cannot_be_read_is_not_registered_over(settings):
    subject = f"{settings.topics.readings}-value"
    put(settings, subject, FOREIGN)
    for result in (register_schemas(settings)[0], check_schemas(settings)[0]):
        assert (result.state, result.fine, result.schema_id) == (SchemaState.INCOMPATIBLE, False, None)
        assert "cannot read version 1: field device_id: int cannot be read as string" in str(result)
    with pytest.raises(RegistryError, match=r"missing.*schemas register"):
        client_for(settings).id_for(Subject.READING)


def test_a_loose_compatibility_level_is_said(settings):
    register_schemas(settings)
    with SchemaRegistryClient({"url": settings.schema_registry.url}) as client:
        client.set_compatibility(f"{settings.topics.devices}-value", "NONE")
    readings, devices, _ = check_schemas(settings)
    assert readings.fine
    assert not devices.fine
    assert "compatibility level is NONE" in str(devices)


def test_nothing_is_registered_unasked(settings):
    with pytest.raises(RegistryError, match="schemas register") as caught:
        Codec(schema_source(settings)).encode_reading(Reading("d", "m", 1, 1.0))
    assert not isinstance(caught.value, RegistryUnavailableError)
    assert check_schemas(settings)[0].state is SchemaState.MISSING


def test_auto_register_does_it_on_first_use(url):
    settings = settings_for(url, auto_register=True)
    codec = Codec(schema_source(settings))
    assert codec.decode_reading(codec.encode_reading(Reading("d", "m", 1, 1.0))).time == 1
    assert check_schemas(settings)[0].state is SchemaState.PRESENT
    assert check_schemas(settings)[1].state is SchemaState.MISSING


def test_an_unknown_id(settings):
    client = client_for(settings)
    for schema_id in (2_000_000_000, 2**32 - 1):
        with pytest.raises(UnknownSchemaError):
            client.schema(schema_id)
    assert client.known_ids() == ()


# -- one that misbehaves


def test_each_schema_is_asked_for_once_and_an_unknown_one_again(server):
    settings = settings_for(server.url)
    register_schemas(settings)
    client = client_for(settings)
    server.requests.clear()
    for _ in range(3):
        assert client.id_for("reading") == 1
        assert client.schema(1) == READING_1
    assert len(server.requests) == 2
    for _ in range(2):
        with pytest.raises(UnknownSchemaError):
            client.schema(9)
    assert len(server.requests) == 4
    assert client.known_ids() == (1,)


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_an_ailing_registry_is_unavailable_and_asked_once(server, status):
    server.answer = status, {"error_code": 50003, "message": "forwarding failed"}
    client = client_for(settings_for(server.url))
    for ask in (
        lambda: client.schema(1),
        lambda: client.id_for("reading"),
        lambda: client.register("device"),
    ):
        server.requests.clear()
        with pytest.raises(RegistryUnavailableError, match="forwarding failed"):
            ask()
        assert len(server.requests) == 1
    server.answer = None
    assert client.register("reading").schema_id == 1


def test_nobody_there_is_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = client_for(settings_for(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(RegistryUnavailableError, match="does not answer"):
            client.schema(1)


def test_one_that_never_answers_is_unavailable_in_time():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = client_for(settings_for(url, options={"timeout": "0.2"}))
        with pytest.raises(RegistryUnavailableError):
            client.schema(1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((401, {"error_code": 40101, "message": "who are you"}), "refuses: who are you .*rights"),
        ((403, {"error_code": 40301, "message": "not you"}), "refuses"),
        # A 404 that is not the registry's own must not make every message a dead letter.
        ((404, b"<html>no such page</html>"), "refuses"),
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), "refuses"),
        ((200, b"<html>welcome</html>"), "nonsense"),
    ],
)
def test_a_refusal_is_neither_an_outage_nor_an_unknown_schema(server, answer, text):
    server.answer = answer
    client = client_for(settings_for(server.url))
    for ask in (lambda: client.schema(1), lambda: client.id_for("reading")):
        with pytest.raises(RegistryError, match=text) as caught:
            ask()
        assert not isinstance(caught.value, RegistryUnavailableError | CodecError)
        assert not isinstance(caught.value, CodecError)


def test_a_stricter_registry_may_refuse(server):
    client = client_for(settings_for(server.url))
    handle = server.handle
    server.handle = lambda method, path, body: (
        (409, {"error_code": 409, "message": "incompatible"})
        if "versions?" in path
        else handle(method, path, body)
    )
    with pytest.raises(RegistryError, match="refuses: incompatible"):
        client.register("reading")


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {"schema": "no json"},
        {"schema": json.dumps(READING_1), "references": [{"name": "a", "subject": "b", "version": 1}]},
    ],
)
def test_a_schema_of_another_kind_makes_its_messages_undecodable(server, answer):
    server.answer = 200, answer
    with pytest.raises(CodecError, match="no Avro schema"):
        Codec(client_for(settings_for(server.url))).decode(b"\0\0\0\0\1\0")


def test_credentials_are_sent_and_not_printed(server):
    settings = settings_for(server.url, options={"basic.auth.user.info": "user:hush"})
    register_schemas(settings)
    assert set(server.authorizations) == {"Basic dXNlcjpodXNo"}
    server.answer = 401, {"error_code": 40101, "message": "no"}
    with pytest.raises(RegistryError) as caught:
        register_schemas(settings)
    assert "hush" not in str(caught.value) + repr(settings)


def test_settings_that_do_not_do():
    with pytest.raises(ConfigError, match=r"schema_registry\.url is not set"):
        register_schemas(Settings())
    for options in ({"no.such": "1"}, {"timeout": "soon"}, {"basic.auth.user.info": "no-colon"}):
        with pytest.raises(ConfigError, match=r"^schema_registry\.options"):
            client_for(settings_for("http://127.0.0.1:1", options=options))


def test_without_a_registry_the_catalogue_is_checked():
    results = check_schemas(Settings())
    assert [(result.subject, result.state, result.schema_id, result.fine) for result in results] == [
        ("reading", SchemaState.FIXED, 1, True),
        ("device", SchemaState.FIXED, 2, True),
        ("anomaly", SchemaState.FIXED, 4, True),
    ]
    assert isinstance(schema_source(Settings()), Catalogue)
