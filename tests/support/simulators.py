"""`sigmawatch simulate` as processes, on topics of a test's own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from schemas.kafka import client_config, new_client
from schemas.settings import load_settings
from schemas.topics import create_topics, topic_specs
from tests.support.chaos import Processes
from tests.support.processing import Pipeline


class Simulators(Processes):
    """Simulators that write to the topics of a pipeline; what they print is in files of `logs`.

    Args:
        pipeline: broker and topics.
        logs: an existing folder.
    """

    name = "simulator"

    def __init__(self, pipeline: Pipeline, logs: Path) -> None:
        super().__init__(logs)
        self._environment = environment_of(pipeline)
        self._options: tuple[str, ...] = ()

    def _arguments(self) -> list[str]:
        return ["deploy.cli", "simulate", "--json", *self._options]

    def simulate(self, *options: str) -> "Simulator":
        """Start one with these options of the command line."""
        self._options = options
        process = self.start(self._environment)
        return Simulator(process, self._logs / f"{self.name}-{self._count}.log")


class Simulator:
    """One process."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def said(self) -> str:
        """The end of what it has printed, for messages of failed assertions."""
        return self.log.read_text()[-3000:]

    def summary(self, seconds: float = 120.0) -> dict[str, Any]:
        """Wait for its end, which must be a good one; what --json says."""
        assert self.process.wait(seconds) == 0, self.said()
        (line,) = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        summary: dict[str, Any] = json.loads(line)
        return summary

    def stop(self) -> dict[str, Any]:
        """Let it end in order; what --json says."""
        self.process.send_signal(signal.SIGTERM)
        return self.summary()


def environment_of(pipeline: Pipeline) -> dict[str, str]:
    """Settings of a simulator as environment variables, in place of the caller's own."""
    topics = {
        "READINGS": pipeline.readings,
        "DEVICES": f"devices-{pipeline.name}",
        "COMMANDS": f"commands-{pipeline.name}",
        "REPLIES": f"replies-{pipeline.name}",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
    return {
        **kept,
        "SIGMAWATCH_TOPICS__PARTITIONS": str(pipeline.partitions),
        "SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS": pipeline.servers,
        "SIGMAWATCH_CONTROL__TIMEOUT": "20s",  # a worker on a busy machine takes its time
        **{f"SIGMAWATCH_TOPICS__{name}": topic for name, topic in topics.items()},
    }


def with_topics(pipeline: Pipeline) -> Pipeline:
    """The pipeline, after all its topics were made, those by which workers talk among them."""
    settings = load_settings(None, {}, environment_of(pipeline))
    create_topics(new_client(AdminClient, client_config(settings.kafka)), topic_specs(settings))
    return pipeline


def command(
    pipeline: Pipeline, *arguments: str, seconds: float = 120.0
) -> "subprocess.CompletedProcess[str]":
    """Run a `sigmawatch` command with the same settings to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env=environment_of(pipeline),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
