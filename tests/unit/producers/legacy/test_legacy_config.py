"""config.yaml of sensor-log-generator, as its users have it."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from producers.legacy.config import LegacyConfig, config_of, is_legacy_config, read_config, warning_of
from schemas.errors import ConfigError
from tests.support import sensor_log_generator

# A version without quotes is a number to YAML.
SAMPLE = sensor_log_generator.SAMPLE.replace('firmware_version: "1.4"', "firmware_version: 1.4")

EVERY_KEY = """
version: 2
database: {path: a, backup_enabled: true, backup_interval_hours: 24, backup_path: b, max_backups: 7,
  preserve_existing_db: false, max_size_mb: 1000, batch_size: 100}
logging: {level: debug, file: a, format: "%(message)s", console_output: true, max_file_size_mb: 100, backup_count: 5}
random_location: {enabled: true, number_of_cities: 5, city_count: 50, gps_variation: 10, cities_file: cities.json,
  filter_by: population, min_population: 100000, max_population: 10000000, exclude_countries: [], include_countries: [US]}
simulation: {readings_per_second: 3, run_time_seconds: 3600, start_delay_seconds: 2, batch_size: 100}
replicas: {count: 3, prefix: SENSOR, start_index: 1}
normal_parameters:
  temperature: {mean: 25.0, std_dev: 2.0, min: -10.0, max: 45.0}
  humidity: {mean: 50.0, std_dev: 10.0, min: 0.0, max: 100.0}
  pressure: {mean: 101325.0, std_dev: 1000.0, min: 95000.0, max: 105000.0}
  vibration: {mean: 2.5, std_dev: 0.5, min: 0.0, max: 10.0}
  voltage: {mean: 12.0, std_dev: 0.5, min: 10.0, max: 14.0}
anomalies:
  enabled: true
  probability: 0.05
  types:
    spike: {enabled: true, weight: 0.3, duration_seconds: 60, severity_factor: 2.0}
    trend: {enabled: true, weight: 0.25, duration_seconds: 300, rate_change: 0.1}
    pattern: {enabled: true, weight: 0.2, duration_seconds: 600, frequency: 0.1}
    missing_data: {enabled: true, weight: 0.15, duration_seconds: 60}
    noise: {enabled: true, weight: 0.1, duration_seconds: 120, noise_multiplier: 3.0}
monitoring: {enabled: true, host: 0.0.0.0, port: 8080, metrics_interval_seconds: 60, health_check_path: /health,
  metrics_path: /metrics, enable_prometheus: false}
dynamic_reloading: {enabled: true, check_interval_seconds: 5, reload_on_change: true, validate_before_reload: true}
advanced: {memory_limit_mb: 500, cpu_limit_percent: 80, error_retry_attempts: 3, error_retry_delay_seconds: 5,
  batch_insert_size: 100, batch_timeout_seconds: 5.0}
sensor: {type: environmental, id: S, location: L, manufacturer: M, model: O, firmware_version: "1", serial_number: N}
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def test_the_sample_of_its_document_is_read(written):
    config = read_config(written(SAMPLE))
    assert config.ignored == ("database.path", "logging.file", "logging.console_output")
    assert config.sensor.firmware_version == "1.4"
    assert config.simulation.run_time_seconds == 3600
    assert config.normal_parameters.given.keys() == {"temperature", "humidity", "pressure"}
    assert config.anomalies.types.trend.duration_seconds == 300
    assert config.monitoring.enabled is False


def test_every_key_is_known_and_those_without_a_meaning_are_named(written):
    config = read_config(written(EVERY_KEY))
    assert config.ignored == (
        *(f"database.{key}" for key in ("path", "backup_enabled", "backup_interval_hours", "backup_path")),
        *(f"database.{key}" for key in ("max_backups", "preserve_existing_db", "max_size_mb", "batch_size")),
        *(f"logging.{key}" for key in ("file", "console_output", "max_file_size_mb", "backup_count")),
        "simulation.batch_size",
        "monitoring.metrics_interval_seconds",
        "monitoring.enable_prometheus",
        "dynamic_reloading.validate_before_reload",
        *(f"advanced.{key}" for key in ("memory_limit_mb", "cpu_limit_percent", "error_retry_attempts")),
        *(
            f"advanced.{key}"
            for key in ("error_retry_delay_seconds", "batch_insert_size", "batch_timeout_seconds")
        ),
    )
    assert config.logging.level == "DEBUG"
    assert config.random_location.cities == 50
    assert config.anomalies.types.noise.noise_multiplier == 3.0


def paths(model, above=""):
    for name, info in model.model_fields.items():
        kinds = (info.annotation, *getattr(info.annotation, "__args__", ()))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            yield f"{above}{name}"
        else:
            yield from paths(inner, f"{above}{name}.")


