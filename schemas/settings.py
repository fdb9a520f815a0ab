"""The settings: one strict model for every part, given by flags, environment, a YAML file, in this order.

    sigmawatch.yaml                      environment                          inside
    kafka:                               SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS  settings.kafka.bootstrap_servers
      bootstrap_servers: broker:9092

An unknown key, a bad value or a broken file is a `ConfigError` that names place, key and remedy, for all
problems at once. Lengths of time are seconds inside, and may be written 500ms, 10m, 1h30m. Client options
(`kafka.options`, `schema_registry.options`) of several places are put together, key by key.
"""

import json
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from schemas import failpoints
from schemas.bridge_rules import DEFAULT_RULES, BridgeRule, require_separate
from schemas.durations import format_duration, parse_duration
from schemas.errors import ConfigError
from schemas.settings_sources import (
    CONFIG_VARIABLE,
    KeyPath,
    KeyTree,
    Sources,
    parse_options,
    variable_name,
)

OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, failpoints.VARIABLE})
"""Environment variables that are ours and no settings."""

MASK = "**********"

_SECRET_OPTION = re.compile(
    r"password|secret|token|jaas|user\.info|key\.pem|oauthbearer\.config", re.IGNORECASE
)
_TOPIC_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_USER = re.compile(r"://[^/\s]*@")
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


def _token(value: SecretStr) -> SecretStr:
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
Rules = Annotated[tuple[BridgeRule, ...], BeforeValidator(_list), AfterValidator(require_separate)]
Options = Annotated[dict[str, str], BeforeValidator(parse_options), AfterValidator(ClientOptions)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(_Section):
    """The cluster."""

    bootstrap_servers: Hosts = Field(
        default="127.0.0.1:9092", description="Brokers to begin with: HOST:PORT, several with commas."
    )
    options: Options = Field(
        default={},
        description="librdkafka's configuration properties, passed on verbatim (sasl.mechanism, ssl.ca.location, ...).",
    )


class SchemaRegistrySettings(_Section):
    """A Confluent-compatible schema registry; without a url the catalogue's fixed ids are used."""

    url: Annotated[str, AfterValidator(_registry_url)] | None = Field(
        default=None,
        description="http(s)://HOST:PORT of the registry; without it the schemas' fixed ids are used.",
    )
    options: Options = Field(
        default={},
        description="Configuration of confluent-kafka's registry client, verbatim (basic.auth.user.info, ssl.ca.location, ...).",
    )
    auto_register: bool = Field(
        default=False,
        description="Register missing schemas on first use instead of asking for `sigmawatch schemas register`.",
    )


class TopicSettings(_Section):
    """Names and sizes of the topics."""

    readings: Topic = Field(default="readings", description="Topic of the readings.")
    devices: Topic = Field(default="devices", description="Topic of the devices; compacted.")
    anomalies: Topic = Field(default="anomalies", description="Topic of the anomalies.")
    commands: Topic = Field(
        default="simulator.commands", description="Topic of commands to the workers of a simulated fleet."
    )
    replies: Topic = Field(default="simulator.replies", description="Topic of their replies.")
    partitions: Integer = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Partitions of readings, devices and anomalies; as many processors can share the work.",
    )
    replication_factor: Integer = Field(
        default=1, ge=1, le=100, description="Copies of each partition in the cluster."
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({self.readings, self.devices, self.anomalies, self.commands, self.replies}) < 5:
            raise ValueError("readings, devices, anomalies, commands and replies must be different topics")
        return self


class ProcessorSettings(_Section):
    """Readings to anomalies."""

    group: Group = Field(
        default="sigmawatch-processor", description="Consumer group; also names the changelog topic."
    )
    preset: Literal["standard", "moving-average"] = Field(
        default="standard",
        description="How readings are judged: by all channels, or by mean and std of a sliding window alone.",
    )
    rules: Path | None = Field(
        default=None,
        description="YAML file of rules: channels, limits and names by device type, metric and device.",
    )
    reload: Duration = Field(
        default=5.0, description="Time between two looks at the rules file; 0 never looks again."
    )
    window: Duration = Field(
        default=600.0, ge=1e-3, description="Length of the sliding window of event time."
    )
    panes: Integer = Field(default=10, ge=1, le=10, description="Panes of the window; it slides by one pane.")
    k: Number = Field(
        default=4.0,
        gt=0,
        description="Of moving-average: a reading further than k std from the window's mean is a deviation.",
    )
    minimum_readings: Integer = Field(
        default=30,
        ge=2,
        description="Readings before a series is judged; until then it is warming.",
    )
    sides: Literal["both", "above", "below"] = Field(
        default="both", description="Of moving-average: which deviations count."
    )
    max_ahead: Duration = Field(
        default=86_400.0, description="How far a reading's time may be ahead of its Kafka timestamp."
    )
    checkpoint_interval: Duration = Field(
        default=30.0, gt=0, description="Time between checkpoints of the state."
    )
    checkpoint_readings: Integer = Field(
        default=1_000_000, ge=1, description="Readings of a worker after which a checkpoint comes sooner."
    )
    session_timeout: Duration = Field(
        default=6.0, ge=1, description="Silence after which the broker gives a worker's partitions to others."
    )
    heartbeat: Duration = Field(
        default=1.0, gt=0, description="Time between heartbeats; at most a third of session_timeout."
    )
    fetch_bytes: Integer = Field(
        default=1_048_576, ge=1024, description="Bytes of one partition in one fetch."
    )
    web_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that the web view, /metrics, /livez and /readyz listen on.",
    )
    web_port: Port = Field(default=6066, description="Port of the web view.")
    web_advertised_host: str | None = Field(
        None,
        description="Host by which other workers reach this one's web view; web_host if not set, or the machine's name"
        " where that is every address.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.heartbeat * 3 > self.session_timeout:
            raise ValueError("heartbeat must be at most a third of session_timeout")
        if round(self.window * 1e6) % self.panes:
            raise ValueError("window must be a whole number of microseconds for each of its panes")
        return self


class ModelSettings(_Section):
    """Trained models of device types."""

    folder: Path | None = Field(
        default=None,
        description="Folder of the models, which processors look at again and again; in the state folder if not set.",
    )


class SinkSettings(_Section):
    """Readings, devices and anomalies to TimescaleDB."""

    group: Group = Field(
        default="sigmawatch-sink-timescale",
        description="Consumer group, and the sink's name in the table sink_offset.",
    )
    batch_readings: Integer = Field(default=50_000, ge=1, description="Rows after which a batch is written.")
    batch_interval: Duration = Field(
        default=0.5, gt=0, description="Time after which a batch is written, however small."
    )
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address that /metrics, /livez and /readyz listen on."
    )
    metrics_port: Port = Field(default=6067, description="Port of them.")


