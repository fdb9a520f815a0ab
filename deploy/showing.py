"""Messages for people and for programs: what `tail` prints. Pure: bytes in, text out."""

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from schemas import times
from schemas.codec import Codec
from schemas.dead_letters import ERROR_HEADERS, redriven_topic
from schemas.errors import CodecError, RegistryError, SigmawatchError

if TYPE_CHECKING:
    from confluent_kafka import Message

    from schemas.settings import Settings

_REDRIVEN = redriven_topic("")
_SHOWN_BYTES = 48
_TIMES = frozenset({"time", "opened_at", "cleared_at", "detected_at"})
SEVERITY_STYLES = {"INFO": "cyan", "WARNING": "yellow", "CRITICAL": "bold red"}
"""How a severity looks on a terminal."""


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """A message, decoded.

    Attributes:
        kind: reading, device, anomaly, state, marker, redriven, tombstone or bytes.
        content: its fields, for `bytes` {"base16", "problem"}.
        gave_up: of a dead letter, where it came from and why.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: str | None
    kind: str
    content: dict[str, Any]
    gave_up: dict[str, str] = field(default_factory=dict)


class MessageReader:
    """Decodes messages of any of our topics.

    Args:
        codec: the three messages'.
        settings: name the changelog topic, and the window that its records are read with.
    """

    def __init__(self, codec: Codec, settings: "Settings") -> None:
        self._codec = codec
        self._settings = settings
        from schemas.topics import changelog_topic  # noqa: PLC0415 - imports the Kafka client

        self._changelog = changelog_topic(settings.processor.group)

    def read(self, message: "Message") -> ReadMessage:
        """Decode one; never fails for what is in it."""
        kind, timestamp = message.timestamp()
        topic, value, key = str(message.topic()), message.value(), message.key()
        raw_key = key.encode() if isinstance(key, str) else key
        raw_value = value.encode() if isinstance(value, str) else value
        if topic == self._changelog or topic.endswith("-series-changelog"):
            shown_key: str | None
            shown_key, what, content = self._state(raw_key or b"", raw_value)
        elif topic.endswith(_REDRIVEN):
            from deploy.letters.history import unpack_attempts  # noqa: PLC0415 - letters are shown with what is here

            shown_key, what = _text(raw_key or b""), "redriven"
            attempts = [asdict(attempt) for attempt in unpack_attempts(raw_value)]
            content = {"original": shown_key, "attempts": attempts}
        else:
            shown_key = None if raw_key is None else _text(raw_key)
            what, content = self._content(raw_value)
        return ReadMessage(
            topic,
            int(message.partition() or 0),
            int(message.offset() or 0),
            timestamp if kind else None,
            shown_key,
            what,
            content,
            _gave_up(message.headers() or []),
        )

    def _content(self, value: bytes | None) -> tuple[str, dict[str, Any]]:
        if value is None:
            return "tombstone", {}
        try:
            name, fields = self._codec.decode(value)
        except (CodecError, RegistryError) as error:
            return "bytes", {"base16": value.hex(), "problem": str(error)}
        return name.lower(), {field: plain(field, content) for field, content in fields.items()}

    def _state(self, key: bytes, value: bytes | None) -> tuple[str, str, dict[str, Any]]:
        """A record of the processor's changelog, summed up."""
        # Compiled loops lie behind these: not imported for other topics.
        from processors.changelog import Marker, parse_key  # noqa: PLC0415

        try:
            writer, name = parse_key(key)
        except (SigmawatchError, UnicodeDecodeError) as error:
            problem = {"base16": (value or b"").hex(), "problem": str(error)}
            return _text(key), "bytes", problem
        shown = f"{writer} {name.device_id} {name.metric}" if name is not None else writer
        if value is None:
            return shown, "tombstone", {}
        if name is None:
            marker = Marker.unpack(value)
            return shown, "marker", {"next_offset": marker.next_offset, "dead_letters": marker.dead_letters}
        try:
            return (
                shown,
                "state",
                {"device_id": name.device_id, "metric": name.metric, **self._summary(value)},
            )
        except SigmawatchError as error:
            return shown, "bytes", {"base16": value.hex(), "problem": str(error)}

    def _summary(self, value: bytes) -> dict[str, Any]:
        from processors.engine.channels.window import NEVER  # noqa: PLC0415
        from processors.engine.record import unpack  # noqa: PLC0415

        state, faults = unpack(value)
        last = int(state["last_time"])
        opened = {
            name.removesuffix("_alarm"): iso(int(state[name]["opened_at"]))
            for name in ("value_alarm", "quality_alarm", "gap_alarm")
            if state[name]["opened_at"] != NEVER
        }
        return {
            "last_offset": int(state["last_offset"]),
            "readings": int(state["readings"]),
            "late": int(state["late"]),
            "repeated": int(state["repeated"]),
            "episodes": int(state["episodes"]),
            "last_time": None if last == NEVER else iso(last),
            "last_value": None if last == NEVER else float(state["last_value"]),
            "open_since": opened,
            "faults": list(faults.values()),
            "bytes": len(value),
        }


