"""Topics of anomalies on an MQTT broker."""

import json
import re
from dataclasses import dataclass

from schemas.mqtt.publishing import Message
from schemas.readings import Anomaly, AnomalyState
from sinks.anomaly_json import anomaly_fields

_FIELD = re.compile(r"\{(\w+)\}")
_UNFIT = re.compile(r"[%/+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_LONGEST_LEVEL_BYTES = 8_000
"""A topic has at most 65,535 bytes; a level that is too long is cut."""


@dataclass(frozen=True, slots=True)
class AnomalyTopics:
    """Topics below a prefix; `template` is of settings.mqtt_sink.topic."""

    prefix: str
    template: str = "{prefix}/anomalies/{device_id}/{metric}"

    def of(self, anomaly: Anomaly) -> str:
        """Where an anomaly is published."""
        values = {
            "device_id": level(anomaly.device_id),
            "metric": level(anomaly.metric),
            "kind": level(anomaly.kind),
            "severity": str(anomaly.severity),
            "state": str(anomaly.state),
            "prefix": self.prefix,
        }
        return _FIELD.sub(lambda match: values[match[1]], self.template)

    def open(self, anomaly: Anomaly) -> str:
        """Where it is retained as long as it is open."""
        return f"{self.prefix}/open/{level(anomaly.device_id)}/{level(anomaly.metric)}/{anomaly.anomaly_id}"

    def status(self, client_id: str) -> str:
        """Where a sink says whether it is there; retained, and its last will."""
        return f"{self.prefix}/sinks/{client_id}/status"


def level(text: str) -> str:
    """A text as one level of a topic: what MQTT reserves is percent-encoded, an empty one is `-`."""
    fit = _UNFIT.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass")), text
    )
    return fit.encode()[:_LONGEST_LEVEL_BYTES].decode(errors="ignore") or "-"


def messages_of(anomaly: Anomaly, topics: AnomalyTopics, *, retain_open: bool) -> list[Message]:
    """What is published of an anomaly.

    Raises:
        OverflowError: a time before year 1 or after year 9999.
    """
    payload = json.dumps(anomaly_fields(anomaly), ensure_ascii=False, allow_nan=False)
    data = payload.encode(errors="replace")
    found = [Message(topics.of(anomaly), data)]
    if retain_open:
        still = anomaly.state is AnomalyState.OPENED
        found.append(Message(topics.open(anomaly), data if still else b"", retain=True))
    return found


def status_message(topics: AnomalyTopics, client_id: str, *, online: bool) -> Message:
    """Whether a sink is there."""
    payload = json.dumps({"client_id": client_id, "status": "online" if online else "offline"})
    return Message(topics.status(client_id), payload.encode(), retain=True)
