"""What settings are made of: kinds of values with their checks, and the base of every section."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from schemas.bridge_rules import BridgeRule, require_separate
from schemas.durations import parse_duration
from schemas.settings_sources import parse_options

MASK = "**********"

_SECRET_OPTION = re.compile(
    r"password|secret|token|jaas|user\.info|key\.pem|oauthbearer\.config", re.IGNORECASE
)
_TOPIC_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_HOSTS = re.compile(r"[^\s,:/]+(:\d{1,5})?(,\s*[^\s,:/]+(:\d{1,5})?)*|\[[0-9A-Fa-f:]+\]:\d{1,5}")


class ClientOptions(dict[str, str]):
    """Options of a client library, verbatim; what is secret is masked where they are printed."""

    def __repr__(self) -> str:
        return repr({key: MASK if is_secret_option(key) else value for key, value in self.items()})

    __str__ = __repr__


def is_secret_option(key: str) -> bool:
    """Whether the value of a client option must not be shown."""
    return _SECRET_OPTION.search(key) is not None


def _no_bool(value: Any) -> Any:
    # pydantic takes yes for 1
    if isinstance(value, bool):
        raise ValueError("expected a number")  # noqa: TRY004 -- pydantic takes ValueError
    return value


def _topic(value: str) -> str:
    if not _TOPIC_NAME.fullmatch(value):
        raise ValueError("expected a topic's name: up to 249 letters, digits, dots, dashes, underscores")
    return value


def _hosts(value: str) -> str:
    if not _HOSTS.fullmatch(value):
        raise ValueError("expected HOST:PORT, or several with commas between")
    return value


def _registry_url(value: str) -> str:
    match = re.fullmatch(r"https?://([^/\s]+)(/\S*)?", value)
    if not match:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    if "@" in match[1]:
        raise ValueError("expected no user in it; use schema_registry.options with basic.auth.user.info")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    if not re.match(r"postgres(ql)?://", value.get_secret_value()):
        raise ValueError("expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return value


def _mqtt_url(value: SecretStr) -> SecretStr:
    if not re.match(r"(mqtt|mqtts|ws|wss)://[^\s/]", value.get_secret_value()):
        raise ValueError("expected mqtt://USER:PASSWORD@HOST:PORT, or mqtts://, ws://, wss://")
    return value


def _strong_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]{16,}", value.get_secret_value()):
        raise ValueError("expected at least 16 ASCII characters without spaces")
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"https?://[^\s/*@]+", value):
            raise ValueError(f"expected origins as https://panel.example, not {value!r}")
    return values


def _list(value: Any) -> Any:
    """A list as such, as JSON text, or as texts with commas between."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("expected a list in JSON") from None
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return [part.strip() for part in value.split(",")]


def _speed(value: Any) -> Any:
    if isinstance(value, str):
        return float("inf") if value.strip().lower() == "max" else value.strip().removesuffix("x")
    return _no_bool(value)


class _Duration:
    """Marks a setting as a length of time, for `describe_settings`."""


Duration = Annotated[float, BeforeValidator(parse_duration), _Duration()]
Integer = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Speed = Annotated[float, BeforeValidator(_speed), Field(gt=0)]
Topic = Annotated[str, AfterValidator(_topic)]
Hosts = Annotated[str, AfterValidator(_hosts)]
Group = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
Port = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=65_535)]
Host = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_list)]
RegistryUrl = Annotated[str, AfterValidator(_registry_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
MqttUrl = Annotated[SecretStr, AfterValidator(_mqtt_url)]
Token = Annotated[SecretStr, AfterValidator(_strong_token)]
Origins = Annotated[Texts, AfterValidator(_origins)]
Rules = Annotated[tuple[BridgeRule, ...], BeforeValidator(_list), AfterValidator(require_separate)]
Options = Annotated[dict[str, str], BeforeValidator(parse_options), AfterValidator(ClientOptions)]
MetricsHost = Annotated[Host, Field(description="Address that /metrics, /livez and /readyz listen on.")]

# What parts that connect to an MQTT broker have in common.
MqttBroker = Annotated[
    MqttUrl | None,
    Field(description="mqtt://USER:PASSWORD@HOST:PORT of the MQTT broker; mqtts:// with TLS, ws://, wss://."),
]
MqttPassword = Annotated[
    SecretStr | None, Field(description="Password at the MQTT broker, where it is not in the URL.")
]
MqttVersion = Annotated[Literal["5", "3.1.1"], BeforeValidator(str), Field(description="Version of MQTT.")]
MqttClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
MqttPrefix = Annotated[str, Field(max_length=200, pattern=r"^[^+#/$\x00-\x20]([^+#\x00]*[^+#/\x00])?$")]
MqttKeepalive = Annotated[
    float,
    Field(ge=1, le=65_535, description="Silence after which the MQTT broker is asked whether it is there."),
    BeforeValidator(parse_duration),
    _Duration(),
]
CaFile = Annotated[
    Path | None, Field(description="PEM file of the authorities to believe; the system's if not set.")
]
CertFile = Annotated[Path | None, Field(description="PEM file of our own certificate, if asked for.")]
KeyFile = Annotated[Path | None, Field(description="PEM file of its key.")]


class Section(BaseModel):
    """A part of the settings: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
