"""Fixtures of the ingest's tests."""

import pytest
from ingest_fakes import Service


@pytest.fixture
def make():
    made = []

    def service(**chosen):
        made.append(Service(**chosen))
        return made[-1]

    yield service
    for one in made:
        one.sender.stop(0.1)
