"""identity.json of sensor-log-generator in both of its formats."""

import json
from datetime import date

import pytest

from producers.legacy.identity import LegacyIdentity, identity_of, identity_template, read_identity
from schemas.errors import ConfigError
from tests.support.sensor_log_generator import FLAT
from tests.support.sensor_log_generator import NESTED as ENHANCED

NESTED = {
    **ENHANCED,
    "location": ENHANCED["location"] | {"address": "Denver, CO, USA"},
    "device_info": ENHANCED["device_info"] | {"manufacture_date": "2025-03-01"},
    "deployment": ENHANCED["deployment"] | {"orientation_degrees": 0},
    "metadata": {
        "instance_id": "i-1",
        "generation_seed": 6512888196135987407094013990342748250293,
        "tags": {"a": [1]},
    },
}


def test_the_flat_format():
    assert identity_of(FLAT) == LegacyIdentity(
        device_id="SENSOR_NY_001",
        location="New York",
        latitude=40.7128,
        longitude=-74.0060,
        timezone="America/New_York",
        manufacturer="SensorTech",
        model="TempSensor Pro",
        firmware="1.2.0",
    )


def test_the_nested_format():
    assert identity_of(NESTED) == LegacyIdentity(
        device_id="SENSOR_CO_DEN_001",
        location="Denver",
        latitude=39.7337,
        longitude=-104.9906,
        timezone="America/Denver",
        manufacturer="DataLogger",
        model="AirData-Plus",
        firmware="3.15.21",
        serial_number="DL-578463",
        place_attributes={"state": "CO", "address": "Denver, CO, USA"},
        attributes={
            "manufacture_date": "2025-03-01",
            "deployment_type": "mobile_unit",
            "installation_date": "2025-03-24",
            "height_meters": "8.3",
            "orientation_degrees": "0",
            "instance_id": "i-1",
            "generation_seed": "6512888196135987407094013990342748250293",
            "tags.a": "[1]",
        },
    )


def test_the_formats_may_be_mixed():
    mixed = identity_of(
        {**FLAT, "device_info": {"firmware_version": "2.0.0"}, "sensor_id": "other", "colour": "red"}
    )
    assert (mixed.device_id, mixed.firmware, mixed.manufacturer) == ("other", "2.0.0", "SensorTech")
    assert mixed.attributes == {"colour": "red"}


def test_an_address_stands_for_a_city_that_is_missing():
    found = identity_of({"location": {"address": "Denver, CO, USA"}})
    assert (found.location, found.place_attributes) == ("Denver, CO, USA", {})


def test_names_that_are_taken_get_their_section():
    found = identity_of({"deployment": {"kind": "a"}, "metadata": {"kind": "b"}})
    assert found.attributes == {"kind": "a", "metadata.kind": "b"}


@pytest.mark.parametrize("firmware", ["1.4", 1.4, "3.0-beta", "v2 (build 7)", "2024-11", 3])
def test_firmware_need_not_be_a_semantic_version(firmware):
    assert identity_of({"firmware_version": firmware}).firmware == str(firmware)


@pytest.mark.parametrize(
    "document",
    [{}, {"location": None, "device_info": None, "deployment": None, "metadata": None, "sensor_id": None}],
)
def test_nothing_has_to_be_said(document):
    assert identity_of(document) == LegacyIdentity()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "expected keys and values"),
        ({"latitude": 91, "longitude": 0}, "latitude is 91"),
        ({"latitude": "north", "longitude": 0}, "latitude is 'north'"),
        ({"latitude": 1}, "latitude and longitude go together"),
        (
            {"location": {"coordinates": {"latitude": 1, "longitude": 181}}},
            "location.coordinates.longitude is 181",
        ),
        (
            {"location": {"coordinates": {"longitude": 18}}},
            "location.coordinates: latitude and longitude go together",
        ),
        ({"location": {"timezone": "America/Denvr"}}, "as America/Denver"),
        ({"timezone": "../etc/passwd"}, "timezone is '../etc/passwd'"),
        ({"location": [1]}, "location: expected keys and values"),
        ({"device_info": "x"}, "device_info is 'x'"),
        ({"deployment": "x"}, "deployment is 'x'"),
        ({"manufacturer": {}}, "manufacturer"),
    ],
)
def test_what_makes_no_sense_is_refused(document, words):
    with pytest.raises(ConfigError) as refused:
        identity_of(document, "identity.json")
    assert str(refused.value).startswith("identity.json")
    assert words in str(refused.value)
    assert "--generate-identity" in str(refused.value)


def test_files_are_read(tmp_path):
    path = tmp_path / "identity.json"
    path.write_text(json.dumps(NESTED))
    assert read_identity(path) == identity_of(NESTED)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"identity\.json, line 1"):
        read_identity(path)


def test_the_template_is_an_identity_with_every_field():
    template = json.loads(json.dumps(identity_template(date(2026, 2, 3))))
    found = identity_of(template)
    assert found.device_id == "SENSOR_CO_DEN_001"
    assert found.attributes["installation_date"] == "2026-02-03"
    for name in (
        "location",
        "latitude",
        "longitude",
        "timezone",
        "manufacturer",
        "model",
        "firmware",
        "serial_number",
    ):
        assert getattr(found, name)


def test_the_template_is_one_that_the_original_takes():
    """It asked for these keys in this nesting, semantic versions and ISO dates."""
    template = identity_template(date(2026, 2, 3))
    assert template.keys() == {"sensor_id", "location", "device_info", "deployment", "metadata"}
    assert template["location"].keys() == {"city", "state", "coordinates", "timezone", "address"}
    assert template["device_info"]["firmware_version"].count(".") == 2
    date.fromisoformat(template["device_info"]["manufacture_date"])
    date.fromisoformat(template["metadata"]["identity_generation_timestamp"][:10])
    assert 0 <= template["deployment"]["orientation_degrees"] <= 360
