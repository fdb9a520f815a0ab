"""The container image: built here where Docker answers, and a worker of it put to work on the test broker."""

import http.client
import json
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient

from deploy.embedded import free_port
from schemas.settings import load_settings
from schemas.topics import create_topics, topic_specs
from tests.integration.deploy.containers import NETWORK, build_image, compiled_since_start, docker
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return build_image(tmp_path_factory.mktemp("base"))


@contextmanager
def container(image, *command, **environment):
    settings = [argument for name, value in environment.items() for argument in ("--env", f"{name}={value}")]
    started = docker("run", "--detach", *NETWORK, *settings, image, *command)
    identifier = started.stdout.strip()
    try:
        yield identifier
    finally:
        docker("rm", "--force", identifier, check=False)


def page(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def test_it_runs_as_nobody_in_particular(image):
    assert docker("run", "--rm", image, "--version").stdout.startswith("sigmawatch ")
    whoami = docker("run", "--rm", "--entrypoint", "id", image, "-u")
    assert whoami.stdout.strip() == "10001"
    mistake = docker("run", "--rm", image, "process", "--set", "processor.kk=1", check=False)
    assert mistake.returncode == 2
    assert "Did you mean processor.k?" in mistake.stderr


@pytest.mark.most_real
def test_a_worker_of_the_image_processes_readings(image, fresh_broker):
    servers = fresh_broker.bootstrap_servers
    settings = load_settings(None, {"kafka.bootstrap_servers": servers}, {})
    admin = AdminClient({"bootstrap.servers": servers})
    create_topics(admin, topic_specs(settings))
    port = free_port()
    environment = {
        "SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS": servers,
        "SIGMAWATCH_PROCESSOR__WEB_HOST": "127.0.0.1",
    }
    with container(image, "process", "--web-port", str(port), **environment) as worker:

        def log():
            return docker("logs", worker).stderr[-3000:]

        until(lambda: page(port, "/readyz")[0] == 200, 240, log, pause=0.3)
        fleet = ("simulate", "--duration=3", "--rate=100", "--json", f"--bootstrap-servers={servers}")
        produced = json.loads(docker("run", "--rm", *NETWORK, image, *fleet).stdout)["produced"]
        assert produced > 100

        def counted():
            partitions = json.loads(page(port, "/partitions")[1] or b"{}")
            return sum(counts["readings"] for counts in partitions.values()) == produced

        until(counted, 120, log, pause=0.3)
        health = docker("exec", worker, "python", "-m", "deploy.images.healthcheck", check=False)
        assert health.returncode == 0, health.stderr
        assert compiled_since_start(worker) == []
        docker("stop", "--time", "30", worker)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", worker).stdout.strip() == "0", log()
