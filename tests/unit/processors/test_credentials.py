"""librdkafka's security options, as Faust's client takes them."""

import socket
import ssl

import faust
import pytest

from processors.app import create_app, faust_credentials
from processors.metrics import Metrics
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import ConfigError
from schemas.settings import load_settings
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    "options", [{}, {"security.protocol": "PLAINTEXT"}, {"security.protocol": "plaintext"}]
)
def test_plain_text_has_no_credentials(options):
    assert faust_credentials(options) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
@pytest.mark.parametrize("key", ["sasl.mechanism", "sasl.mechanisms"])
def test_a_user_with_a_password(mechanism, key):
    found = faust_credentials(
        {
            "security.protocol": "sasl_plaintext",
            key: mechanism,
            "sasl.username": "ann",
            "sasl.password": "s3cret",
        }
    )
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password) == ("ann", "s3cret")
    assert (found.mechanism.value, found.protocol.value) == (mechanism.upper(), "SASL_PLAINTEXT")
    assert found.ssl_context is None
    assert "s3cret" not in repr(found)


def test_a_user_over_tls():
    found = faust_credentials({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"})
    assert found.protocol.value == "SASL_SSL"
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert found.ssl_context.check_hostname


def test_tls_with_an_authority_and_a_certificate_of_our_own(tmp_path):
    authority = Authority(tmp_path)
    client = authority.identity("client", password="open sesame")
    found = faust_credentials(
        {
            "security.protocol": "ssl",
            "ssl.ca.location": str(authority.certificate),
            "ssl.certificate.location": str(client.certificate),
            "ssl.key.location": str(client.key),
            "ssl.key.password": "open sesame",
        }
    )
    assert isinstance(found, faust.SSLCredentials)
    (known,) = found.context.get_ca_certs()
    assert known["subject"] == ((("commonName", "test authority"),),)
    assert found.context.verify_mode is ssl.CERT_REQUIRED


def test_an_authority_as_text_or_as_the_systems(tmp_path):
    text = Authority(tmp_path).certificate.read_text()
    assert (
        len(faust_credentials({"security.protocol": "ssl", "ssl.ca.pem": text}).context.get_ca_certs()) == 1
    )
    assert faust_credentials({"security.protocol": "ssl", "ssl.ca.location": "probe"}).context
    assert faust_credentials({"security.protocol": "ssl", "ssl.ca.location": str(tmp_path)}).context


def test_checks_can_be_switched_off():
    named = {"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"}
    context = faust_credentials(named).context
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    trusting = {"security.protocol": "ssl", "enable.ssl.certificate.verification": "false"}
    context = faust_credentials(trusting).context
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"security.protocol": "kerberos"}, "security.protocol"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI"}, "GSSAPI"),
        ({"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER"}, "OAUTHBEARER"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"}, "ssl files"),
        ({"security.protocol": "ssl", "ssl.ca.pem": "no certificate"}, "ssl files"),
        ({"security.protocol": "ssl", "ssl.certificate.location": "/nowhere/me.pem"}, "ssl files"),
        ({"security.protocol": "ssl", "ssl.certificate.pem": "-----BEGIN"}, r"ssl\.certificate\.pem"),
        ({"security.protocol": "ssl", "ssl.keystore.location": "me.p12"}, r"ssl\.keystore\.location"),
    ],
)
def test_what_the_client_cannot_do_is_said(options, said):
    with pytest.raises(ConfigError, match=said):
        faust_credentials(options)


def test_a_key_without_its_password_is_an_error_and_no_question(tmp_path):
    authority = Authority(tmp_path)
    client = authority.identity("client", password="open sesame")
    with pytest.raises(ConfigError, match="ssl files"):
        faust_credentials(
            {
                "security.protocol": "ssl",
                "ssl.certificate.location": str(client.certificate),
                "ssl.key.location": str(client.key),
            }
        )


@pytest.mark.parametrize(
    ("bound", "said", "advertised"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("0.0.0.0", None, socket.gethostname().lower()),
        ("::", None, socket.gethostname().lower()),
        ("0.0.0.0", "10.1.2.3", "10.1.2.3"),
    ],
)
def test_other_workers_are_told_a_host_that_they_can_reach(bound, said, advertised):
    settings = load_settings(
        None,
        {
            "processor.web_host": bound,
            "processor.web_advertised_host": said,
            "kafka.bootstrap_servers": "127.0.0.1:1",
        },
        {},
    )
    app = create_app(settings, Codec(Catalogue()), Metrics())
    assert (app.conf.web_bind, app.conf.web_port) == (bound, 6066)
    assert app.conf.canonical_url.host == advertised
