"""The compose file as a user starts it: readings flow, what is killed comes back, what is stored stays."""

import http.client
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import free_port
from tests.integration.deploy.containers import (
    IMAGE,
    ROOT,
    build_image,
    compiled_since_start,
    docker,
    require_docker,
    require_image,
)
from tests.support.servers import DATABASE_IMAGES, KAFKA_IMAGES
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

FILE = ROOT / "deploy/images/compose.yaml"
ONCE = ("credentials", "prepare")
PARTS = ("process", "sink", "maintain", "serve", "simulate")
OURS = (*ONCE, *PARTS)
PASSWORD = "we'$ird:@/ %41"
OLDEST_COMPOSE = (2, 24)
HISTORY = ("--duration=10m", "--interval=1s", "--speed=max", "--json")
FOR_TRAINING = ("--fleet=evaluation", "--days=5", "--speed=max", "--json")
TOKEN = "/var/lib/sigmawatch/token/token"


@dataclass
class Project:
    """A compose project of its own, on ports of its own."""

    name: str
    folder: Path
    database_port: int
    api_port: int

    def __call__(self, *arguments, check=True):
        files = ("--file", str(FILE), "--file", str(self.folder / "test.json"))
        environment = ("--env-file", str(self.folder / "test.env"))
        return docker("compose", "--project-name", self.name, *environment, *files, *arguments, check=check)

    def containers(self, service=None):
        """What `ps` says of each container, by its name."""
        lines = self("ps", "--all", "--format", "json", *([service] if service else [])).stdout.splitlines()
        return {container["Name"]: container for container in map(json.loads, lines)}

    def query(self, query):
        with psycopg.connect(
            host="127.0.0.1",
            port=self.database_port,
            user="sigmawatch",
            dbname="sigmawatch",
            password=PASSWORD,
        ) as connection:
            return connection.execute(query).fetchone()[0]

    def api(self, path, token=""):
        """(status, body) of the API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def logs(self):
        return self("logs", "--no-color", "--tail", "30", *OURS, check=False).stdout[-6000:]

    def until(self, condition, seconds):
        return until(condition, seconds, self.logs, pause=0.5)

    def healthy(self):
        """Whether all containers are, and those that run once have done their work."""
        found = self.containers().values()
        return found and all(map(_well, found))


def _well(container):
    if container["Service"] in ONCE:
        return container["State"] == "exited" and container["ExitCode"] == 0
    if container["Service"] == "maintain":
        return container["State"] == "running"
    return container["Health"] == "healthy"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    require_docker()
    said = docker("compose", "version", "--short", check=False).stdout
    version = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
    if version < OLDEST_COMPOSE:
        pytest.skip(f"docker compose 2.24 or later is needed; this is {said.strip() or 'none'}")
    kafka, database = require_image(*KAFKA_IMAGES), require_image(*DATABASE_IMAGES)
    folder = tmp_path_factory.mktemp("compose")
    build_image(folder)
    port, api_port = free_port(), free_port()
    quoted = PASSWORD.replace("'", "\\'")
    (folder / "test.env").write_text(
        f"POSTGRES_PASSWORD='{quoted}'\nKAFKA_PORT={free_port()}\nDATABASE_PORT={port}\n"
        f"PROCESS_PORTS=0\nSINK_PORT=0\nAPI_PORT={api_port}\nKAFKA_IMAGE={kafka}\nDATABASE_IMAGE={database}\n"
    )
    (folder / "test.json").write_text(
        json.dumps({"services": {name: {"image": IMAGE} for name in (*OURS, "train")}})
    )
    with torn_down(Project(f"sigmawatch-test-{port}", folder, port, api_port)) as running:
        running("up", "--detach", "--no-build", "--scale", "process=3", "--scale", "simulate=0")
        running.until(running.healthy, 240)
        yield running


@contextmanager
def torn_down(project):
    try:
        yield project
    finally:
        project("down", "--volumes", "--timeout", "5", check=False)


def simulate(project, start, *options):
    """Put history on the topic; gives the number of readings."""
    summary = project("run", "--rm", "-T", "simulate", "simulate", *options, f"--start={start}").stdout
    return json.loads(summary)["produced"]


def crash(project, service):
    """End a container's process with SIGKILL from outside, as the kernel would; `docker kill` counts as a stop."""
    name, container = min(project.containers(service).items())
    pid = docker("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
    killer = ("run", "--rm", "--pid=host", "--user=0", "--entrypoint=python", IMAGE)
    docker(*killer, "-c", f"import os; os.kill({int(pid)}, 9)")
    return lambda: docker("inspect", "--format", "{{.RestartCount}}", container["ID"]).stdout.strip() == "1"


def test_readings_and_anomalies_are_stored_though_parts_are_killed(project):
    produced = simulate(project, "2026-01-01T00:00:00Z", *HISTORY)
    project.until(lambda: project.query("SELECT count(*) FROM readings") == produced, 150)
    project.until(lambda: project.query("SELECT count(*) FROM anomalies") > 0, 150)
    restarted = [crash(project, service) for service in ("process", "sink", "serve", "database", "kafka")]
    project.until(lambda: all(came_back() for came_back in restarted), 150)
    produced += simulate(project, "2026-01-02T00:00:00Z", *HISTORY)
    project.until(project.healthy, 240)
    project.until(lambda: project.query("SELECT count(*) FROM readings") == produced, 240)


def test_only_loopback_is_published(project):
    hosts = {
        publisher["URL"]
        for container in project.containers().values()
        for publisher in container["Publishers"] or []
        if publisher["PublishedPort"]
    }
    assert hosts == {"127.0.0.1"}


def test_dashboard_and_api_answer_who_has_the_token(project):
    token = project("exec", "-T", "serve", "cat", TOKEN).stdout.strip()
    assert project.api("/")[0] == 200
    assert project.api("/api/v1/pipeline")[0] == 401
    status, body = project.api("/api/v1/pipeline", token)
    assert status == 200
    assert json.loads(body)["processors"]["ready"] >= 1, body
    told = [name for name in project.containers() if "credentials" not in name]
    environments = docker("inspect", "--format", "{{json .Config}}", *told).stdout
    assert "SIGMAWATCH_DATABASE__URL" in environments
    assert not [secret for secret in (token, PASSWORD) if secret in environments]


def test_processors_take_models_that_are_trained_beside_them(project):
    before = project.query("SELECT count(*) FROM readings")
    produced = simulate(project, "2026-02-01T00:00:00Z", *FOR_TRAINING)
    project.until(lambda: project.query("SELECT count(*) FROM readings") == before + produced, 240)
    trained = project("run", "--rm", "-T", "train", "--types=oven", "--to=2026-02-06T00:00:00Z", "--json")
    models = json.loads(trained.stdout)["models"]
    assert [(model["type"], model["metric"]) for model in models] == [("oven", "temperature")]
    taken = "models=['oven temperature']"
    workers = len(project.containers("process"))
    project.until(lambda: project("logs", "--no-color", "process").stdout.count(taken) == workers, 150)
    status = json.loads(project("exec", "-T", "process", "sigmawatch", "model", "status", "--json").stdout)
    assert [model["sha256"] for model in status["models"]] == [models[0]["sha256"]]


def test_the_fleet_runs_and_obeys_and_nothing_is_compiled_in_containers(project):
    before = project.query("SELECT count(*) FROM readings")
    project("up", "--detach", "--no-build", "--scale", "process=3")
    project.until(lambda: project.query("SELECT count(*) FROM readings") > before, 150)
    inject = ("sigmawatch", "fault", "inject", "hvac-001", "power_spike", "--duration=30s")
    project.until(lambda: project("exec", "-T", "serve", *inject, check=False).returncode == 0, 60)
    faulty = (
        "SELECT count(*) FROM readings WHERE device_id = 'hvac-001' AND fault = 'power_spike' AND time > '{}'"
    )
    project.until(lambda: project.query(faulty.format("2026-06-01")) > 0, 60)
    names = [name for service in PARTS for name in project.containers(service)]
    assert len(names) == 7
    assert {name: compiled_since_start(name) for name in names} == {name: [] for name in names}


def test_it_ends_cleanly_and_keeps_its_data(project):
    token = project("exec", "-T", "serve", "cat", TOKEN).stdout
    project("stop")
    codes = {
        container["Name"]: container["ExitCode"]
        for container in project.containers().values()
        if container["Service"] in OURS
    }
    assert codes == dict.fromkeys(codes, 0)
    project("down")
    assert project.containers() == {}
    project("up", "--detach", "--no-build", "--scale", "simulate=0")
    project.until(project.healthy, 240)
    assert project.query("SELECT count(*) FROM readings WHERE time < '2026-01-03'") > 0
    assert project("exec", "-T", "serve", "cat", TOKEN).stdout == token
    project("down", "--volumes")
    left = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}")
    assert left.stdout == ""
