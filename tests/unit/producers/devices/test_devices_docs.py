"""What the documentation and the JSON Schemas say of devices is so."""

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from producers.devices import catalogue as catalogue_module
from producers.devices.catalogue import group_type, load_catalogue
from producers.devices.expand import expand, fleet_types
from producers.devices.factors import fault_factor, load_factors
from producers.devices.fleets import load_fleet, shipped_fleets
from producers.devices.json_schemas import fleet_schema, type_schema
from producers.devices.places import shipped_cities
from producers.documents import read_yaml
from schemas.errors import ConfigError

DEVICES = Path(catalogue_module.__file__).parent
PAGE = (Path(__file__).parents[4] / "docs" / "devices.md").read_text("utf-8")
CATALOGUE = load_catalogue()
TYPES = jsonschema_rs.validator_for(type_schema())
FLEETS = jsonschema_rs.validator_for(fleet_schema())


@pytest.fixture
def example(tmp_path):
    """The files of the page, each under the name in its first line."""
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        name = re.match(r"# (\S+\.yaml)\n", block)[1]
        (tmp_path / name).write_text(block, "utf-8")
    return tmp_path


def test_the_worked_example_is_a_fleet(example):
    spec = load_fleet(example / "cold-chain.yaml")
    catalogue = load_catalogue([Path(path) for path in spec.types])
    devices = expand(spec, catalogue, spec.seed)
    kinds = fleet_types(spec, catalogue)
    assert len(devices) == 35
    assert [kind.name for kind in kinds] == ["cold_store", "deep_freezer", "environmental"]
    assert kinds[0].faults["door_open"].weight == 8.0
    assert kinds[2].fault_factor == 0.0
    freezer = catalogue.types["deep_freezer"]
    assert list(freezer.metrics) == ["temperature", "power", "energy"]
    assert freezer.parameter_values({}) == {"setpoint": -26.0, "rated_power": 12.0}
    assert freezer.parameters["setpoint"].maximum == 8.0
    assert devices[0].parameters["setpoint"] == -20.0
    assert re.fullmatch(r"cold-warehouse-001", devices[0].device_id)
    assert re.fullmatch(r"YARD_[a-z-]+_1", devices[25].device_id)


def test_the_example_of_factors(example):
    factors = load_factors(example / "factors.yaml")
    assert fault_factor("Kaltmann", "4.1.0-beta", factors) == pytest.approx(2.6)


def test_the_error_is_the_one_that_the_page_shows(example):
    path = example / "cold-stores.yaml"
    path.write_text(
        path.read_text("utf-8").replace("noise: {normal: 0.1} ", "nosie: {normal: 0.1} "), "utf-8"
    )
    with pytest.raises(ConfigError) as refused:
        load_catalogue([path])
    assert str(refused.value).replace(f"{example}/", "") in PAGE


def test_the_page_lists_every_type():
    for name, kind in CATALOGUE.types.items():
        power = f", {kind.parameters['base_power'].default:g} kW" if kind.family == "energy" else ""
        metrics = ", ".join(f"{metric} {of.unit}" for metric, of in kind.metrics.items())
        assert f"| `{name}` | {kind.title}{power} | {kind.family} | {metrics} |\n" in PAGE


def test_the_page_lists_every_fault_and_who_has_it():
    order = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    for name, fault in CATALOGUE.vocabulary.items():
        having = [kind for kind in order if kind in CATALOGUE.types and name in CATALOGUE.types[kind].faults]
        lacking = sorted(CATALOGUE.types.keys() - set(having))
        who = ", ".join(having)
        if len(lacking) <= 1:
            who = f"all but {lacking[0]}" if lacking else "all"
        assert f"| `{name}` | {fault['title']} | {fault['effect']} | {who} |\n" in PAGE


def test_the_page_counts_the_cities():
    assert f"has {len(shipped_cities())} cities" in PAGE


def test_the_schemas_are_json():
    for schema in (type_schema(), fleet_schema()):
        jsonschema_rs.meta.validate(schema)
        assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_every_shipped_file_fits_its_schema(example):
    for path in (
        DEVICES / "vocabulary.yaml",
        *(DEVICES / "types").glob("*.yaml"),
        example / "cold-stores.yaml",
    ):
        TYPES.validate(read_yaml(path))
    for path in (*(DEVICES / "fleets").glob("*.yaml"), example / "cold-chain.yaml"):
        FLEETS.validate(read_yaml(path))
    assert len(list((DEVICES / "fleets").glob("*.yaml"))) == len(shipped_fleets())


METRICS = {"heat": {"unit": "C", "baseline": 20}}


@pytest.mark.parametrize(
    "data",
    [
        {"typs": {}},
        {"types": {"kiln": {}}},
        {"types": {"Kiln": {"metrics": METRICS}}},
        {"types": {"kiln": {"metrics": METRICS, "name": "kiln"}}},
        {"types": {"kiln": {"metrics": {"heat": {"baseline": 20}}}}},
        {"types": {"kiln": {"metrics": {"heat": {"unit": "C", "baselin": 20}}}}},
        {"types": {"kiln": {"metrics": METRICS, "faults": {"Spike": {}}}}},
        {"types": {"kiln": {"metrics": METRICS, "faults": {"spike": None}}}},
        {"types": {"kiln": {"metrics": METRICS, "faults": {"spike": {"effect": "explode"}}}}},
        {"types": {"kiln": {"metrics": METRICS, "attributes": {"a": 3}}}},
        {"types": {"kiln": {"extends": "oven", "metrics": {"heat": {"baselin": 20}}}}},
        {"faults": {"melt": {"effect": "add"}}},
    ],
)
def test_schema_and_catalogue_refuse_the_same(tmp_path, data):
    assert not TYPES.is_valid(data)
    path = tmp_path / "types.yaml"
    path.write_text(json.dumps(data))  # JSON is YAML
    with pytest.raises(ConfigError):
        load_catalogue([path])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"groups": []},
        {"groups": [{"typ": "oven"}]},
        {"groups": [{"type": "oven", "count": 0}]},
        {"groups": [{"type": "oven", "metrics": {"temperature": {"nosie": {}}}}]},
        {"groups": [{"type": "oven", "faults": {"kinds": {"spike": {"wieght": 1}}}}]},
        {"groups": [{"type": "oven"}], "faults": {"probability": 2}},
    ],
)
def test_schema_and_fleets_refuse_the_same(tmp_path, data):
    assert not FLEETS.is_valid(data)
    path = tmp_path / "fleet.yaml"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError):
        group_type(CATALOGUE, load_fleet(path).groups[0])