class LogSinkSettings(_Section):
    """Anomalies to a file of JSON lines."""

    group: Group = Field(default="sigmawatch-sink-log", description="Consumer group.")
    path: Path = Field(
        default=Path("anomalies.jsonl"), description="File that is written; rotated ones get a number behind."
    )
    rotate_bytes: Integer = Field(
        default=100_000_000, ge=1024, description="Size at which the file is rotated."
    )
    keep_files: Integer = Field(default=10, ge=1, description="Rotated files that are kept.")


class DatabaseSettings(_Section):
    """PostgreSQL, best with TimescaleDB."""

    url: Annotated[SecretStr, AfterValidator(_database_url)] | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    )
    pool_size: Integer = Field(default=4, ge=1, le=1000, description="Connections at most, of one process.")
    connect_timeout: Duration = Field(
        default=10.0, gt=0, description="Time to wait for one connection before the next attempt."
    )


class SimulateSettings(_Section):
    """The simulated fleet."""

    fleet: Annotated[str, Field(min_length=1)] = Field(
        default="mixed", description="A shipped fleet, or a YAML file with one."
    )
    devices: Integer | None = Field(
        default=None,
        ge=1,
        description="Devices, the fleet's groups in proportion; as the fleet says if not set.",
    )
    interval: Duration | None = Field(
        default=None,
        gt=0,
        description="Virtual time between two readings of a device; as the fleet says, or 1s, if not set.",
    )
    rate: Number | None = Field(
        default=None,
        gt=0,
        description="Readings per second of virtual time of the whole fleet; sets the interval.",
    )
    duration: Duration | None = Field(
        default=None, description="Virtual time to simulate; without it, until stopped."
    )
    seed: Integer | None = Field(
        default=None,
        ge=0,
        description="Same seed, same readings, to the bit; as the fleet says, or 1, if not set.",
    )
    anomaly_rate: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Chance per reading of a healthy device that a fault begins; as the fleet says if not set.",
    )
    speed: Speed = Field(
        default=1.0, description="How much faster than real time virtual time runs: a number, or max."
    )
    shard: Annotated[str, Field(pattern=r"^[1-9]\d{0,3}/[1-9]\d{0,3}$")] = Field(
        default="1/1", description="I/N: this worker has the I-th of N parts of the fleet."
    )
    reload: Duration = Field(
        default=5.0, description="Time between two looks at the fleet's own files; 0 never looks again."
    )


