"""Settings of the pipeline itself: cluster, topics, processor, models, sinks, logs."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from schemas.settings_kinds import (
    Duration,
    Group,
    Hosts,
    Integer,
    MetricsHost,
    Number,
    Options,
    Port,
    RegistryUrl,
    Section,
    Topic,
)


class KafkaSettings(Section):
    """The cluster."""

    bootstrap_servers: Hosts = Field(
        default="127.0.0.1:9092", description="Brokers to begin with: HOST:PORT, several with commas."
    )
    options: Options = Field(
        default={},
        description="librdkafka's configuration properties, passed on verbatim (sasl.mechanism, ssl.ca.location, ...).",
    )


class SchemaRegistrySettings(Section):
    """A Confluent-compatible schema registry; without a url the catalogue's fixed ids are used."""

    url: RegistryUrl | None = Field(
        default=None,
        description="http(s)://HOST:PORT of the registry; without it the schemas' fixed ids are used.",
    )
    options: Options = Field(
        default={},
        description="Configuration of confluent-kafka's registry client, verbatim (basic.auth.user.info, ssl.ca.location, ...).",
    )
    auto_register: bool = Field(
        default=False,
        description="Register missing schemas on first use instead of asking for `sigmawatch schemas register`.",
    )


class TopicSettings(Section):
    """Names and sizes of the topics."""

    readings: Topic = Field(default="readings", description="Topic of the readings.")
    devices: Topic = Field(default="devices", description="Topic of the devices; compacted.")
    anomalies: Topic = Field(default="anomalies", description="Topic of the anomalies.")
    commands: Topic = Field(
        default="simulator.commands", description="Topic of commands to the workers of a simulated fleet."
    )
    replies: Topic = Field(default="simulator.replies", description="Topic of their replies.")
    partitions: Integer = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Partitions of readings, devices and anomalies; as many processors can share the work.",
    )
    replication_factor: Integer = Field(
        default=1, ge=1, le=100, description="Copies of each partition in the cluster."
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({self.readings, self.devices, self.anomalies, self.commands, self.replies}) < 5:
            raise ValueError("readings, devices, anomalies, commands and replies must be different topics")
        return self


class ProcessorSettings(Section):
    """Readings to anomalies."""

    group: Group = Field(
        default="sigmawatch-processor", description="Consumer group; also names the changelog topic."
    )
    preset: Literal["standard", "moving-average"] = Field(
        default="standard",
        description="How readings are judged: by all channels, or by mean and std of a sliding window alone.",
    )
    rules: Path | None = Field(
        default=None,
        description="YAML file of rules: channels, limits and names by device type, metric and device.",
    )
    reload: Duration = Field(
        default=5.0, description="Time between two looks at the rules file; 0 never looks again."
    )
    window: Duration = Field(
        default=600.0, ge=1e-3, description="Length of the sliding window of event time."
    )
    panes: Integer = Field(default=10, ge=1, le=10, description="Panes of the window; it slides by one pane.")
    k: Number = Field(
        default=4.0,
        gt=0,
        description="Of moving-average: a reading further than k std from the window's mean is a deviation.",
    )
    minimum_readings: Integer = Field(
        default=30,
        ge=2,
        description="Readings before a series is judged; until then it is warming.",
    )
    sides: Literal["both", "above", "below"] = Field(
        default="both", description="Of moving-average: which deviations count."
    )
    max_ahead: Duration = Field(
        default=86_400.0, description="How far a reading's time may be ahead of its Kafka timestamp."
    )
    checkpoint_interval: Duration = Field(
        default=30.0, gt=0, description="Time between checkpoints of the state."
    )
    checkpoint_readings: Integer = Field(
        default=1_000_000, ge=1, description="Readings of a worker after which a checkpoint comes sooner."
    )
    session_timeout: Duration = Field(
        default=6.0, ge=1, description="Silence after which the broker gives a worker's partitions to others."
    )
    heartbeat: Duration = Field(
        default=1.0, gt=0, description="Time between heartbeats; at most a third of session_timeout."
    )
    fetch_bytes: Integer = Field(
        default=1_048_576, ge=1024, description="Bytes of one partition in one fetch."
    )
    web_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that the web view, /metrics, /livez and /readyz listen on.",
    )
    web_port: Port = Field(default=6066, description="Port of the web view.")
    web_advertised_host: str | None = Field(
        None,
        description="Host by which other workers reach this one's web view; web_host if not set, or the machine's name"
        " where that is every address.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.heartbeat * 3 > self.session_timeout:
            raise ValueError("heartbeat must be at most a third of session_timeout")
        if round(self.window * 1e6) % self.panes:
            raise ValueError("window must be a whole number of microseconds for each of its panes")
        return self


class ModelSettings(Section):
    """Trained models of device types."""

    folder: Path | None = Field(
        default=None,
        description="Folder of the models, which processors look at again and again; in the state folder if not set.",
    )


class SinkSettings(Section):
    """Readings, devices and anomalies to TimescaleDB."""

    group: Group = Field(
        default="sigmawatch-sink-timescale",
        description="Consumer group, and the sink's name in the table sink_offset.",
    )
    batch_readings: Integer = Field(default=50_000, ge=1, description="Rows after which a batch is written.")
    batch_interval: Duration = Field(
        default=0.5, gt=0, description="Time after which a batch is written, however small."
    )
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: Port = Field(default=6067, description="Port of them.")


class LogSinkSettings(Section):
    """Anomalies to a file of JSON lines."""

    group: Group = Field(default="sigmawatch-sink-log", description="Consumer group.")
    path: Path = Field(
        default=Path("anomalies.jsonl"), description="File that is written; rotated ones get a number behind."
    )
    rotate_bytes: Integer = Field(
        default=100_000_000, ge=1024, description="Size at which the file is rotated."
    )
    keep_files: Integer = Field(default=10, ge=1, description="Rotated files that are kept.")


class LogSettings(Section):
    """What the programs say about themselves, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important messages that are shown."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="For people, or one JSON object a line."
    )
