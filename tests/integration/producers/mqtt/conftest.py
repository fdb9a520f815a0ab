"""A mosquitto of the test's own, and who listens there."""

import pytest
from mqtt_simulations import Listener

from tests.support.mosquitto import Mosquitto


@pytest.fixture
def mosquitto(tmp_path):
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture
def listen():
    """Makes listeners, and ends them."""
    made = []

    def listener(port, topics="#", **more):
        made.append(Listener(port, topics, **more))
        return made[-1]

    yield listener
    for each in made:
        each.close()
