"""Apache Kafka's jars: from KAFKA_HOME, else fetched by the machine's Maven; and the programs in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.embedded.errors import EmbeddedError, UnavailableError
from deploy.embedded.paths import build_once, without_credentials
from deploy.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KAFKA_VERSION = "4.3.1"
_SLF4J_VERSION = "1.7.36"  # the API that Kafka 4 is built against
_MIN_JAVA = 17
_MIN_KAFKA = 4
_FETCH_SECONDS = 300.0

_SIMPLE_LOGGER = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)

# Kafka's scripts and the classes they run, in the version that is fetched.
TOOLS: Mapping[str, str] = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
}


@dataclass(frozen=True)
class Kafka:
    """Apache Kafka's jars, and how to run them.

    Attributes:
        java: the program.
        jars: Kafka's, all of them.
        version: Kafka's, "4.3.1".
        log_options: make its logger say warnings and errors, on standard error.
        tools: names of scripts, and the classes they run.
    """

    java: str
    jars: tuple[Path, ...]
    version: str
    log_options: tuple[str, ...] = _SIMPLE_LOGGER
    tools: Mapping[str, str] = field(default_factory=lambda: TOOLS)

    def command(self, main_class: str, *args: str, java_options: tuple[str, ...] = ()) -> list[str]:
        """Give the argv that runs a class of the jars; logs at the level of warnings, to standard error."""
        return [
            self.java,
            "-XX:+UseSerialGC",  # starts fastest, and takes least of a small machine
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            *self.log_options,
            *java_options,
            "-cp",
            os.pathsep.join(map(str, self.jars)),
            main_class,
            *args,
        ]

    def console_tool(self, name: str, *args: str) -> list[str]:
        """Give the argv of one of Kafka's own tools, named like its script ("kafka-topics").

        Raises:
            UnavailableError: There is no such tool.
        """
        main_class = self.tools.get(name)
        if main_class is None:
            raise UnavailableError(f"no Kafka tool is called {name}", f"Known are: {', '.join(self.tools)}.")
        return self.command(main_class, *args, java_options=("-Xmx256m", "-XX:TieredStopAtLevel=1"))


def kafka_available(cache_dir: Path | None = None) -> str | None:
    """Say why Apache Kafka cannot be had on this machine; None if it can.

    Fetches the jars if need be, so the first call may block some 5-30 s.
    """
    try:
        find_kafka(cache_folder(cache_dir), lambda _: None)
    except EmbeddedError as error:
        return error.message
    return None


def find_kafka(cache: Path, progress: Callable[[str], None]) -> Kafka:
    """Find Java and Kafka's jars; fetches them into the cache where KAFKA_HOME is not set and it has none.

    Raises:
        UnavailableError: With the reason: no Java 17, neither KAFKA_HOME nor Maven, no answer of the repository.
    """
    java = _find_java()
    if home := os.environ.get("KAFKA_HOME"):
        return _installed(java, Path(home).expanduser().absolute())
    folder = cache / f"kafka-{KAFKA_VERSION}"
    build_once(folder, lambda fresh: _fetch(fresh, progress))
    return Kafka(java=java, jars=_jars_in(folder), version=KAFKA_VERSION)


def _installed(java: str, home: Path) -> Kafka:
    """A distribution of Kafka as it is unpacked: libs/*.jar, bin/*.sh, and config/ for its logger, which is Log4j."""
    remedy = f"Set KAFKA_HOME to an unpacked Apache Kafka {_MIN_KAFKA}, or unset it to have one fetched."
    jars = _jars_in(home / "libs")
    if not jars:
        raise UnavailableError(f"KAFKA_HOME is {home}, which has no jars in libs/", remedy)
    version = _kafka_version(jars)
    if version is None:
        raise UnavailableError(f"KAFKA_HOME is {home}, which has no Kafka server in libs/", remedy)
    if int(version.partition(".")[0]) < _MIN_KAFKA:
        raise UnavailableError(
            f"KAFKA_HOME is Kafka {version}; version {_MIN_KAFKA} or newer is needed", remedy
        )
    return Kafka(java, jars, version, (*_SIMPLE_LOGGER, *_log4j_options(home)), {**TOOLS, **_scripts(home)})


def _jars_in(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.jar")))


def _log4j_options(home: Path) -> tuple[str, ...]:
    """Without a configuration Log4j says errors only, and those on standard output, among what a tool prints."""
    configuration = home / "config" / "tools-log4j2.yaml"
    if not configuration.is_file():
        return ("-Dlog4j2.level=WARN",)
    return (f"-Dlog4j2.configurationFile={configuration.as_uri()}",)


def _scripts(home: Path) -> dict[str, str]:
    """Which classes its scripts run: some have moved from version to version."""
    texts = {
        script.stem: script.read_text("utf-8", "replace") for script in (home / "bin").glob("kafka-*.sh")
    }
    runs = {name: re.search(r'kafka-run-class\.sh ([\w.]+) "\$@"', text) for name, text in texts.items()}
    return {name: match[1] for name, match in sorted(runs.items()) if match}


def _kafka_version(jars: tuple[Path, ...]) -> str | None:
    matches = (re.fullmatch(r"kafka_[\d.]+-(\d+(\.\d+)*)[^/]*\.jar", jar.name) for jar in jars)
    return next((match[1] for match in matches if match), None)


def _find_java() -> str:
    home = os.environ.get("JAVA_HOME")
    beside = str(Path(home) / "bin" / "java") if home else ""
    java = beside if os.access(beside, os.X_OK) else shutil.which("java")
    if java is None:
        raise UnavailableError("Apache Kafka needs Java, which is not installed", "Install Java 17 or newer.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = java_major(said)
    if version is None or version < _MIN_JAVA:
        found = f"is version {version}" if version else "does not tell its version"
        raise UnavailableError(f"Apache Kafka needs Java {_MIN_JAVA} or newer; {java} {found}")
    return java


def java_major(said: str) -> int | None:
    """Read the major version from what `java -version` says; None where it does not say."""
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None


def render_pom(version: str) -> str:
    """Write the Maven project that depends on the server, its tools and a small logger."""
    wanted = [
        ("org.apache.kafka", "kafka_2.13", version),
        ("org.apache.kafka", "kafka-tools", version),
        ("org.slf4j", "slf4j-simple", _SLF4J_VERSION),
    ]
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{number}</version></dependency>"
        for group, name, number in wanted
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sigmawatch</groupId><artifactId>kafka</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )


def _fetch(folder: Path, progress: Callable[[str], None]) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError(
            "Apache Kafka's jars cannot be fetched: KAFKA_HOME is not set and mvn is not installed",
            "Set KAFKA_HOME to an unpacked Apache Kafka 4, or install Maven.",
        )
    progress(f"broker: fetching Apache Kafka {KAFKA_VERSION} with Maven")
    pom = folder / "pom.xml"
    pom.write_text(render_pom(KAFKA_VERSION), encoding="utf-8")
    argv = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
    options = [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            argv + options,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"Maven does not bring Apache Kafka's jars: {error}") from error
    if done.returncode != 0:
        said = re.search(r"\[ERROR\]\s*(.*)", done.stdout + done.stderr)
        reason = said[1] if said else f"status {done.returncode}"
        raise UnavailableError(
            f"Maven does not bring Apache Kafka's jars: {without_credentials(reason)[:300]}"
        )
    for jar in folder.glob("*.jar"):
        if not zipfile.is_zipfile(jar):
            raise UnavailableError(f"Maven brought a broken file: {jar.name}")
