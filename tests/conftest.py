"""Settings for every test, and the servers of the integration tests (see tests/support/servers.py)."""

import logging
from contextlib import ExitStack
from functools import cache

import pytest
import structlog
from hypothesis import HealthCheck, settings

from schemas.logging import _Handler
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


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Have the processes of pytest-xdist test on what this one has chosen.

    Where each asked for itself, a Docker engine that is busy for a moment would give them different tests, which is the
    end of the whole run.
    """
    node.workerinput["brokers"] = servers.chosen_brokers(node.config)
    node.workerinput["databases"] = servers.chosen_databases(node.config)


LONGEST_FIRST = ("tests/faults/", "tests/integration/deploy/", "tests/features/", "tests/integration/", "")


WRONG_RESULTS = ["^AssertionError", "^Failed: DID NOT "]
"""Beginnings of errors, as pytest-rerunfailures compares them."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first, as pytest-xdist begins them in this order (with --no-loadscope-reorder): one that begins last
    is waited for by all. And a second try for what a busy machine was too slow for (tests/support/waiting.py), for an
    integration test also where a server let it down; never for a failed assertion.
    """
    items.sort(
        key=lambda item: next(n for n, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start))
    )
    for item in items:
        integration = item.get_closest_marker("integration") is not None
        when = {"rerun_except": WRONG_RESULTS} if integration else {"only_rerun": ["^NotInTimeError"]}
        item.add_marker(pytest.mark.flaky(reruns=1, **when))


def pytest_generate_tests(metafunc):
    """Each test on every chosen broker and database; one marked `most_real` on the most real ones alone."""
    databases = servers.chosen_databases(metafunc.config)
    chosen = {
        "broker": servers.chosen_brokers(metafunc.config),
        "fresh_broker": servers.chosen_brokers(metafunc.config),
        "real_database_server": databases[-1:],
        "every_database_server": list(dict.fromkeys(["postgresql", *databases])),
    }
    most_real = metafunc.definition.get_closest_marker("most_real") is not None
    # In one order everywhere: pytest-xdist wants the same tests from each of its processes.
    for fixture in (name for name in chosen if name in metafunc.fixturenames):
        names = chosen[fixture][-1:] if most_real else chosen[fixture]
        scope = "function" if fixture == "fresh_broker" else "session"
        metafunc.parametrize(fixture, names, indirect=True, scope=scope)


@pytest.fixture(autouse=True)
def quiet_logging():
    """Logging as in a process that has run no command: what a test's command sets up would stay for the next test."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    yield
    logging.captureWarnings(capture=False)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)


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
def running_databases(tmp_path_factory):
    """Gives the database server of a name: started when it is first asked for, it runs until the end."""
    with ExitStack() as stack:

        @cache
        def running(name):
            return stack.enter_context(servers.running_database(name, tmp_path_factory.mktemp("database")))

        yield running


@pytest.fixture(scope="session")
def every_database_server(request, running_databases):
    """A database server for many tests: each of the chosen ones in turn, and plain PostgreSQL: `url`."""
    return running_databases(request.param)


@pytest.fixture(scope="session")
def real_database_server(request, running_databases):
    """The most real of the chosen ones, for tests in which the server makes no difference."""
    return running_databases(request.param)
