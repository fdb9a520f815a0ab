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
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from schemas import failpoints
from schemas.durations import format_duration
from schemas.errors import ConfigError
from schemas.settings_api import ApiSettings
from schemas.settings_database import DatabaseSettings
from schemas.settings_devices import (
    BridgeSettings,
    ControlSettings,
    IngestSettings,
    MqttSettings,
    SimulateSettings,
    WebSettings,
)
from schemas.settings_kinds import MASK, ClientOptions, Integer, Number, Port, Section, is_secret_option
from schemas.settings_notify import MqttSinkSettings, NotifySettings
from schemas.settings_pipeline import (
    KafkaSettings,
    LogSettings,
    LogSinkSettings,
    ModelSettings,
    ProcessorSettings,
    SchemaRegistrySettings,
    SinkSettings,
    TopicSettings,
)
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

__all__ = [
    "MASK",
    "OTHER_VARIABLES",
    "ApiSettings",
    "BridgeSettings",
    "ClientOptions",
    "ControlSettings",
    "DatabaseSettings",
    "IngestSettings",
    "Integer",
    "KafkaSettings",
    "LogSettings",
    "LogSinkSettings",
    "ModelSettings",
    "MqttSettings",
    "MqttSinkSettings",
    "NotifySettings",
    "Number",
    "Port",
    "ProcessorSettings",
    "SchemaRegistrySettings",
    "SettingDescription",
    "Settings",
    "SettingsError",
    "SimulateSettings",
    "SinkSettings",
    "TopicSettings",
    "WebSettings",
    "describe_settings",
    "is_secret_option",
    "load_settings",
    "plain_list",
    "variable_name",
]

_USER = re.compile(r"://[^/\s]*@")


class Settings(Section):
    """All settings; frozen. Made by `load_settings`, in tests also by hand (`Settings(topics=...)`)."""

    kafka: KafkaSettings = KafkaSettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    topics: TopicSettings = TopicSettings()
    processor: ProcessorSettings = ProcessorSettings()
    models: ModelSettings = ModelSettings()
    sink: SinkSettings = SinkSettings()
    log_sink: LogSinkSettings = LogSinkSettings()
    notify: NotifySettings = NotifySettings()
    api: ApiSettings = ApiSettings()
    mqtt_sink: MqttSinkSettings = MqttSinkSettings()
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
