"""config.yaml of sensor-log-generator: every section and key that it had, checked where it has a meaning here.

As lenient as the original: any section may be missing or empty, and keys that are unknown or without a meaning here
(`ignored`) are named, not refused. A key that has a meaning and a wrong value is refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from producers.documents import kind_of, read_yaml, validate
from schemas.errors import ConfigError
from schemas.settings import Integer, Number, Port

UNUSED = "unused"


def _text(value: Any) -> Any:
    # YAML takes 1.4 for a number
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _section(value: Any) -> Any:
    # a section whose lines are all comments
    return {} if value is None else value


def _unused(instead: str) -> Any:
    """A key without a meaning here; `instead` is what there is in its place."""
    return Field(None, description=instead, json_schema_extra={UNUSED: True})


Text = Annotated[str, BeforeValidator(_text)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(lambda value: () if value is None else value)]

Measured = Annotated[Number, Field(ge=-1e12, le=1e12)]
Factor = Annotated[Number, Field(ge=-1e6, le=1e6)]

_STORED = "Readings go to Kafka, and from there to the database by `sigmawatch sink timescale`."
_STDERR = "Logs go to stderr: send them to a file, and let the system rotate it."
_ALWAYS = "Always so."


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Database(_Section):
    """Where the readings were stored."""

    path: Any = _unused(_STORED)
    backup_enabled: Any = _unused("Back up the database with its own tools.")
    backup_interval_hours: Any = _unused("Back up the database with its own tools.")
    backup_path: Any = _unused("Back up the database with its own tools.")
    max_backups: Any = _unused("Back up the database with its own tools.")
    preserve_existing_db: Any = _unused("Stored readings are never removed.")
    max_size_mb: Any = _unused("The database's own limits.")
    batch_size: Any = _unused("sink.batch_readings")


class Logging(_Section):
    """The program's own log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    format: Text | None = Field(None, description="Only json has a meaning here.")
    file: Any = _unused(_STDERR)
    console_output: Any = _unused(_STDERR)
    max_file_size_mb: Any = _unused(_STDERR)
    backup_count: Any = _unused(_STDERR)

    @model_validator(mode="before")
    @classmethod
    def _upper(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("level"), str):
            return {**values, "level": values["level"].upper()}
        return values


class RandomLocation(_Section):
    """Cities in which devices stand at random."""

    enabled: bool = False
    number_of_cities: Integer = Field(
        10, ge=1, description="The largest so many, of those that the filters leave."
    )
    city_count: Integer | None = Field(None, ge=1, description="Another name of number_of_cities.")
    gps_variation: Number = Field(0.0, ge=0, le=1e7, description="Metres around the place.")
    cities_file: Text | None = Field(None, description="JSON with cities of the user's own.")
    filter_by: Literal["population", "area", "none"] = "population"
    min_population: Number | None = Field(None, ge=0)
    max_population: Number | None = Field(None, ge=0)
    exclude_countries: Texts = ()
    include_countries: Texts = ()

    @property
    def cities(self) -> int:
        """How many cities there are to choose from."""
        return self.city_count or self.number_of_cities

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_population is not None and self.max_population is not None:
            _require(
                self.min_population <= self.max_population, "min_population must not be above max_population"
            )
        return self


class Simulation(_Section):
    """How fast and how long."""

    readings_per_second: Number = Field(
        1.0, ge=1e-6, le=1e6, description="Of each device, all of its metrics at once."
    )
    run_time_seconds: Number = Field(3600.0, gt=0)
    start_delay_seconds: Number = Field(0.0, ge=0)
    batch_size: Any = _unused(_STORED)


class Replicas(_Section):
    """Devices of the same kind."""

    count: Integer = Field(1, ge=1, le=1_000_000)
    prefix: Text = Field("SENSOR", min_length=1)
    start_index: Integer = Field(1, ge=0, le=1_000_000_000)


class Parameter(_Section):
    """Healthy values of a metric: normal around `mean`, clipped to `min` and `max`."""

    mean: Measured | None = None
    std_dev: Measured | None = Field(None, ge=0)
    min: Measured | None = None
    max: Measured | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None:
            _require(self.min < self.max, "min must be below max")
        return self


