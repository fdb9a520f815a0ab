"""The address of the bridge's MQTT broker, out of its settings."""

import pytest

from producers.bridge.address import address_of
from schemas.errors import ConfigError
from schemas.settings import BridgeSettings


def address(url, **more):
    return address_of(BridgeSettings(mqtt=url, **more))


def test_addresses():
    plain = address("mqtt://localhost")
    assert (plain.host, plain.port, plain.user, plain.tls, plain.websockets) == (
        "localhost",
        1883,
        None,
        None,
        False,
    )
    secret = address("mqtts://me:p%40ss@[::1]:9999/")
    assert (secret.host, secret.port, secret.user) == ("::1", 9999, "me")
    assert secret.password.get_secret_value() == "p@ss"
    assert secret.tls is not None
    assert "p@ss" not in repr(secret)
    assert str(secret) == "::1:9999"
    web = address("wss://h/broker")
    assert (web.port, web.path, web.websockets) == (443, "/broker", True)
    assert address("ws://h").path == "/mqtt"
    assert address("mqtt://me:old@h", password="new").password.get_secret_value() == "new"


@pytest.mark.parametrize(
    "url",
    ["mqtt://me:hunter2@h:x", "mqtt://me:hunter2@h/topic", "mqtt://:hunter2@h", "mqtt://me:hunter2@h?x=1"],
)
def test_no_address(url):
    with pytest.raises(ConfigError) as caught:
        address(url)
    assert "hunter2" not in str(caught.value)


def test_no_address_at_all():
    with pytest.raises(ConfigError, match=r"bridge\.mqtt is not set"):
        address_of(BridgeSettings())


def test_tls_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used"):
        address("mqtts://h", ca_file=tmp_path / "nowhere.pem")
    (tmp_path / "no.pem").write_text("no")
    with pytest.raises(ConfigError, match="cannot be used"):
        address("mqtts://h", cert_file=tmp_path / "no.pem")
