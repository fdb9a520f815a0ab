"""YAML and JSON that users write."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from producers.documents import closest, nearest, parse_yaml, read_json, read_yaml, validate
from schemas.errors import ConfigError


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: Annotated[int, Field(ge=1)] = 1


class Car(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    tools: dict[str, Wheel] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10:30", "10:30"),
        ("1:30:15", "1:30:15"),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1.5e-3", 0.0015),
        ("007", "007"),
        ("3.0-beta", "3.0-beta"),
        ("1.2.3", "1.2.3"),
        ("yes", True),
        ("~", None),
        ("", None),
        ("a b", "a b"),
    ],
)
def test_scalars(text, value):
    found = parse_yaml(f"key: {text}\n", "file")["key"]
    assert found == value
    assert type(found) is type(value)


def test_anchors_and_merges_work():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", "file")["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "line 2, column 1: a is said twice"),
        ("a: [1\n", "line 2"),
        ("a: 2025-13-01\n", "month must be in 1..12"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("a: \x00\n", "unacceptable character"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_broken_yaml_is_refused_with_its_place(tmp_path, text, words):
    path = tmp_path / "car.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_yaml(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xe4")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(tmp_path / "latin")
    (tmp_path / "great").write_bytes(b"a" * 10_000_001)
    with pytest.raises(ConfigError, match="larger than 10 MB"):
        read_yaml(tmp_path / "great")


def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "car.json"
    path.write_bytes(b'\xef\xbb\xbf{"name": "a"}')
    assert read_json(path) == {"name": "a"}
    path.write_text('{"name": \n}')
    with pytest.raises(ConfigError, match="line 2, column 1"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_json(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"nam": "x"}, ["name is missing", "nam is no key here", "Did you mean name?"]),
        (
            {"name": "x", "wheels": [{"size": 0}]},
            ["wheels.0.size is 0: should be greater than or equal to 1"],
        ),
        ({"name": "x", "wheels": [{"sise": 0}]}, ["wheels.0.sise is no key here", "Did you mean size?"]),
        ({"name": "x", "spare": {"sice": 0}}, ["spare.sice is no key here", "Did you mean size?"]),
        ({"name": "x", "tools": {"a": {"sice": 0}}}, ["tools.a.sice is no key here", "Did you mean size?"]),
        ({"name": "x", "spare": 3}, ["spare is 3: expected keys and values, found a number"]),
        (
            {"name": "x" * 5, "spare": "y" * 500},
            ["spare is 'yyy", "...: expected keys and values, found a text"],
        ),
        ([], ["car.yaml: expected keys and values, found a list", "Mend it."]),
    ],
)
def test_all_that_is_wrong_is_said_with_its_path(data, words):
    with pytest.raises(ConfigError) as refused:
        validate(Car, data, "car.yaml", "Mend it.")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert len(str(refused.value)) < 300


def test_the_nearest_name():
    assert nearest("dritf", ["drift", "drop"]) == "Did you mean drift?"
    assert nearest("HVACC", ["hvac", "oven"]) == "Did you mean hvac?"
    assert nearest("x", ["b", "a"]) == "There are: a, b."
    assert nearest("x", []) == "There are none."
    assert nearest("x", (f"name{n:02}" for n in range(20))).endswith("name11, ...")
    assert closest("Europ/Berlin", ["Europe/Berlin", "Asia/Tokyo"]) == "Europe/Berlin"
    assert closest("zzz", ["Europe/Berlin"]) is None
