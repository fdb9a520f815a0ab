"""Settings of what puts readings on Kafka: the simulator and its control, MQTT, the bridge, HTTP ingest."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from schemas.bridge_rules import DEFAULT_RULES
from schemas.settings_kinds import (
    CaFile,
    CertFile,
    Duration,
    Host,
    Integer,
    KeyFile,
    MetricsHost,
    MqttBroker,
    MqttClientId,
    MqttKeepalive,
    MqttPassword,
    MqttPrefix,
    MqttUrl,
    MqttVersion,
    Number,
    Origins,
    Port,
    Rules,
    Section,
    Speed,
    Token,
)


class SimulateSettings(Section):
    """The simulated fleet."""

    fleet: Annotated[str, Field(min_length=1)] = Field(
        default="mixed", description="A shipped fleet, or a YAML file with one."
    )
    devices: Integer | None = Field(
        default=None,
        ge=1,
        description="Devices, the fleet's groups in proportion; as the fleet says if not set.",
    )
    interval: Duration | None = Field(
        default=None,
        gt=0,
        description="Virtual time between two readings of a device; as the fleet says, or 1s, if not set.",
    )
    rate: Number | None = Field(
        default=None,
        gt=0,
        description="Readings per second of virtual time of the whole fleet; sets the interval.",
    )
    duration: Duration | None = Field(
        default=None, description="Virtual time to simulate; without it, until stopped."
    )
    seed: Integer | None = Field(
        default=None,
        ge=0,
        description="Same seed, same readings, to the bit; as the fleet says, or 1, if not set.",
    )
    anomaly_rate: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Chance per reading of a healthy device that a fault begins; as the fleet says if not set.",
    )
    speed: Speed = Field(
        default=1.0, description="How much faster than real time virtual time runs: a number, or max."
    )
    shard: Annotated[str, Field(pattern=r"^[1-9]\d{0,3}/[1-9]\d{0,3}$")] = Field(
        default="1/1", description="I/N: this worker has the I-th of N parts of the fleet."
    )
    reload: Duration = Field(
        default=5.0, description="Time between two looks at the fleet's own files; 0 never looks again."
    )


class WebSettings(Section):
    """A port for HTTP; sections of parts that have one are built on this."""

    host: Host = Field(
        default="127.0.0.1", description="Address to listen on; one off loopback needs a token."
    )
    port: Port = Field(default=0, description="Port to listen on; 0 is any free one.")
    token: Token | None = Field(
        default=None, description="Bearer token that every request must carry: 16 ASCII characters at least."
    )
    cors_origins: Origins = Field(
        default=(), description="Origins of web pages that may call it (https://panel.example), with commas."
    )
    max_body_bytes: Integer = Field(default=1_048_576, ge=1024, description="Largest body of a request.")
    rate_limit: Annotated[str, Field(pattern=r"^([1-9]\d{0,8}/(second|minute|hour)|off)$")] = Field(
        default="1000/second",
        description="Requests of one client address, N/second, N/minute or N/hour; off for no limit.",
    )


class IngestSettings(WebSettings):
    """Readings by HTTP."""

    port: Port = Field(default=8001, description="Port to listen on; 0 is any free one.")
    device_id: Annotated[str, Field(min_length=1)] = Field(
        default="detect", description="Device of readings that name none."
    )
    metric: Annotated[str, Field(min_length=1)] = Field(
        default="value", description="Metric of readings that name none."
    )
    wait: Duration = Field(
        default=5.0, gt=0, description="Time to wait for Kafka's acknowledgement before answering 503."
    )
    max_pending: Integer = Field(
        default=100_000, ge=1, description="Readings that may wait for Kafka; more are answered with 503."
    )


class ControlSettings(WebSettings):
    """Control of a running simulation by HTTP."""

    enabled: bool = Field(default=False, description="Serve it beside `sigmawatch simulate`.")
    port: Port = Field(default=8090, description="Port to listen on; 0 is any free one.")
    timeout: Duration = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Time to wait for the simulation, or for other workers, before answering 504.",
    )


class MqttSettings(Section):
    """The simulated devices on an MQTT broker, in Kafka's place."""

    url: MqttUrl | None = Field(
        default=None,
        description="Publish to this MQTT broker instead of Kafka: mqtt://USER:PASSWORD@HOST:PORT; mqtts:// with TLS, "
        "ws://, wss://. Devices obey commands that come by it. `sigmawatch bridge mqtt` brings their readings to Kafka.",
    )
    password: MqttPassword = None
    ca_file: CaFile = None
    cert_file: CertFile = None
    key_file: KeyFile = None
    protocol: MqttVersion = "5"
    client_id: MqttClientId = Field(
        default="sigmawatch-simulator",
        description="Names the simulator at the MQTT broker; each simulator needs one of its own. Of a shared fleet "
        "the shard is put behind it.",
    )
    prefix: MqttPrefix = Field(
        default="energy",
        description="What topics begin with: PREFIX/devices/DEVICE/data, /status, /commands.",
    )
    keepalive: MqttKeepalive = Field(
        default=30.0,
        description="Silence after which the MQTT broker is asked whether it is there; half as much again, and it "
        "publishes that the simulator is gone.",
    )
    max_in_flight: Integer = Field(
        default=500, ge=1, le=65_535, description="Messages that are sent and not acknowledged, at most."
    )
    max_queued: Integer = Field(
        default=10_000,
        ge=1,
        description="Messages that wait for the MQTT broker, at most; then the simulation waits.",
    )


class BridgeSettings(Section):
    """MQTT messages to readings."""

    mqtt: MqttBroker = None
    password: MqttPassword = None
    ca_file: CaFile = None
    cert_file: CertFile = None
    key_file: KeyFile = None
    protocol: MqttVersion = "5"
    client_id: MqttClientId = Field(
        default="sigmawatch-bridge",
        description="Names the session at the MQTT broker; a bridge of its own needs one of its own.",
    )
    session_expiry: Duration = Field(
        default=604_800.0,
        ge=1,
        description="How long the MQTT broker keeps messages for a bridge that is away (MQTT 5).",
    )
    keepalive: MqttKeepalive = 30.0
    max_in_flight: Integer = Field(
        default=1000, ge=1, le=65_535, description="Messages that are received and not acknowledged, at most."
    )
    max_payload_bytes: Integer = Field(
        default=262_144, ge=64, le=1_048_576, description="Largest message; larger ones are dead letters."
    )
    retained: Literal["ignore", "accept"] = Field(
        default="ignore",
        description="What to do with retained messages, the old values a broker repeats at each subscription.",
    )
    journal: Path | None = Field(
        default=None,
        description="File that remembers times of arrival until they are acknowledged; in the state folder if not set.",
    )
    drain: Duration = Field(
        default=10.0, gt=0, description="How long a stop waits for what was received to reach Kafka."
    )
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: Port = Field(default=6068, description="Port of them; 0 is any free one.")
    rules: Rules = Field(
        default=DEFAULT_RULES, description="Which topics are read, and how; the first rule that fits counts."
    )
