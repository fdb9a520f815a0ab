"""The offline BACKWARD check agrees with what fastavro reads."""

import io

import fastavro
import pytest

from schemas.catalogue import Catalogue, SchemaVersion, packaged_versions
from schemas.compatibility import backward_problems, catalogue_problems


def record(*fields, name="R", **more):
    return {"type": "record", "name": name, "fields": [dict(field) for field in fields], **more}


def f(name, kind, **more):
    return {"name": name, "type": kind, **more}


E1 = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LIST = record(f("next", ["null", "R"]), f("v", "int"))
MICROS = {"type": "long", "logicalType": "timestamp-micros"}

# new, old, a value that old writes, the problem (None: reads)
CASES = {
    "same": (record(f("a", "int")), record(f("a", "int")), {"a": 1}, None),
    "added with default": (record(f("a", "int"), f("b", "string", default="")), record(f("a", "int")), {"a": 1}, None),
    "added without": (record(f("a", "int"), f("b", "string")), record(f("a", "int")), {"a": 1}, "field b: was not written"),
    "removed": (record(), record(f("a", "int")), {"a": 1}, None),
    "renamed with alias": (record(f("b", "int", aliases=["a"])), record(f("a", "int")), {"a": 1}, None),
    "widened": (record(f("a", "double")), record(f("a", "int")), {"a": 1}, None),
    "narrowed": (record(f("a", "int")), record(f("a", "long")), {"a": 1}, "long cannot be read as int"),
    "made optional": (record(f("a", ["null", "int"])), record(f("a", "int")), {"a": 1}, None),
    "made required": (record(f("a", "int")), record(f("a", ["null", "int"])), {"a": None}, "null cannot be read as int"),
    "other union": (record(f("a", ["null", "string"])), record(f("a", ["null", "int"])), {"a": 1}, "int is none of null, string"),
    "optional array": (
        record(f("a", ["null", {"type": "array", "items": "string"}])),
        record(f("a", ["null", {"type": "array", "items": "int"}])),
        {"a": [1]},
        "field a[]: int cannot be read as string",
    ),
    "map": (
        record(f("a", {"type": "map", "values": "double"})), record(f("a", {"type": "map", "values": "int"})), {"a": {"x": 1}}, None,
    ),
    "enum grown": (record(f("a", E1)), record(f("a", {**E1, "symbols": ["A", "B", "C"]})), {"a": "C"}, "no symbol C"),
    "enum with default": (
        record(f("a", {**E1, "default": "A"})), record(f("a", {**E1, "symbols": ["A", "B", "C"]})), {"a": "C"}, None,
    ),
    "fixed": (
        record(f("a", {"type": "fixed", "name": "F", "size": 2})),
        record(f("a", {"type": "fixed", "name": "F", "size": 3})),
        {"a": b"abc"},
        "fixed F has 3 bytes, not 2",
    ),
    "other name": (record(name="S"), record(), {}, "record R cannot be read as S"),
    "aliased name": (record(name="S", aliases=["R"]), record(), {}, None),
    "recursive": (LIST, LIST, {"next": {"next": None, "v": 1}, "v": 2}, None),
    "recursive changed": (
        record(f("next", ["null", "R"]), f("v", "int"), f("w", "int")), LIST, {"next": None, "v": 2}, "field w: was not written",
    ),
    "named type used twice": (
        record(f("a", E1), f("b", "E")), record(f("a", E1), f("b", "E")), {"a": "A", "b": "B"}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_check_says_what_fastavro_does(case):
    new, old, value, problem = CASES[case]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(old), value)
    out.seek(0)
    try:
        fastavro.schemaless_reader(out, fastavro.parse_schema(old), fastavro.parse_schema(new))
        reads = True
    except Exception:  # noqa: BLE001 -- fastavro raises many
        reads = False
    problems = backward_problems(new, old)
    assert reads == (problem is None)
    assert len(problems) == (0 if problem is None else 1)
    if problem is not None:
        assert problem in problems[0]


def test_a_changed_unit_is_a_problem():
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    assert backward_problems(record(f("t", MICROS)), record(f("t", millis))) == [
        "field t: logical type timestamp-millis cannot be read as timestamp-micros"
    ]
    assert "timestamp-micros" in backward_problems(record(f("t", "long")), record(f("t", MICROS)))[0]


def test_every_version_in_the_package_reads_the_earlier_ones():
    assert catalogue_problems(Catalogue()) == []


def test_an_anomaly_of_either_version_is_read_with_the_other():
    versions = [entry.schema for entry in packaged_versions() if entry.subject == "anomaly"]
    assert len(versions) == 2
    assert backward_problems(*versions) == backward_problems(*reversed(versions)) == []


def test_a_catalogue_that_does_not_fit_itself():
    broken = Catalogue().schema(1) | {"fields": [*Catalogue().schema(1)["fields"], f("site", "string")]}
    catalogue = Catalogue([*packaged_versions(), SchemaVersion("reading", 2, 9, broken)])
    assert catalogue_problems(catalogue) == [
        "reading version 2 cannot read version 1: field site: was not written and has no default"
    ]
