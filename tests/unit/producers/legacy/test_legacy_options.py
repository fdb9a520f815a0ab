"""What else sensor-log-generator's files say: pace, log, control; and what is passed over."""

import pytest
from legacy_fleets import options

from producers.legacy.convert import LegacyOptions


def test_options():
    found = options("""
simulation: {readings_per_second: 10, run_time_seconds: 60, start_delay_seconds: 2}
logging: {level: WARNING, format: JSON}
monitoring: {enabled: true, host: localhost, port: 9000, health_check_path: /healthz}
dynamic_reloading: {check_interval_seconds: 7}
""")
    assert found == LegacyOptions(
        interval=0.1,
        duration=60.0,
        start_delay=2.0,
        log_level="warning",
        log_format="json",
        control=("localhost", 9000),
        reload_interval=7.0,
    )


def test_options_by_default():
    assert options() == LegacyOptions(interval=1.0, duration=3600.0, reload_interval=5.0)


@pytest.mark.parametrize("text", ["{enabled: false}", "{reload_on_change: false}"])
def test_reloading_can_be_switched_off(text):
    assert options(f"dynamic_reloading: {text}").reload_interval == 0.0


@pytest.mark.parametrize(
    ("host", "has_token", "listens", "ignored"),
    [
        ("0.0.0.0", False, "127.0.0.1", ("monitoring.host",)),
        ("0.0.0.0", True, "0.0.0.0", ()),
        ("127.0.0.2", False, "127.0.0.2", ()),
        ("'::1'", False, "::1", ()),
        ("panel.example", False, "127.0.0.1", ("monitoring.host",)),
    ],
)
def test_the_control_api_stays_on_loopback_without_a_token(host, has_token, listens, ignored):
    found = options(f"monitoring: {{enabled: true, host: {host}}}", has_token=has_token)
    assert found.control == (listens, 8080)
    assert found.ignored == ignored


def test_values_without_a_meaning_are_named():
    found = options("""
logging: {format: "%(message)s"}
monitoring: {health_check_path: /alive, metrics_path: /numbers}
random_location: {filter_by: area}
sensor: {type: seismic}
""")
    assert found.ignored == (
        "logging.format",
        "monitoring.health_check_path",
        "monitoring.metrics_path",
        "random_location.filter_by",
        "sensor.type",
    )