class WebSettings(_Section):
    """A port for HTTP; sections of parts that have one are built on this."""

    host: Host = Field(
        default="127.0.0.1", description="Address to listen on; one off loopback needs a token."
    )
    port: Port = Field(default=0, description="Port to listen on; 0 is any free one.")
    token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        default=None, description="Bearer token that every request must carry: 16 ASCII characters at least."
    )
    cors_origins: Annotated[Texts, AfterValidator(_origins)] = Field(
        default=(), description="Origins of web pages that may call it (https://panel.example), with commas."
    )
    max_body_bytes: Integer = Field(default=1_048_576, ge=1024, description="Largest body of a request.")
    rate_limit: Annotated[str, Field(pattern=r"^([1-9]\d{0,8}/(second|minute|hour)|off)$")] = Field(
        default="1000/second",
        description="Requests of one client address, N/second, N/minute or N/hour; off for no limit.",
    )


class IngestSettings(WebSettings):
    """Readings by HTTP."""

    port: Port = Field(default=8001, description="Port to listen on; 0 is any free one.")
    device_id: Annotated[str, Field(min_length=1)] = Field(
        default="detect", description="Device of readings that name none."
    )
    metric: Annotated[str, Field(min_length=1)] = Field(
        default="value", description="Metric of readings that name none."
    )
    wait: Duration = Field(
        default=5.0, gt=0, description="Time to wait for Kafka's acknowledgement before answering 503."
    )
    max_pending: Integer = Field(
        default=100_000, ge=1, description="Readings that may wait for Kafka; more are answered with 503."
    )


class ControlSettings(WebSettings):
    """Control of a running simulation by HTTP."""

    enabled: bool = Field(default=False, description="Serve it beside `sigmawatch simulate`.")
    port: Port = Field(default=8090, description="Port to listen on; 0 is any free one.")
    timeout: Duration = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Time to wait for the simulation, or for other workers, before answering 504.",
    )


class MqttSettings(_Section):
    """The simulated devices on an MQTT broker, in Kafka's place."""

    url: Annotated[SecretStr, AfterValidator(_mqtt_url)] | None = Field(
        default=None,
        description="Publish to this MQTT broker instead of Kafka: mqtt://USER:PASSWORD@HOST:PORT; mqtts:// with TLS, "
        "ws://, wss://. Devices obey commands that come by it. `sigmawatch bridge mqtt` brings their readings to Kafka.",
    )
    password: SecretStr | None = Field(
        default=None, description="Password at the MQTT broker, where it is not in the URL."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities to believe; the system's if not set."
    )
    cert_file: Path | None = Field(default=None, description="PEM file of our own certificate, if asked for.")
    key_file: Path | None = Field(default=None, description="PEM file of its key.")
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(str)] = Field(
        default="5", description="Version of MQTT."
    )
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default="sigmawatch-simulator",
        description="Names the simulator at the MQTT broker; each simulator needs one of its own. Of a shared fleet "
        "the shard is put behind it.",
    )
    prefix: Annotated[str, Field(max_length=200, pattern=r"^[^+#/$\x00-\x20]([^+#\x00]*[^+#/\x00])?$")] = (
        Field(
            default="energy",
            description="What topics begin with: PREFIX/devices/DEVICE/data, /status, /commands.",
        )
    )
    keepalive: Duration = Field(
        default=30.0,
        ge=1,
        le=65_535,
        description="Silence after which the MQTT broker is asked whether it is there; half as much again, and it "
        "publishes that the simulator is gone.",
    )
    max_in_flight: Integer = Field(
        default=500, ge=1, le=65_535, description="Messages that are sent and not acknowledged, at most."
    )
    max_queued: Integer = Field(
        default=10_000,
        ge=1,
        description="Messages that wait for the MQTT broker, at most; then the simulation waits.",
    )


