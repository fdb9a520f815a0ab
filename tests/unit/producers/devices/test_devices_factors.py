"""How manufacturer and firmware change the chance of faults."""

import pytest

from producers.devices.catalogue import load_catalogue
from producers.devices.factors import fault_factor, load_factors
from schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("manufacturer", "factor"),
    [
        ("SensorTech", 1.2),
        ("DataLogger", 1.1),
        ("DataSense", 0.8),
        ("MonitorPro", 0.9),
        ("Acme", 1.0),
        ("", 1.0),
    ],
)
def test_manufacturers(manufacturer, factor):
    assert fault_factor(manufacturer, "") == factor


@pytest.mark.parametrize(
    ("firmware", "factor"),
    [
        ("1.4", 0.7),
        ("1.2.0", 0.7),
        ("v1", 0.7),
        ("1.0.0-beta", 0.7),
        ("2.1.3", 0.85),
        ("v2", 0.85),
        ("3.0-beta", 1.5),
        ("3.0.0-alpha.1", 1.5),
        ("3.1b2", 1.5),
        ("3.0.0Beta", 1.5),
        ("3.15.21", 1.0),
        ("3.0.0+build7", 1.0),
        ("3.0-rc1", 1.0),
        ("10.2", 1.0),
        ("21", 1.0),
        ("4.0.1", 1.0),
        ("unknown", 1.0),
        ("", 1.0),
    ],
)
def test_firmware_need_not_be_semantic(firmware, factor):
    assert fault_factor("Acme", firmware) == factor


def test_both_multiply():
    assert fault_factor("SensorTech", "3.0.0-beta") == pytest.approx(1.8)


def test_types_without_a_table_have_the_chance_that_their_fleet_says():
    for kind in load_catalogue().types.values():
        if kind.family != "environmental":
            makers, versions = kind.manufacturers, kind.firmware or ("",)
            assert {fault_factor(maker, version) for maker in makers for version in versions} == {1.0}, (
                kind.name
            )


def test_a_users_own_table_goes_before_ours(tmp_path):
    path = tmp_path / "factors.yaml"
    path.write_text(
        "manufacturers: {Kaltmann: 1.3, SensorTech: 1.0}\n"
        "firmware: [{major: 1, stage: rc, factor: 2}, {major: 4, factor: 3}]\n"
    )
    factors = load_factors(path)
    assert fault_factor("Kaltmann", "", factors) == 1.3
    assert fault_factor("SensorTech", "1.0rc1", factors) == 2.0
    assert fault_factor("DataLogger", "1.0", factors) == pytest.approx(0.77)
    assert fault_factor("Acme", "4.2", factors) == 3.0
    assert fault_factor("SensorTech", "4.2") == 1.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "expected keys and values"),
        ("manufacturer: {}", "manufacturer is no key here"),
        ("manufacturers: {Acme: -1}", "manufacturers.Acme is -1"),
        ("firmware: [{major: 1}]", "firmware.0.factor is missing"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, text, message):
    path = tmp_path / "factors.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_factors(path)
    assert message in refused.value.message
    assert refused.value.remedy
