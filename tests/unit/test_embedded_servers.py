"""What is written for PostgreSQL and Kafka, and what is said where they cannot be had."""

from pathlib import Path

import pytest

from deploy.embedded import kafka_jars
from deploy.embedded.errors import ForeignDataError, StartError, UnavailableError
from deploy.embedded.kafka import KafkaBroker, render_properties
from deploy.embedded.kafka_jars import java_major, kafka_available, render_pom
from deploy.embedded.postgres import EmbeddedPostgres, render_settings
from deploy.embedded.purge import purge, running
from deploy.embedded.servers import Server
from deploy.embedded.tansu import TansuBroker


def test_settings_are_quoted() -> None:
    text = render_settings({"log_line_prefix": "it's %m\\", "port": "5"})
    assert "log_line_prefix = 'it''s %m\\\\'\n" in text
    assert text.endswith("port = '5'\n")


def test_properties_keep_backslashes_and_line_ends() -> None:
    assert render_properties({"a.b": "1", "c": "x\\y\nz"}) == "a.b=1\nc=x\\\\y\\nz\n"


@pytest.mark.parametrize(
    ("said", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_401"', 8),
        ("Unrecognized option", None),
    ],
)
def test_java_versions(said: str, major: int | None) -> None:
    assert java_major(said) == major


def test_the_pom_names_server_and_tools() -> None:
    pom = render_pom("4.3.1")
    assert pom.count("<version>4.3.1</version>") == 2
    assert "kafka-tools" in pom


def test_without_java_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    reason = kafka_available(tmp_path)
    assert reason is not None
    assert "needs Java" in reason


def _java(folder: Path, version: str) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)


def test_old_java_no_maven_and_a_wrong_kafka_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    _java(tmp_path, "11.0.1")
    assert "is version 11" in (kafka_available(tmp_path / "cache") or "")
    _java(tmp_path, "17.0.1")
    assert "mvn is not installed" in (kafka_available(tmp_path / "cache") or "")
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    assert "has no jars" in (kafka_available(tmp_path / "cache") or "")
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka-clients-4.1.0.jar").touch()
    assert "has no Kafka server" in (kafka_available(tmp_path / "cache") or "")
    (tmp_path / "libs" / "kafka_2.13-3.9.0.jar").touch()
    assert "3.9.0" in (kafka_available(tmp_path / "cache") or "")
    (tmp_path / "libs" / "kafka_2.13-3.9.0.jar").rename(tmp_path / "libs" / "kafka_2.13-4.0.0.jar")
    assert kafka_available(tmp_path / "cache") is None


def test_an_installed_kafkas_logger_says_warnings_to_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "Apache Kafka"
    (home / "libs").mkdir(parents=True)
    (home / "libs" / "kafka_2.13-4.1.0.jar").touch()
    _java(tmp_path, "17.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("KAFKA_HOME", str(home))
    bare = kafka_jars.find_kafka(tmp_path, lambda _: None)
    assert bare.version == "4.1.0"
    assert "-Dlog4j2.level=WARN" in bare.command("kafka.Kafka")
    configuration = home / "config" / "tools-log4j2.yaml"
    configuration.parent.mkdir()
    configuration.touch()
    configured = kafka_jars.find_kafka(tmp_path, lambda _: None)
    assert f"-Dlog4j2.configurationFile={configuration.as_uri()}" in configured.console_tool("kafka-topics")


def test_an_installed_kafkas_scripts_say_which_classes_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("libs", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.0.jar").touch()
    script = '#!/bin/bash\nexec $(dirname $0)/kafka-run-class.sh kafka.tools.DumpLogSegments "$@"\n'
    (tmp_path / "bin" / "kafka-dump-log.sh").write_text(script)
    (tmp_path / "bin" / "kafka-run-class.sh").write_text("#!/bin/bash\n")
    _java(tmp_path, "17.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    kafka = kafka_jars.find_kafka(tmp_path, lambda _: None)
    assert kafka.console_tool("kafka-dump-log")[-1] == "kafka.tools.DumpLogSegments"
    assert kafka.console_tool("kafka-topics")[-1] == kafka_jars.TOOLS["kafka-topics"]


def test_a_maven_that_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    _java(tmp_path, "17.0.1")
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] Could not transfer artifact'; exit 1\n")
    maven.chmod(0o755)
    assert "Could not transfer artifact" in (kafka_available(tmp_path / "cache") or "")
    assert not (tmp_path / "cache" / f"kafka-{kafka_jars.KAFKA_VERSION}").exists()


def test_console_tools() -> None:
    kafka = kafka_jars.Kafka("/bin/java", (Path("/jars/a.jar"), Path("/jars/b.jar")), "4.3.1")
    argv = kafka.console_tool("kafka-topics", "--list")
    assert argv[0] == "/bin/java"
    assert argv[argv.index("-cp") + 1] == "/jars/a.jar:/jars/b.jar"
    assert argv[-2:] == ["org.apache.kafka.tools.TopicCommand", "--list"]
    with pytest.raises(UnavailableError, match="kafka-nothing"):
        kafka.console_tool("kafka-nothing")


@pytest.mark.parametrize("kind", [TansuBroker, KafkaBroker])
def test_a_broker_has_no_address_before_its_start(
    tmp_path: Path, kind: type[TansuBroker | KafkaBroker]
) -> None:
    with pytest.raises(StartError, match="not started"):
        _ = kind(tmp_path).bootstrap_servers


def test_no_tansu_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "none"))
    with pytest.raises(UnavailableError, match="no Tansu broker"):
        TansuBroker(tmp_path).start()


def test_the_password_does_not_show(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path, tmp_path, port=5)
    database._password = "hidden-word"
    assert "hidden-word" in database.url
    assert "hidden-word" not in database.safe_url
    assert "hidden-word" not in repr(database)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (Server("postgresql", Path(), "17.4"), "made by timescaledb"),
        (Server("timescaledb", Path(), "18.1", "2.30"), "PostgreSQL 17"),
    ],
)
def test_data_of_another_server_are_refused_and_stay(tmp_path: Path, server: Server, text: str) -> None:
    database = EmbeddedPostgres(tmp_path, tmp_path)
    database._server = server
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ForeignDataError, match=text):
        database._check_data({"source": "timescaledb", "major": 17})
    assert (data / "PG_VERSION").read_text() == "17\n"


def test_purge_removes_what_parts_kept(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "made_by.json").write_text('{"data": "/home"}')
    (tmp_path / "other").mkdir()
    assert running(tmp_path) == {}
    assert purge(tmp_path) == [tmp_path / "postgres"]
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert Path("/home").is_dir()
