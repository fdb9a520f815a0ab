"""`KafkaBroker`: Apache Kafka 4 in one process (KRaft, broker and controller), on the machine's Java."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.embedded.errors import StartError
from deploy.embedded.kafka_jars import Kafka, find_kafka
from deploy.embedded.paths import LOOPBACK, FolderLock, free_port, port_answers
from deploy.embedded.process import ManagedProcess
from deploy.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_READY_SECONDS = 90.0
_STOP_SECONDS = 20.0
_NODE = 1

_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": str(_NODE),
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    # One node: nothing to copy to. Few partitions of the inner topics: each is a folder made at first use.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # After a crash the broker's former life must run out before it is let in again; 9 s is Kafka's own.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # 128 MB of the heap otherwise
}


def render_properties(properties: Mapping[str, str]) -> str:
    r"""Write a Java properties file; values may hold anything, backslashes are doubled."""
    lines = []
    for name, value in properties.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"{name}={escaped}\n")
    return "".join(lines)


class KafkaBroker:
    """An Apache Kafka broker on loopback, its log kept in the state folder; start it with `start()` or `with`.

    Args:
        state_dir: Log segments, configuration and printed log go to `state_dir/kafka/`.
        cache_dir: Where the fetched jars are kept; without it the usual cache folder.
        port: A fixed port; without it a free one, kept over restarts of this object.
        properties: Broker settings (`server.properties`) that take the place of ours.
        java_options: Options of the Java machine, such as "-Xmx1g"; a later one wins over ours.
        progress: Told each step in a short sentence.
    """

    name = "kafka"

    def __init__(
        self,
        state_dir: Path,
        cache_dir: Path | None = None,
        port: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        java_options: tuple[str, ...] = (),
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = state_dir.absolute() / "kafka"
        self._cache = cache_folder(cache_dir)
        self._port = port
        self._controller_port: int | None = None
        self._properties = dict(properties or {})
        self._java_options = java_options
        self._progress = progress or (lambda _: None)
        self._lock = FolderLock(self._folder, "broker")
        self._kafka: Kafka | None = None
        self._process: ManagedProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients; known after the start.

        Raises:
            StartError: The broker was not started yet.
        """
        if self._port is None:
            raise StartError("the broker was not started")
        return f"{LOOPBACK}:{self._port}"

    @property
    def process(self) -> ManagedProcess:
        """The broker's process.

        Raises:
            StartError: The broker was not started yet.
        """
        if self._process is None:
            raise StartError("the broker was not started")
        return self._process

    @property
    def log_file(self) -> Path:
        """What the broker prints: warnings and errors."""
        return self._folder / "kafka.log"

    @property
    def data(self) -> Path:
        """The folder of the log segments, one folder in it a partition."""
        return self._folder / "data"

    @property
    def version(self) -> str:
        """Kafka's version."""
        return self._jars().version

    def console_tool(self, name: str, *args: str) -> list[str]:
        """Give the argv of one of Kafka's own tools ("kafka-topics", "kafka-console-consumer", ...).

        Raises:
            UnavailableError: There is no such tool, or no Kafka.
        """
        return self._jars().console_tool(name, *args)

    def start(self) -> Self:
        """Start and wait until it answers; blocks some 2 s, 4 s after a crash, the first time 5-30 s to fetch.

        Raises:
            UnavailableError: There is no Java, or no jars are to be had.
            FolderInUseError: Another process runs on the same state folder.
            StartError: It does not run; shows the end of its log.
        """
        if self._process is not None and self._process.alive:
            return self
        kafka = self._jars()
        self._lock.acquire()
        try:
            self._choose_ports()
            configuration = self._configure()
            if not (self.data / "meta.properties").exists():
                self._format(kafka, configuration)
            self._run(kafka, configuration)
        except BaseException:
            if self._process is not None:
                self._process.kill()
            self._lock.release()
            raise
        self._progress(f"broker: Apache Kafka {kafka.version} on {self.bootstrap_servers}")
        return self

    def stop(self) -> None:
        """Stop it in order; blocks some 0.3 s, at most 20 s."""
        if self._process is not None:
            self._process.stop()
        self._lock.release()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; what the operating system has of its log stays."""
        self.process.kill()
        self._lock.release()

    def pause(self) -> None:
        """Freeze it: connections stay open and nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused broker go on; it takes up to a second until it counts itself in again."""
        self.process.resume()

    def restart(self) -> None:
        """Stop it if it runs and start it again on the same port and data."""
        self.stop()
        self.start()

    def _jars(self) -> Kafka:
        if self._kafka is None:
            self._kafka = find_kafka(self._cache, self._progress)
        return self._kafka

    def _choose_ports(self) -> None:
        if self._port is None:
            self._port = free_port()
        elif port_answers(self._port):
            raise StartError(
                f"port {self._port} is in use already", "Stop what listens there, or choose another."
            )
        if self._controller_port is None:
            self._controller_port = free_port()

    def _configure(self) -> Path:
        ours = {
            "listeners": f"BROKER://{self.bootstrap_servers},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": f"BROKER://{self.bootstrap_servers}",
            "controller.quorum.voters": f"{_NODE}@{LOOPBACK}:{self._controller_port}",
            "log.dirs": str(self.data),
        }
        configuration = self._folder / "server.properties"
        configuration.write_text(
            render_properties({**_PROPERTIES, **ours, **self._properties}), encoding="utf-8"
        )
        return configuration

    def _format(self, kafka: Kafka, configuration: Path) -> None:
        self._progress("broker: formatting a new log folder")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # Joined by "=": an id may begin with a dash.
        argv = kafka.console_tool(
            "kafka-storage", "format", f"--cluster-id={cluster}", f"--config={configuration}"
        )
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            said = (done.stderr or done.stdout).strip().splitlines()[-8:]
            raise StartError("Kafka's log folder cannot be formatted:\n" + "\n".join(said))

    def _run(self, kafka: Kafka, configuration: Path) -> None:
        process = ManagedProcess(
            kafka.command("kafka.Kafka", str(configuration), java_options=("-Xmx512m", *self._java_options)),
            name="the broker Apache Kafka",
            log_file=self.log_file,
            grace_seconds=_STOP_SECONDS,
            hold_fds=[self._lock.fileno()],
        )
        self._process = process
        process.start().wait_ready(self._answers, _READY_SECONDS)

    def _answers(self) -> bool:
        assert self._port is not None
        if not port_answers(self._port):
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        with contextlib.suppress(KafkaException):
            return bool(admin.list_topics(timeout=5.0).brokers)
        return False
