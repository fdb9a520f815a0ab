"""Where an MQTT broker is, and how to get in."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from schemas.errors import ConfigError

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_FORM = "Give mqtt://USER:PASSWORD@HOST:PORT, or mqtts://, ws://, wss://."


class Access(Protocol):
    """What settings of a part that connects to an MQTT broker have, beside its URL."""

    @property
    def password(self) -> SecretStr | None:
        """Where it is not in the URL."""

    @property
    def ca_file(self) -> Path | None:
        """Authorities to believe, PEM."""

    @property
    def cert_file(self) -> Path | None:
        """Our own certificate, PEM."""

    @property
    def key_file(self) -> Path | None:
        """Its key, PEM."""


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """A broker's address, taken apart; `tls` is None where there is none, `path` is for WebSockets."""

    host: str
    port: int
    user: str | None = None
    password: SecretStr | None = None
    websockets: bool = False
    path: str = "/mqtt"
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        """For people: without user and password."""
        return f"{self.host}:{self.port}"


def parse_address(url: SecretStr | None, access: Access, key: str) -> MqttAddress:
    """The address that settings give.

    Args:
        url: mqtt://, mqtts://, ws:// or wss://.
        access: password and TLS files.
        key: of the URL among the settings, as bridge.mqtt; the others are beside it.

    Raises:
        ConfigError: there is none, or something is wrong with it; nothing secret is repeated.
    """
    section = key.partition(".")[0]
    if url is None:
        variable = f"SIGMAWATCH_{key.upper().replace('.', '__')}"
        raise ConfigError(f"{key} is not set", f"Use --mqtt or {variable}. {_FORM}")
    try:
        parts = urlsplit(url.get_secret_value())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"{key} is no URL with a host and a port", _FORM) from None
    websockets = parts.scheme in ("ws", "wss")
    if not host or parts.query or parts.fragment or (parts.path not in ("", "/") and not websockets):
        raise ConfigError(
            f"{key} has no host, or more than an address", f"{_FORM} Topics are settings of their own."
        )
    password = access.password
    if password is None and parts.password is not None:
        password = SecretStr(unquote(parts.password))
    if password is not None and not parts.username:
        raise ConfigError("there is a password for the MQTT broker, and no user", _FORM)
    return MqttAddress(
        host=host,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=password,
        websockets=websockets,
        path=parts.path or "/mqtt",
        tls=_tls(access, section) if parts.scheme in ("mqtts", "wss") else None,
    )


def _tls(access: Access, section: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
        if access.cert_file is not None:
            context.load_cert_chain(access.cert_file, access.key_file)
    except OSError as error:  # SSLError is one
        files = [str(file) for file in (access.ca_file, access.cert_file, access.key_file) if file]
        raise ConfigError(
            f"the TLS files {', '.join(files)} cannot be used: {error.strerror or error}",
            f"{section}.ca_file, cert_file and key_file are PEM files.",
        ) from error
    return context