class NormalParameters(_Section):
    """Healthy values by metric."""

    temperature: Parameter | None = None
    humidity: Parameter | None = None
    pressure: Parameter | None = None
    vibration: Parameter | None = None
    voltage: Parameter | None = None

    @property
    def given(self) -> dict[str, Parameter]:
        """Those that the file has."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: parameter for name, parameter in found.items() if parameter is not None}


class Anomaly(_Section):
    """What all kinds of anomalies have in common."""

    enabled: bool = True
    weight: Number | None = Field(None, ge=0)
    duration_seconds: Number | None = Field(None, ge=1e-3, le=1e9)


class Spike(Anomaly):
    """A jump."""

    severity_factor: Factor | None = Field(None, gt=0, description="Of the spike's size.")


class Trend(Anomaly):
    """A gradual change."""

    rate_change: Factor | None = Field(
        None, description="Part of the mean by which the value changes a minute."
    )


class Pattern(Anomaly):
    """A cycle that is not the usual one."""

    frequency: Number | None = Field(None, ge=1e-6, description="Oscillations a second.")


class Noise(Anomaly):
    """More noise than usual."""

    noise_multiplier: Factor | None = Field(None, ge=1, description="Of the usual standard deviation.")


class AnomalyTypes(_Section):
    """The five kinds."""

    spike: Annotated[Spike, BeforeValidator(_section)] = Spike()
    trend: Annotated[Trend, BeforeValidator(_section)] = Trend()
    pattern: Annotated[Pattern, BeforeValidator(_section)] = Pattern()
    missing_data: Annotated[Anomaly, BeforeValidator(_section)] = Anomaly()
    noise: Annotated[Noise, BeforeValidator(_section)] = Noise()


class Anomalies(_Section):
    """How often there are anomalies, and which."""

    enabled: bool = True
    probability: Number = Field(0.05, ge=0, le=1, description="Chance per reading.")
    types: Annotated[AnomalyTypes, BeforeValidator(_section)] = AnomalyTypes()


class Monitoring(_Section):
    """The HTTP interface."""

    enabled: bool = False
    host: Text = Field("0.0.0.0", min_length=1)  # noqa: S104 -- their default; `convert` keeps it on loopback
    port: Port = 8080
    metrics_interval_seconds: Any = _unused("Metrics are as of the moment they are asked for.")
    health_check_path: Text | None = Field(None, description="/health and /healthz are served.")
    metrics_path: Text | None = Field(None, description="/metrics and /metricz are served.")
    enable_prometheus: Any = _unused("/metrics is always in the form of Prometheus.")


class DynamicReloading(_Section):
    """Reading the files again when they change."""

    enabled: bool = True
    check_interval_seconds: Number = Field(5.0, gt=0)
    reload_on_change: bool = True
    validate_before_reload: Any = _unused(_ALWAYS)


class Advanced(_Section):
    """Limits of the original process."""

    memory_limit_mb: Any = _unused("The limits of the service manager or container.")
    cpu_limit_percent: Any = _unused("The limits of the service manager or container.")
    error_retry_attempts: Any = _unused("An outage of the broker is waited out.")
    error_retry_delay_seconds: Any = _unused("An outage of the broker is waited out.")
    batch_insert_size: Any = _unused(_STORED)
    batch_timeout_seconds: Any = _unused(_STORED)


class Sensor(_Section):
    """What the identity file does not say about the device."""

    type: Text = "environmental"
    id: Text | None = None
    location: Text | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    firmware_version: Text | None = None
    serial_number: Text | None = None


class LegacyConfig(_Section):
    """The file.

    Attributes:
        path: where it was read.
        ignored: dotted paths of the keys that it has and that have no meaning here.
    """

    version: Literal[1, 2] = 1
    database: Annotated[Database, BeforeValidator(_section)] = Database()
    logging: Annotated[Logging, BeforeValidator(_section)] = Logging()
    random_location: Annotated[RandomLocation, BeforeValidator(_section)] = RandomLocation()
    simulation: Annotated[Simulation, BeforeValidator(_section)] = Simulation()
    replicas: Annotated[Replicas, BeforeValidator(_section)] = Replicas()
    normal_parameters: Annotated[NormalParameters, BeforeValidator(_section)] = NormalParameters()
    anomalies: Annotated[Anomalies, BeforeValidator(_section)] = Anomalies()
    monitoring: Annotated[Monitoring, BeforeValidator(_section)] = Monitoring()
    dynamic_reloading: Annotated[DynamicReloading, BeforeValidator(_section)] = DynamicReloading()
    advanced: Annotated[Advanced, BeforeValidator(_section)] = Advanced()
    sensor: Annotated[Sensor, BeforeValidator(_section)] = Sensor()

    _path: Path = Path("config.yaml")
    _ignored: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """As above."""
        return self._path

    @property
    def ignored(self) -> tuple[str, ...]:
        """As above."""
        return self._ignored


def read_config(path: Path) -> LegacyConfig:
    """The configuration in a file.

    Raises:
        ConfigError: it cannot be read, or keys of it have values that make no sense; says which, all at once.
    """
    return config_of(read_yaml(path), path)


def config_of(document: Any, path: Path) -> LegacyConfig:
    """The configuration that `document` is; `path` is where it was read.

    Raises:
        ConfigError: as `read_config`.
    """
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise ConfigError(
            f"{path}: expected sections as simulation and anomalies, found {kind_of(document)}",
            "Give config.yaml of sensor-log-generator.",
        )
    config = validate(LegacyConfig, document, str(path), "docs/migrating.md lists the keys and their values.")
    config._path = path  # noqa: SLF001 -- not part of the file
    config._ignored = tuple(_ignored(document, LegacyConfig))  # noqa: SLF001
    return config


def is_legacy_config(path: Path) -> bool:
    """Whether a YAML file is a config.yaml of sensor-log-generator: it has a section that only those have."""
    document = read_yaml(path)
    own = LegacyConfig.model_fields.keys() - {"database", "version"}
    return isinstance(document, Mapping) and not own.isdisjoint(document)


def warning_of(places: Mapping[str, tuple[str, ...]]) -> str | None:
    """One line that names what is ignored, by file; None if nothing is."""
    named = [f"{', '.join(keys)} of {place}" for place, keys in places.items() if keys]
    if not named:
        return None
    return f"without a meaning here: {'; '.join(named)}. docs/migrating.md says what there is instead."


def _ignored(document: Mapping[Any, Any], model: type[BaseModel], above: str = "") -> Iterator[str]:
    for key, value in document.items():
        info = model.model_fields.get(key) if isinstance(key, str) else None
        if info is None or _is_unused(info):
            yield f"{above}{key}"
        elif isinstance(value, Mapping) and (inner := _model_of(info)):
            yield from _ignored(value, inner, f"{above}{key}.")


def _is_unused(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and UNUSED in info.json_schema_extra


def _model_of(info: FieldInfo) -> type[BaseModel] | None:
    kinds = (info.annotation, *getattr(info.annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
