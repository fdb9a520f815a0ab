"""docs/migrating.md and docs/scenarios.md say what is true."""

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from deploy.cli.main import app
from producers.devices.catalogue import load_catalogue
from producers.devices.expand import fleet_types
from producers.devices.fleets import load_fleet
from producers.devices.model import DeviceType
from producers.documents import parse_yaml
from producers.legacy.config import LegacyConfig
from producers.scenarios.files import list_scenarios, load_scenario
from schemas.settings import describe_settings

DOCS = Path(__file__).parents[4] / "docs"
MIGRATING, SCENARIOS = ((DOCS / name).read_text() for name in ("migrating.md", "scenarios.md"))
CODE = re.compile(r"`([^`\n]+)`")
COMMANDS = sorted(
    {
        command.strip()
        for text in (MIGRATING, SCENARIOS)
        for command in [
            *CODE.findall(text),
            *re.findall(r"^    (sigmawatch .*?)(?:   .*)?$", text, re.MULTILINE),
        ]
        if command.startswith("sigmawatch ")
    }
)
SETTINGS = {setting.key: setting.variable for setting in describe_settings()}


OF_THE_FIVE = """
SENSOR_ID SENSOR_LOCATION SENSOR_INTERVAL ANOMALY_PROBABILITY LOG_LEVEL PRESERVE_EXISTING_DB MONITORING_ENABLED
MONITORING_PORT CONFIG_FILE IDENTITY_FILE SQLITE_TMPDIR
--config --identity --generate-identity --output-schema --debug
DEFAULT_DEVICE_COUNT SIMULATION_INTERVAL DATA_VARIATION_PERCENT VOLTAGE_NOMINAL VOLTAGE_TOLERANCE MQTT_TOPIC_PREFIX
CORS_ORIGINS ANOMALY_CHANCE ANOMALY_POWER_MULTIPLIER_MIN ANOMALY_VOLTAGE_VARIATION ANOMALY_DURATION_MIN
MQTT_BROKER_HOST MQTT_BROKER_PORT MQTT_USERNAME MQTT_PASSWORD
/api/v1/devices /trigger-anomaly /anomaly-status /clear-anomalies /health /api/v1/device-types
sample continuous read force train detect monitor sensors_data
--days --interval --sensors --anomaly-rate --duration --demo --limit --loop --hours --categories --sensor-id
--category --window --threshold --data-interval --monitor-interval --demo-anomalies --monitor-only
/detect /anomalies /read_log /stream_data /stream_anomalies data_frequency value_range anomaly_probability
anomaly_detection_url window_size threshold_multiplier anomaly_log_file
/healthz /statusz /metricz /samplez /db_stats sensor_data
"""
"""What a user of theirs may look for."""


def command_at(words):
    """The command that the first words name, and the words behind it."""
    found = get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]
    return found, words


def test_there_are_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_and_their_options_exist(text):
    command, rest = command_at(text.split()[1:])
    assert not getattr(command, "commands", {}) or not rest, f"no such command: {text}"
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = {word for word in rest if word.startswith("--")} - known
    assert not unknown, f"no such options: {unknown}"


SECTIONS = sorted({key.split(".")[0] for key in SETTINGS if "." in key})
OURS = re.sub(r"^\|[^|]*", "", MIGRATING, flags=re.MULTILINE)
"""The guide without the first column of its tables, which has the words of the five systems."""


def test_settings_and_their_variables_exist():
    variables = set(re.findall(r"SIGMAWATCH_[A-Z_]+", MIGRATING))
    assert len(variables) > 8
    assert variables <= set(SETTINGS.values())
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+)(?::[^`]*)?`", OURS))
    assert len(named) >= 6
    assert named <= SETTINGS.keys()


def keys_of(model, before=""):
    """Keys of a configuration, with those of its sections, as `anomalies.types.spike.weight`."""
    for name, field in model.model_fields.items():
        inner = [
            kind for kind in (field.annotation, *get_args(field.annotation)) if hasattr(kind, "model_fields")
        ]
        yield from (key for kind in inner for key in keys_of(kind, f"{before}{name}."))
        if not inner:
            yield before + name


def test_every_key_of_sensor_log_generators_configuration_is_in_the_guide():
    """Its keys are those that are read here: what is read and not told of would be found by chance only."""
    guide = MIGRATING.split("### config.yaml")[1]
    keys = sorted(set(keys_of(LegacyConfig)))
    assert len(keys) > 60
    assert [
        key for key in keys if key.split(".")[-1] not in guide and key.split(".")[0] + "." not in guide
    ] == []


def test_every_variable_and_flag_of_the_five_systems_is_in_the_guide():
    assert [word for word in OF_THE_FIVE.split() if word not in MIGRATING] == []


def test_the_fleet_settings_of_the_guide_are_ones(tmp_path):
    """The group's settings that replace iot-mock-service's, each laid over a meter."""
    pieces = [
        piece
        for piece in CODE.findall(MIGRATING.split("## anomaly-watcher")[0])
        if re.match(r"(metrics|parameters|faults|kinds): \{", piece)
    ]
    assert len(pieces) >= 7
    for piece in pieces:
        whole = f"faults: {{{piece}}}" if piece.startswith("kinds") else piece
        fleet = tmp_path / "fleet.yaml"
        fleet.write_text(f"groups:\n  - {{type: hvac, {whole}}}\n")
        assert isinstance(_type_of(fleet), DeviceType), piece


def _type_of(path):
    return fleet_types(load_fleet(path), load_catalogue())[0]


def test_the_example_scenario_is_one(tmp_path):
    text = re.search(r"```yaml\n(# incident\.yaml.*?)```", SCENARIOS, re.DOTALL)[1]
    path = tmp_path / "incident.yaml"
    path.write_text(text)
    scenario = load_scenario(path)
    assert len(scenario.timeline) == 3
    assert parse_yaml(text, "")["title"] == scenario.title


def test_every_shipped_scenario_is_described_with_its_faults():
    rows = {row[0]: row[1] for row in re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", SCENARIOS, re.MULTILINE)}
    for shipped in list_scenarios():
        for fault in load_scenario(shipped.name).expect.faults:
            if fault != "stuck":
                assert f"`{fault}`" in rows[shipped.name]
