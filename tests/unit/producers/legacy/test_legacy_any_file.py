"""Whatever sensor-log-generator's files say, there is a fleet or an error that explains."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from legacy_fleets import BEGIN_US, CATALOGUE

from producers.legacy.config import config_of
from producers.legacy.convert import fleet_of
from producers.legacy.identity import identity_of
from producers.simulation.device_fleet import DeviceFleet
from schemas.errors import ConfigError

NUMBERS = (
    st.none() | st.integers(-3, 3) | st.floats(-1e9, 1e9) | st.sampled_from([0.05, 1e-9, 1e300, True, "x"])
)
PARAMETERS = st.none() | st.fixed_dictionaries(
    {}, optional={"mean": NUMBERS, "std_dev": NUMBERS, "min": NUMBERS, "max": NUMBERS, "colour": NUMBERS}
)
ANOMALIES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "weight": NUMBERS,
        "duration_seconds": NUMBERS,
        "severity_factor": NUMBERS,
        "rate_change": NUMBERS,
        "frequency": NUMBERS,
        "noise_multiplier": NUMBERS,
    },
)
METRICS = ("temperature", "humidity", "pressure", "vibration", "voltage")
KINDS = ("spike", "trend", "pattern", "missing_data", "noise")
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "normal_parameters": st.fixed_dictionaries({}, optional=dict.fromkeys(METRICS, PARAMETERS)),
        "anomalies": st.fixed_dictionaries(
            {},
            optional={
                "probability": NUMBERS,
                "types": st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, ANOMALIES)),
            },
        ),
        "simulation": st.fixed_dictionaries(
            {}, optional={"readings_per_second": NUMBERS, "run_time_seconds": NUMBERS}
        ),
        "replicas": st.fixed_dictionaries(
            {}, optional={"count": st.integers(-1, 3), "prefix": st.text(max_size=3)}
        ),
        "random_location": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "gps_variation": NUMBERS,
                "number_of_cities": st.integers(-1, 3),
                "min_population": NUMBERS,
                "exclude_countries": st.lists(st.text(max_size=2), max_size=2),
            },
        ),
    },
)
IDENTITIES = st.fixed_dictionaries(
    {},
    optional={
        "sensor_id": st.text(max_size=4) | st.integers(),
        "location": st.text(max_size=4) | st.fixed_dictionaries({}, optional={"city": st.text(max_size=4)}),
        "latitude": st.floats(-91, 91),
        "longitude": st.floats(-181, 181),
        "firmware_version": st.text(max_size=4),
        "timezone": st.text(max_size=4),
        "metadata": st.dictionaries(
            st.text(max_size=2), st.text(max_size=2) | st.lists(st.integers()), max_size=2
        ),
    },
)


@given(DOCUMENTS, IDENTITIES)
@settings(max_examples=150)
def test_every_file_gives_readings_or_an_error_that_explains(document, identity):
    fleet = _fleet_or_refusal(document, identity)
    if isinstance(fleet, ConfigError):
        assert fleet.remedy
        return
    batch = fleet.between(BEGIN_US, BEGIN_US + 20 * fleet.interval_us)
    assert np.isfinite(batch.value).all()
    assert 1 <= len(fleet.devices) <= 3


def _fleet_or_refusal(document, identity):
    try:
        spec, said = fleet_of(config_of(document, Path("config.yaml")), identity_of(identity))
        return DeviceFleet(spec, CATALOGUE, 1, round(said.interval * 1e6))
    except ConfigError as error:
        return error
