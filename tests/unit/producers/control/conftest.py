"""Fixtures of the control API's tests."""

import pytest
from control_answers import client_of, data

from tests.support.running_fleet import running_fleet


@pytest.fixture
def fleet():
    """Slow enough that a fault of forty readings is seen by one who asks for it; `still` keeps it for longer."""
    with running_fleet(pause=0.01) as running:
        running.wait_for_readings()
        yield running


@pytest.fixture
def client(fleet):
    with client_of(fleet) as made:
        yield made


@pytest.fixture(scope="module")
def refusing():
    """A client for what is refused and changes nothing, so that many tests can share the fleet."""
    with running_fleet() as running, client_of(running) as made:
        running.wait_for_readings()
        yield made
        assert len(data(made.get("/api/v1/devices"))) == 8
