"""The container image: built here where Docker answers, and a worker of it put to work on the test broker."""

import http.client
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.embedded import free_port
from schemas.settings import load_settings
from schemas.topics import create_topics, topic_specs
from tests.support.servers import docker_images

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[3]
WRAPPED, IMAGE = "sigmawatch-test-base", "sigmawatch:test"
PYTHON_BASES = ("python:3.13-slim-trixie", "python:3.13-slim", "python:3.12-slim", "python:3.11-slim")
DEBIAN_BASES = ("debian:trixie-slim", "debian:trixie", "local/trixie:min")
NETWORK = ("--network", "host")
"""So that builds reach what this machine reaches, and a worker the broker on loopback."""


def docker(*arguments, timeout=900.0, check=True, **more):
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
        **more,
    )
    if check:
        assert done.returncode == 0, (
            f"docker {' '.join(arguments[:3])}: {(done.stdout + done.stderr)[-4000:]}"
        )
    return done


def base_image() -> str:
    images = docker_images()
    if isinstance(images, str):
        pytest.skip(images)
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command")
    found = next((name for name in (*PYTHON_BASES, *DEBIAN_BASES) if name in images), None)
    if found is None:
        pytest.skip(f"Docker has none of the base images {', '.join((*PYTHON_BASES, *DEBIAN_BASES))}")
    return found


def wrap(base: str, folder: Path) -> str:
    """A base that knows this machine's way to a package index: its certificates and pip's settings."""
    settings = {
        name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    }
    bundle = next((os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), None)
    lines = [f"FROM {base}"]
    if bundle is not None and Path(bundle).is_file():
        (folder / "certificates.pem").write_bytes(Path(bundle).read_bytes())
        lines.append("COPY certificates.pem /etc/certificates.pem")
        settings |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/etc/certificates.pem")
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in sorted(settings.items())]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    docker("build", "--quiet", *NETWORK, "--tag", WRAPPED, str(folder))
    return WRAPPED


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image, built on what base there is; it stays, as the next build's cache."""
    base = wrap(base_image(), tmp_path_factory.mktemp("base"))
    build = ("build", *NETWORK, "--file", "deploy/images/Dockerfile", "--build-arg", f"BASE_IMAGE={base}")
    docker(*build, "--tag", IMAGE, str(ROOT))
    return IMAGE


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


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.3)
    return value


def test_it_runs_as_nobody_in_particular(image):
    assert docker("run", "--rm", image, "--version").stdout.startswith("sigmawatch ")
    whoami = docker("run", "--rm", "--entrypoint", "id", image, "-u")
    assert whoami.stdout.strip() == "10001"
    mistake = docker("run", "--rm", image, "process", "--set", "processor.kk=1", check=False)
    assert mistake.returncode == 2
    assert "Did you mean processor.k?" in mistake.stderr


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

        until(lambda: page(port, "/readyz")[0] == 200, 120, log)
        docker(
            "run",
            "--rm",
            *NETWORK,
            image,
            "simulate",
            "--duration",
            "3",
            "--rate",
            "100",
            "--bootstrap-servers",
            servers,
        )

        def counted():
            partitions = json.loads(page(port, "/partitions")[1] or b"{}")
            return sum(counts["readings"] for counts in partitions.values()) == 300

        until(counted, 60, log)
        health = docker("exec", worker, "python", "-m", "deploy.images.healthcheck", check=False)
        assert health.returncode == 0, health.stderr
        docker("stop", "--time", "30", worker)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", worker).stdout.strip() == "0", log()