class BridgeSettings(_Section):
    """MQTT messages to readings."""

    mqtt: Annotated[SecretStr, AfterValidator(_mqtt_url)] | None = Field(
        default=None,
        description="mqtt://USER:PASSWORD@HOST:PORT of the MQTT broker; mqtts:// with TLS, ws://, wss://.",
    )
    password: SecretStr | None = Field(
        default=None, description="Password at the MQTT broker, where it is not in the URL."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities to believe; the system's if not set."
    )
    cert_file: Path | None = Field(default=None, description="PEM file of our own certificate, if asked for.")
    key_file: Path | None = Field(default=None, description="PEM file of its key.")
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(str)] = Field(
        default="5", description="Version of MQTT."
    )
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default="sigmawatch-bridge",
        description="Names the session at the MQTT broker; a bridge of its own needs one of its own.",
    )
    session_expiry: Duration = Field(
        default=604_800.0,
        ge=1,
        description="How long the MQTT broker keeps messages for a bridge that is away (MQTT 5).",
    )
    keepalive: Duration = Field(
        default=30.0,
        ge=1,
        le=65_535,
        description="Silence after which the MQTT broker is asked whether it is there.",
    )
    max_in_flight: Integer = Field(
        default=1000, ge=1, le=65_535, description="Messages that are received and not acknowledged, at most."
    )
    max_payload_bytes: Integer = Field(
        default=262_144, ge=64, le=1_048_576, description="Largest message; larger ones are dead letters."
    )
    retained: Literal["ignore", "accept"] = Field(
        default="ignore",
        description="What to do with retained messages, the old values a broker repeats at each subscription.",
    )
    journal: Path | None = Field(
        default=None,
        description="File that remembers times of arrival until they are acknowledged; in the state folder if not set.",
    )
    drain: Duration = Field(
        default=10.0, gt=0, description="How long a stop waits for what was received to reach Kafka."
    )
    metrics_host: Host = Field(
        default="127.0.0.1", description="Address that /metrics, /livez and /readyz listen on."
    )
    metrics_port: Port = Field(default=6068, description="Port of them; 0 is any free one.")
    rules: Rules = Field(
        default=DEFAULT_RULES, description="Which topics are read, and how; the first rule that fits counts."
    )


class LogSettings(_Section):
    """What the programs say about themselves, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important messages that are shown."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="For people, or one JSON object a line."
    )


class Settings(_Section):
    """All settings; frozen. Made by `load_settings`, in tests also by hand (`Settings(topics=...)`)."""

    kafka: KafkaSettings = KafkaSettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    topics: TopicSettings = TopicSettings()
    processor: ProcessorSettings = ProcessorSettings()
    models: ModelSettings = ModelSettings()
    sink: SinkSettings = SinkSettings()
    log_sink: LogSinkSettings = LogSinkSettings()
    database: DatabaseSettings = DatabaseSettings()
    simulate: SimulateSettings = SimulateSettings()
    control: ControlSettings = ControlSettings()
    mqtt: MqttSettings = MqttSettings()
    bridge: BridgeSettings = BridgeSettings()
    ingest: IngestSettings = IngestSettings()
    log: LogSettings = LogSettings()
    cache_dir: Path | None = Field(
        default=None, description="Folder of what can be fetched again; the user's cache folder."
    )
    state_dir: Path | None = Field(
        default=None, description="Folder of the embedded parts' data; the user's state folder."
    )


class SettingsError(ConfigError):
    """One or more settings are not usable; `problems` has them one by one."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        count = len(problems)
        super().__init__(
            problems[0] if count == 1 else f"{count} problems with the settings: " + "; ".join(problems)
        )


