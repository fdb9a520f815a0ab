"""What a run is made of: settings handed on exactly, windows that fit, commands that go on where they stopped."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.stack.plan import (
    Source,
    demo_overrides,
    environment,
    median_interval,
    window_overrides,
)
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose, options_of
from schemas.readings import Reading
from schemas.settings import load_settings

GIVEN = {
    "kafka.bootstrap_servers": "a:1,b:2",
    "kafka.options.sasl.password": "hush",
    "kafka.options.ssl.ca.location": "/ca.pem",
    "database.url": "postgresql://me:s%40fe@db:5432/x",
    "processor.window": "1h30m",
    "processor.k": 3.3,
    "simulate.speed": "max",
    "simulate.duration": "1d",
    "schema_registry.auto_register": True,
    "topics.readings": "plant.readings",
}


def test_the_environment_gives_another_process_the_same_settings():
    settings = load_settings(None, GIVEN, {})
    handed = environment(settings, {})
    assert handed["SIGMAWATCH_DATABASE__URL"] == GIVEN["database.url"]
    again = load_settings(None, None, {name: value for name, value in handed.items() if value is not None})
    assert again == settings
    assert again.database.url.get_secret_value() == GIVEN["database.url"]


def test_what_this_process_was_given_is_taken_away():
    environ = {
        "SIGMAWATCH_CONFIG": "x.yaml",
        "SIGMAWATCH_SIMULATE__RATE": "5",
        "SIGMAWATCH_FAILPOINT": "a",
        "HOME": "/",
    }
    handed = environment(load_settings(None, None, {}), environ)
    assert handed["SIGMAWATCH_CONFIG"] is None
    assert handed["SIGMAWATCH_SIMULATE__RATE"] is None
    assert "SIGMAWATCH_FAILPOINT" not in handed
    assert "HOME" not in handed


@given(st.floats(1e-3, 1e6), st.integers(1, 10))
def test_a_guessed_window_holds_about_a_hundred_readings_in_whole_panes(interval, panes):
    overrides = window_overrides(interval, panes)
    settings = load_settings(None, {**overrides, "processor.panes": panes}, {})
    assert settings.processor.window == pytest.approx(100 * interval, rel=0.01)


def test_the_median_interval_is_of_each_series_by_itself():
    hours = [
        Reading(device, "m", hour * 3_600_000_000 + shift, 0.0)
        for hour in range(5)
        for device, shift in (("a", 0), ("b", 7))
    ]
    assert median_interval(hours) == 3600.0
    assert median_interval([Reading("a", "m", 5, 0.0)] * 3) is None
    assert median_interval([]) is None


def test_a_long_file_is_not_read_to_its_end():
    endless = (Reading("a", "m", second * 1_000_000, 0.0) for second in itertools.count())
    assert median_interval(endless) == 1.0


def test_demo_settings_give_way_to_the_users():
    assert demo_overrides(load_settings(None, None, {}))["processor.window"] == "60s"
    chosen = demo_overrides(load_settings(None, {"processor.window": "5m", "simulate.rate": 1000}, {}))
    assert chosen == {"simulate.anomaly_rate": "0.001"}
    slow = demo_overrides(load_settings(None, {"simulate.interval": "1m"}, {}))
    assert load_settings(None, slow, {}).processor.window == 6000.0


@pytest.mark.parametrize("begin_us", [1_790_000_000_000_000 + n * 86_461_000_000 for n in range(5)])
def test_the_fleet_of_up_is_mixed_and_has_faults_within_half_a_minute(begin_us):
    """What `make demo` shows, whenever it is started."""
    settings = load_settings(None, demo_overrides(load_settings(None, None, {})), {})
    chosen = choose(options_of(settings))
    fleet = make_fleet(chosen)
    begin = -(-begin_us // chosen.interval_us) * chosen.interval_us
    batch = fleet.between(begin, begin + 30_000_000)
    assert len({each.type for each in fleet.devices}) > 10
    assert len({fleet.table.faults[number] for number in batch.fault.tolist() if number >= 0}) >= 2


def test_the_fleet_of_up_never_goes_by_mqtt():
    settings = load_settings(None, {"mqtt.url": "mqtt://me:secret@somewhere"}, {})
    handed_on = environment(settings, ["SIGMAWATCH_MQTT__URL"])
    assert handed_on["SIGMAWATCH_MQTT__URL"] is None
    assert "secret" not in str(handed_on)


def test_a_source_goes_on_for_the_time_that_is_left():
    fleet = Source("simulate", ("simulate",), 30.0)
    assert fleet.command_for(0.0) == ("simulate", "--duration", "30.000s")
    assert fleet.command_for(12.5) == ("simulate", "--duration", "17.500s")
    assert fleet.command_for(99.0)[-1] == "0.001s"
    assert Source("simulate", ("simulate",)).command_for(5.0) == ("simulate",)
    assert Source("replay", ("replay", "f"), 30.0, Path("f")).command_for(5.0) == ("replay", "f")
    assert math.isinf(load_settings(None, {"simulate.speed": "max"}, {}).simulate.speed)
