"""A worker behind SASL and TLS: Faust's client and librdkafka get in by the same options."""

import uuid
from contextlib import contextmanager

import pytest

from deploy.embedded import KafkaBroker, cache_folder, free_port, kafka_available
from schemas.kafka import Publisher, PublishError, client_config
from tests.support.certificates import Authority
from tests.support.processing import Pipeline, fleet, processors, totals, until_applied
from tests.support.servers import FAST_GROUPS

pytestmark = pytest.mark.integration

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
PASSWORD = uuid.uuid4().hex


def properties(port, ports, authority):
    """Kafka with listeners for people with a password, with and without TLS, and for those with a certificate."""
    controller = free_port()
    listeners = {"BROKER": port, **ports}
    server = authority.identity("broker")
    jaas = f'{LOGIN} required user_ann="{PASSWORD}";'
    settings = {
        "listeners": ",".join(
            f"{name}://127.0.0.1:{number}" for name, number in {**listeners, "CONTROLLER": controller}.items()
        ),
        "advertised.listeners": ",".join(
            f"{name}://127.0.0.1:{number}" for name, number in listeners.items()
        ),
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "PLAIN:SASL_PLAINTEXT,BOTH:SASL_SSL,CERTIFIED:SSL",
        "listener.name.certified.ssl.client.auth": "required",
    }
    for name in ("plain", "both"):
        settings[f"listener.name.{name}.sasl.enabled.mechanisms"] = "PLAIN"
        settings[f"listener.name.{name}.plain.sasl.jaas.config"] = jaas
    for name in ("both", "certified"):
        prefix = f"listener.name.{name}.ssl."
        settings[prefix + "keystore.type"] = settings[prefix + "truststore.type"] = "PEM"
        settings[prefix + "keystore.certificate.chain"] = server.certificate_text
        settings[prefix + "keystore.key"] = server.key_text
        settings[prefix + "truststore.certificates"] = authority.certificate.read_text()
    return {**FAST_GROUPS, **settings}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    if reason := kafka_available():
        pytest.skip(f"needs Apache Kafka's listeners: {reason}")
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder)
    port, ports = free_port(), {name: free_port() for name in ("PLAIN", "BOTH", "CERTIFIED")}
    with KafkaBroker(folder, cache_folder(), port, properties=properties(port, ports, authority)) as broker:
        broker.authority, broker.ports = authority, ports
        yield broker


def options(secured, how):
    """(port, librdkafka's options) of a way in."""
    user = {"sasl.mechanism": "PLAIN", "sasl.username": "ann", "sasl.password": PASSWORD}
    authority = {"ssl.ca.location": str(secured.authority.certificate)}
    if how == "PLAIN":
        return {"security.protocol": "sasl_plaintext", **user}
    if how == "BOTH":
        return {"security.protocol": "sasl_ssl", **user, **authority}
    client = secured.authority.identity("client", password="open sesame")
    return {
        "security.protocol": "ssl",
        **authority,
        "ssl.certificate.location": str(client.certificate),
        "ssl.key.location": str(client.key),
        "ssl.key.password": "open sesame",
    }


@contextmanager
def pipeline_on(secured, how, **changes):
    address = f"127.0.0.1:{secured.ports[how]}"
    yield Pipeline(address, {**options(secured, how), **changes}, partitions=2)


@pytest.mark.parametrize("how", ["PLAIN", "BOTH", "CERTIFIED"])
def test_a_worker_gets_in(secured, tmp_path, how):
    with pipeline_on(secured, how) as pipeline:
        pipeline.create_topics()
        count = pipeline.send(fleet([f"device-{number}" for number in range(10)], 50, outliers=0.02))
        with processors(pipeline, tmp_path) as (worker,):
            until_applied([worker], count)
            assert totals([worker])["readings"] == count
            worker.stop()
        found = pipeline.anomalies_found()
        assert found
        assert found == pipeline.anomalies_expected()
        said = (tmp_path / "worker-0.log").read_text()
        assert PASSWORD not in said
        assert "open sesame" not in said


def test_a_wrong_password_is_no_way_in(secured):
    with pipeline_on(secured, "PLAIN", **{"sasl.password": "guessed"}) as pipeline:
        publisher = Publisher(client_config(pipeline.settings.kafka, **{"message.timeout.ms": 2000}))
        publisher.send("readings", b"k", b"v")
        with pytest.raises(PublishError):
            publisher.flush(10)
        publisher.close()