def load_settings(
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from flags over environment over YAML file over defaults.

    Args:
        config_file: the YAML file; without it the one that SIGMAWATCH_CONFIG names, if any.
        overrides: flags, dotted key -> value, as {"kafka.bootstrap_servers": "broker:9092"}; None is not given.
        environ: the environment; empty variables count as not set.

    Raises:
        ConfigError: every unknown key, bad value and unreadable file at once.
    """
    sources = Sources(_KEYS)
    named = config_file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        sources.read_yaml(named)
    sources.read_environment(environ, OTHER_VARIABLES)
    sources.read_overrides(overrides or {})
    return _build(sources)


def _build(sources: Sources) -> Settings:
    values: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    for given in sources.given:
        section = values
        for key in given.path[:-1]:
            section = section.setdefault(key, {})
        key, value = given.path[-1], given.value
        if key == "options":
            try:
                value = section.get(key, {}) | parse_options(value)
            except ValueError as error:
                sources.problems.append(f"{given.place}: {error}")
                continue
        section[key] = value
        places[given.path] = given.place
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        sources.problems += _problems(error, places)
    if sources.problems:
        raise SettingsError(sources.problems)
    return settings


def _problems(error: ValidationError, places: Mapping[KeyPath, str]) -> list[str]:
    problems = []
    for one in error.errors(include_url=False):
        path = tuple(str(part) for part in one["loc"])
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in places), None)
        where = places[known] if known else ".".join(path)
        where += "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path[len(known or path) :])
        dotted = ".".join(known or path)
        shown = "" if known is None or _is_secret(dotted) else f" {_USER.sub('://', repr(one['input']))}"
        what = "no such key" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
        what = re.sub(r"^(Input|String) should", "should", what).removesuffix(" for <class 'pathlib.Path'>")
        named = f": {dotted}" if known and dotted not in where else ""
        problems.append(f"{where}{named}{' is' if shown else ''}{shown}: {what}")
    return problems


def _is_secret(dotted: str) -> bool:
    return dotted in _SECRETS or dotted.endswith(".options")


class SettingDescription(NamedTuple):
    """A setting for people; `default` is as it would be written in YAML."""

    key: str
    type: str
    default: str
    description: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return variable_name(tuple(self.key.split(".")))


def describe_settings() -> list[SettingDescription]:
    """Every setting, in the order of the model: for `--help` and the documentation."""
    return [
        SettingDescription(".".join(path), _type_text(info), _default_text(info), info.description or "")
        for path, info in _fields(Settings)
    ]


def plain_list(values: tuple[Any, ...]) -> list[Any]:
    """A setting that is a list, as JSON or YAML have it; what is as by default is left out of its parts."""
    return [
        each.model_dump(exclude_defaults=True) if isinstance(each, BaseModel) else each for each in values
    ]


def _fields(model: type[BaseModel], above: KeyPath = ()) -> list[tuple[KeyPath, FieldInfo]]:
    found = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _fields(kind, (*above, name))
        else:
            found.append(((*above, name), info))
    return found


def _secrets() -> frozenset[str]:
    return frozenset(".".join(path) for path, info in _fields(Settings) if _type_text(info) == "secret")


def _is_duration(info: FieldInfo) -> bool:
    return "_Duration" in repr(info.metadata) + repr(info.annotation)


def _type_text(info: FieldInfo) -> str:
    if _is_duration(info):
        return "duration"
    kind: Any = info.annotation
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is tuple:
        return "list"
    if typing.get_origin(kind) is Literal:
        return " | ".join(typing.get_args(kind))
    names = {
        bool: "yes or no",
        int: "integer",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
    }
    return names.get(kind, "options")


def _default_text(info: FieldInfo) -> str:
    default = info.default
    if default is None or default in ({}, ()):
        return ""
    if isinstance(default, tuple):
        return json.dumps(plain_list(default))
    if _is_duration(info):
        return format_duration(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def _tree(model: type[BaseModel]) -> KeyTree:
    tree: dict[str, Any] = {}
    for path, _ in _fields(model):
        section = tree
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = None
    return tree


_KEYS = _tree(Settings)
_SECRETS = _secrets()
