"""Settings for every test, and the servers of the integration tests (see tests/support/servers.py)."""

import pytest
from hypothesis import HealthCheck, settings

from tests.support import servers

# The first example of a property may have to compile a loop, so no deadline; derandomised, so that a red run is
# red again. `--hypothesis-profile=search` looks further.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("default")


def pytest_addoption(parser):
    group = parser.getgroup("sigmawatch")
    group.addoption("--brokers", help=f"brokers to test on: auto, or some of {', '.join(servers.BROKERS)}")
    group.addoption(
        "--databases", help=f"databases to test on: auto, or some of {', '.join(servers.DATABASES)}"
    )


def pytest_report_header(config):
    lines = [
        f"brokers: {', '.join(servers.chosen_brokers(config))}; databases: {', '.join(servers.chosen_databases(config))}"
    ]
    missing = {name: servers.why_not(name) for name in (*servers.BROKERS, *servers.DATABASES)}
    lines.extend(f"not here: {name} ({reason})" for name, reason in missing.items() if reason)
    return lines


def pytest_collection_modifyitems(items):
    """A second try for an integration test that a server on a busy machine let down, never for a failed assertion."""
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=["AssertionError"]))


def pytest_generate_tests(metafunc):
    """Each test on every chosen broker and database; one marked `most_real` on the most real ones alone."""
    chosen = {
        "broker": servers.chosen_brokers(metafunc.config),
        "fresh_broker": servers.chosen_brokers(metafunc.config),
        "database_server": servers.chosen_databases(metafunc.config),
    }
    for fixture in chosen.keys() & set(metafunc.fixturenames):
        names = chosen[fixture]
        if metafunc.definition.get_closest_marker("most_real"):
            names = names[-1:]
        scope = "function" if fixture == "fresh_broker" else "session"
        metafunc.parametrize(fixture, names, indirect=True, scope=scope)


@pytest.fixture(scope="session")
def broker(request, tmp_path_factory):
    """A broker for many tests, each with topics of its own: `name`, `bootstrap_servers`."""
    with servers.running_broker(request.param, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def fresh_broker(request, tmp_path):
    """A broker for one test alone."""
    with servers.running_broker(request.param, tmp_path / "broker") as running:
        yield running


@pytest.fixture(scope="session")
def database_server(request, tmp_path_factory):
    """A database server for many tests: `url`."""
    with servers.running_database(request.param, tmp_path_factory.mktemp("database")) as running:
        yield running