def test_every_key_is_in_the_guide():
    """docs/migrating.md names each key, or its section and the key."""
    guide = (Path(__file__).parents[4] / "docs" / "migrating.md").read_text()
    words = set(re.findall(r"[a-z_]+", guide))
    missing = [path for path in paths(LegacyConfig) if not words.issuperset(path.split("."))]
    assert missing == []


def test_unknown_keys_are_named_with_their_whole_path(written):
    config = read_config(
        written(
            "colour: red\nsimulation: {warp: 9, deep: {er: 1}}\nanomalies: {types: {drift: {weight: 1}, spike: {frequency: 1}}}\n5: x\n"
        )
    )
    assert config.ignored == (
        "colour",
        "simulation.warp",
        "simulation.deep",
        "anomalies.types.drift",
        "anomalies.types.spike.frequency",
        "5",
    )


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "database:\nanomalies:\n  types:\n    spike:\nlogging:\n"]
)
def test_empty_files_and_sections_are_as_by_default(written, text):
    config = read_config(written(text))
    assert config.ignored == ()
    assert config.simulation.readings_per_second == 1.0
    assert config.anomalies.probability == 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("simulation: {readings_per_second: fast}", "simulation.readings_per_second is 'fast'"),
        ("simulation: {readings_per_second: 0}", "simulation.readings_per_second is 0"),
        ("simulation: {readings_per_second: true}", "expected a number"),
        ("simulation: {run_time_seconds: .inf}", "simulation.run_time_seconds"),
        ("simulation: {start_delay_seconds: -1}", "start_delay_seconds is -1"),
        ("simulation: 5", "simulation is 5: expected keys and values, found a number"),
        ("replicas: {count: 0}", "replicas.count is 0"),
        ("replicas: {count: 2.5}", "replicas.count is 2.5"),
        ("replicas: {prefix: ''}", "replicas.prefix"),
        ("anomalies: {probability: 5}", "anomalies.probability is 5: should be less than or equal to 1"),
        ("anomalies: {enabled: perhaps}", "anomalies.enabled is 'perhaps'"),
        ("anomalies: {types: {spike: {weight: -1}}}", "anomalies.types.spike.weight is -1"),
        ("anomalies: {types: {trend: {duration_seconds: 0}}}", "anomalies.types.trend.duration_seconds is 0"),
        ("anomalies: {types: {noise: {noise_multiplier: 0.5}}}", "noise_multiplier is 0.5"),
        (
            "normal_parameters: {temperature: {min: 3, max: 2}}",
            "normal_parameters.temperature: min must be below max",
        ),
        ("normal_parameters: {humidity: {std_dev: -1}}", "normal_parameters.humidity.std_dev is -1"),
        ("random_location: {filter_by: age}", "random_location.filter_by is 'age'"),
        ("random_location: {min_population: 9, max_population: 1}", "min_population must not be above"),
        ("random_location: {include_countries: US}", "random_location.include_countries"),
        ("monitoring: {port: 70000}", "monitoring.port is 70000"),
        ("logging: {level: loud}", "logging.level is 'LOUD'"),
        ("version: 3", "version is 3: should be 1 or 2"),
        ("- 1", "expected sections"),
    ],
)
def test_wrong_values_are_refused_with_file_key_and_remedy(written, text, words):
    path = written(text)
    with pytest.raises(ConfigError) as refused:
        read_config(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)
    assert refused.value.remedy


def test_all_that_is_wrong_is_said_at_once():
    document = {"simulation": {"readings_per_second": "x"}, "replicas": {"count": -1}}
    with pytest.raises(ConfigError) as refused:
        config_of(document, Path("c.yaml"))
    assert "simulation.readings_per_second" in str(refused.value)
    assert "replicas.count" in str(refused.value)
    assert "docs/migrating.md" in str(refused.value)


def test_their_files_are_told_from_ours(written):
    assert is_legacy_config(written(SAMPLE))
    assert is_legacy_config(written("version: 1\nsimulation: {readings_per_second: 2}\n"))
    assert not is_legacy_config(written("kafka: {bootstrap_servers: 'a:1'}\nlog: {level: info}\n"))
    assert not is_legacy_config(written("database: {url: 'postgresql://a@b/c'}\n"))
    assert not is_legacy_config(written(""))


def test_one_warning_names_everything():
    assert warning_of({"config.yaml": ()}) is None
    text = warning_of({"config.yaml": ("database.path", "logging.file"), "identity.json": ("x",)})
    assert "database.path, logging.file of config.yaml; x of identity.json" in text
    assert "docs/migrating.md" in text
