"""Fixtures of the producers' tests."""

import pytest
from producers_fakes import FakeClock, FakePublisher

from schemas.catalogue import Catalogue
from schemas.codec import Codec


@pytest.fixture
def publisher():
    return FakePublisher()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(scope="session")
def codec():
    return Codec(Catalogue())