def json_line(message: ReadMessage) -> dict[str, Any]:
    """A message for programs."""
    line: dict[str, Any] = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": None if message.timestamp_ms is None else iso(message.timestamp_ms * 1000),
        "key": message.key,
        message.kind: message.content,
    }
    if message.gave_up:
        line["dead_letter"] = message.gave_up
    return line


def human_line(message: ReadMessage) -> str:
    """A message for people, as rich markup."""
    shapes = {"reading": _reading, "anomaly": _anomaly, "device": _device, "bytes": _bytes}
    try:
        body = shapes.get(message.kind, _fields)(message.content)
    except (KeyError, TypeError, ValueError):  # somebody else's schema under one of our names
        body = _fields(message.content)
    if message.kind in ("state", "marker", "tombstone"):
        body = f"[cyan]{message.kind}[/cyan] {escape(message.key or '')} {body}"
    if message.gave_up:
        reason = message.gave_up.get("exception.message", "no reason given")
        source = f"{message.gave_up.get('topic')}/{message.gave_up.get('partition')}@{message.gave_up.get('offset')}"
        body = f"[red]{escape(reason)}[/red]  from {escape(source)}  {body}"
    return f"[dim]{message.partition}@{message.offset}[/dim]  {body}"


def _reading(fields: dict[str, Any]) -> str:
    fault = f"  [yellow]{escape(str(fields['fault']))}[/yellow]" if fields.get("fault") else ""
    return (
        f"{_when(fields['time'])}  {escape(str(fields['device_id']))}  [dim]{escape(str(fields['metric']))}[/dim]  "
        f"[bold]{float(fields['value']):.6g}[/bold]{fault}"
    )


def _anomaly(fields: dict[str, Any]) -> str:
    colour = "red" if fields["state"] == "OPENED" else "green"
    counted = "devices" if fields["kind"] == "storm" else "readings"
    return (
        f"[{colour}]{fields['state']:<7}[/{colour}] {_severity(fields)}{_when(fields['opened_at'])}  "
        f"{escape(str(fields['device_id']))}  [dim]{escape(str(fields['metric']))}[/dim]  "
        f"[bold]{escape(str(fields['kind']))}[/bold]  {_reason(fields)}  {fields['readings']} {counted}"
    )


def _severity(fields: dict[str, Any]) -> str:
    """In its colour; nothing where the message is older than severities."""
    severity = str(fields.get("severity") or "")
    style = SEVERITY_STYLES.get(severity, "yellow")
    return f"[{style}]{escape(severity):<8}[/{style}] " if severity else ""


def _reason(fields: dict[str, Any]) -> str:
    return escape(
        fields.get("reason")
        or f"{float(fields['value']):.6g} is {float(fields['score']):.1f} std from {float(fields['mean']):.6g}"
    )


def _device(fields: dict[str, Any]) -> str:
    units = ", ".join(f"{metric} in {unit}" for metric, unit in (fields.get("units") or {}).items())
    return f"{escape(str(fields['device_id']))}  [dim]{escape(str(fields['type']))}[/dim]  {escape(units)}"


def _bytes(fields: dict[str, Any]) -> str:
    shown = str(fields["base16"])
    cut = shown[: 2 * _SHOWN_BYTES] + ("..." if len(shown) > 2 * _SHOWN_BYTES else "")
    return f"[dim]{cut or 'no bytes'}[/dim]  {escape(str(fields['problem']))}"


def _fields(fields: dict[str, Any]) -> str:
    return escape("  ".join(f"{name} {value}" for name, value in fields.items() if value is not None))


def _gave_up(headers: Any) -> dict[str, str]:
    """Kafka Connect's error headers, without their prefix."""
    return {
        name.removeprefix(ERROR_HEADERS): _text(value or b"")
        for name, value in headers
        if name.startswith(ERROR_HEADERS) and value
    }


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")


def _when(value: Any) -> str:
    return f"[dim]{escape(str(value))}[/dim]"


def plain(name: str, value: Any) -> Any:
    """A field as JSON can carry it: times in ISO-8601, numbers that are none as text."""
    if name in _TIMES and isinstance(value, int):
        return iso(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def iso(time_us: int) -> str:
    """ISO-8601 in UTC, of µs since 1970; beyond the years 1 to 9999 the number itself."""
    try:
        return times.iso(time_us)
    except OverflowError:
        return f"{time_us} us"
