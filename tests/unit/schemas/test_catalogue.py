"""The catalogue: fixed ids, and dataclasses that mirror the newest schemas."""

import dataclasses

import fastavro
import pytest

from schemas.catalogue import SCHEMA_IDS, Catalogue, SchemaVersion, Subject, layout, packaged_versions
from schemas.errors import SigmawatchError, UnknownSchemaError
from schemas.readings import Anomaly, AnomalySeverity, AnomalyState, Device, Reading


def test_ids_once_given_stay():
    # Messages carry these numbers: a change here is a change of every topic there is. Only ever add to it.
    assert SCHEMA_IDS == {("reading", 1): 1, ("device", 1): 2, ("anomaly", 1): 3, ("anomaly", 2): 4}


@pytest.mark.parametrize(
    ("subject", "message"), [(Subject.READING, Reading), (Subject.DEVICE, Device), (Subject.ANOMALY, Anomaly)]
)
def test_dataclass_mirrors_the_newest_schema(subject, message):
    schema = Catalogue().newest(subject).schema
    assert schema["name"] == message.__name__
    assert schema["namespace"] == "sigmawatch"
    assert [field["name"] for field in schema["fields"]] == [
        field.name for field in dataclasses.fields(message)
    ]


def test_states_and_severities_are_the_enums_symbols():
    fields = {field["name"]: field["type"] for field in Catalogue().newest("anomaly").schema["fields"]}
    assert fields["state"]["symbols"] == [state.value for state in AnomalyState]
    assert fields["severity"]["symbols"] == [severity.value for severity in AnomalySeverity]


def test_every_schema_is_avro():
    for version in packaged_versions():
        assert fastavro.parse_schema(version.schema)


def test_a_reading_begins_with_its_series():
    for version in packaged_versions():
        if version.subject == Subject.READING:
            assert [field["name"] for field in version.schema["fields"][:4]] == [
                "device_id",
                "metric",
                "time",
                "value",
            ]


def test_the_newest_version_is_written():
    schema = Catalogue().newest("reading").schema
    both = Catalogue([SchemaVersion("reading", 2, 7, schema), SchemaVersion("reading", 1, 9, schema)])
    assert both.id_for("reading") == 7
    assert set(both.known_ids()) == {7, 9}


def test_what_is_not_there():
    with pytest.raises(UnknownSchemaError, match="99"):
        Catalogue().schema(99)
    with pytest.raises(SigmawatchError, match="'weather'"):
        Catalogue().id_for("weather")
    schema = Catalogue().newest("reading").schema
    with pytest.raises(SigmawatchError, match="same id"):
        Catalogue([SchemaVersion("reading", 1, 1, schema), SchemaVersion("reading", 2, 1, schema)])


def test_layout_is_blind_to_what_does_not_move_bytes():
    schema = Catalogue().newest("reading").schema
    other = schema | {"doc": "said otherwise", "namespace": "elsewhere"}
    assert layout(other) == layout(schema)
    shorter = schema | {"fields": schema["fields"][:-1]}
    assert layout(shorter) != layout(schema)
