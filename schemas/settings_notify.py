"""Settings of what tells people and machines of anomalies: notifications, and anomalies on an MQTT broker."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.settings_kinds import (
    CaFile,
    CertFile,
    Duration,
    Group,
    Integer,
    KeyFile,
    MetricsHost,
    MqttBroker,
    MqttClientId,
    MqttKeepalive,
    MqttPassword,
    MqttPrefix,
    MqttVersion,
    Port,
    Section,
)


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s@]+", value):
        raise ValueError("expected http://HOST:PORT or https://HOST, without a user")
    return value.rstrip("/")


class NotifySettings(Section):
    """Anomalies to people: mail, Slack, webhooks and whatever else Apprise knows."""

    group: Group = Field(
        default="sigmawatch-sink-notify",
        description="Consumer group, and the sink's name in the database; another one notifies independently.",
    )
    routes: Path | None = Field(
        default=None,
        description="YAML file of targets and routes: who is told of what (docs/notifications.md).",
    )
    dashboard_url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, description="Address of the dashboard, for links in notifications."
    )
    max_age: Duration = Field(
        default=3600.0,
        gt=0,
        description="An anomaly that was opened or detected longer ago is told to nobody: a replay pages nobody.",
    )
    timeout: Duration = Field(
        default=10.0, gt=0, le=60, description="Time that a target may take to connect, and to answer."
    )
    give_up: Duration = Field(
        default=3600.0, gt=0, description="How long a delivery that fails is tried again and again."
    )
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: Port = Field(default=6069, description="Port of them; 0 is any free one.")


class MqttSinkSettings(Section):
    """Anomalies to an MQTT broker."""

    group: Group = Field(default="sigmawatch-sink-mqtt", description="Consumer group.")
    url: MqttBroker = None
    password: MqttPassword = None
    ca_file: CaFile = None
    cert_file: CertFile = None
    key_file: KeyFile = None
    protocol: MqttVersion = "5"
    client_id: MqttClientId = Field(
        default="sigmawatch-sink-mqtt",
        description="Names the sink at the MQTT broker; each of several needs one of its own.",
    )
    prefix: MqttPrefix = Field(default="sigmawatch", description="What topics begin with.")
    topic: Annotated[str, Field(max_length=500, pattern=r"^[^+#\x00]+$")] = Field(
        default="{prefix}/anomalies/{device_id}/{metric}",
        description="Topic of an anomaly; {prefix}, {device_id}, {metric}, {kind}, {severity} and {state} are filled in.",
    )
    retain_open: bool = Field(
        default=False,
        description="Also keep each open anomaly as a retained message on PREFIX/open/DEVICE/METRIC/ANOMALY_ID, "
        "which goes when it is cleared.",
    )
    keepalive: MqttKeepalive = 30.0
    max_in_flight: Integer = Field(
        default=100, ge=1, le=65_535, description="Messages that are sent and not acknowledged, at most."
    )
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: Port = Field(default=6070, description="Port of them; 0 is any free one.")

    @model_validator(mode="after")
    def _topic_fields(self) -> Self:
        known = {"prefix", "device_id", "metric", "kind", "severity", "state"}
        unknown = set(re.findall(r"\{([^{}]*)\}", self.topic)) - known
        rest = re.sub(r"\{[^{}]*\}", "", self.topic)
        if unknown or "{" in rest or "}" in rest:
            raise ValueError(f"topic may have these in braces: {', '.join(sorted(known))}")
        return self
