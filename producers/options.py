"""Options of the producers' commands, with the help texts that the command line shows."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from producers.clock import MAX_SPEED


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


def option_help(options: type) -> dict[str, str]:
    """Help text of each field of one of the classes below."""
    return {option.name: option.metadata["help"] for option in fields(options) if "help" in option.metadata}


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """`simulate`: which fleet, how fast, how long."""

    fleet: str = _option("mixed", "A shipped fleet, or a YAML file with one; `sigmawatch fleets` lists them.")
    devices: int | None = _option(
        None, "Devices; the fleet's groups in proportion. Without it: as the fleet says."
    )
    interval: float | None = _option(
        None, "Seconds of virtual time between two readings of a device; without it as the fleet says, or 1."
    )
    rate: float | None = _option(
        None,
        "Readings per second of virtual time of the whole fleet; sets the interval, in whole microseconds.",
    )
    duration: float | None = _option(
        None,
        "Seconds of virtual time to simulate; without it, until stopped. Where the broker cannot take "
        "the rate, all readings of this time are still produced, later.",
    )
    seed: int | None = _option(
        None, "Same seed, same readings, to the bit; without it as the fleet says, or 1."
    )
    anomaly_rate: float | None = _option(
        None, "Chance per reading of a healthy device that a fault begins; without it as the fleet says."
    )
    speed: float = _option(
        1.0,
        "How much faster than real time virtual time runs: a number, or max. Above 1 it needs --duration, "
        "and the simulated time ends now.",
    )
    start: int | None = _option(
        None, "Virtual time of the beginning. Without it: now, or with a speed above 1, --duration ago."
    )
    normal_range: tuple[float, float] | None = _option(
        None, "Range of normal values of devices of type signal: two numbers."
    )
    shard: str = _option("1/1", "I/N: this worker has the I-th of N parts of the fleet.")
    scenario: str | None = _option(
        None, "A shipped scenario, or a YAML file with one; `sigmawatch scenarios` lists them."
    )
    demo: bool = _option(False, "A fault on some device every now and then, the first after 20 readings.")
    config: Path | None = _option(None, "A config.yaml of sensor-log-generator, in place of a fleet.")
    identity: Path | None = _option(
        None, "An identity.json of sensor-log-generator, beside --config or alone."
    )
    troubles: tuple[str, ...] = _option(
        (),
        "A trouble of the stream: late, out_of_order, duplicated, clock_skew, dropped, burst or malformed, alone, "
        "with its share (late=2%) or with a setting (late.delay=5m-1h). May be repeated.",
    )
    to: str | None = _option(
        None, "A file in Kafka's place: .jsonl, .csv or .avro, with .gz or not; - is stdout."
    )
    format: Literal["jsonl", "csv", "avro"] | None = _option(
        None, "jsonl, csv or avro: of --to, where its name does not say it."
    )
    overwrite: bool = _option(False, "Replace the file of --to if it exists.")
    resume: bool = _option(
        False, "Save the fleet's state now and then, and go on from what was saved where there is something."
    )
    state: Path | None = _option(
        None, "File of the saved state; without it one in the state folder, named after fleet and shard."
    )
    has_token: bool = _option(False, "Whether the control API has a bearer token.")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`replay` of a file of readings or of a recorded topic.

    A column is its name in the header line, or the path of a field in JSON and Avro (`location.name`); with
    `=` in front, a fixed text for all rows.
    """

    format: Literal["csv", "jsonl", "avro"] | None = _option(
        None,
        "csv, jsonl or avro; seen from the file if not given. Files ending in .gz are unpacked on the way.",
    )
    device: str | None = _option(
        None,
        "Column of the device id, or =ID. If not given: a column device_id, device, ..., or the file's name.",
    )
    metric: str | None = _option(
        None,
        "Column of the metric, or =NAME. If not given: a column metric, ..., or the value column's name.",
    )
    time: str | None = _option(
        None, "Column of the time; date+time joins two. If not given: timestamp, time, ts, date, ..."
    )
    value: tuple[str, ...] = _option(
        (),
        "Column of the value; in wide files repeat it, one a metric. If not given: value, ..., or the only numeric column.",
    )
    fault: str | None = _option(
        None, "Column of the fault's name, where rows are labelled. If not given: a column fault."
    )
    wide: bool = _option(
        False,
        "One column a metric: each --value, or every other numeric column, is a metric; empty cells are no readings.",
    )
    delimiter: str | None = _option(
        None,
        "Between the cells of a CSV file; tab is written \\t. If not given: comma, semicolon, tab or bar, as the first lines show.",
    )
    decimal: Literal[".", ","] = _option(".", "Decimal mark of numbers in CSV files: . or a comma.")
    no_header: bool = _option(False, "The CSV file has no header line; its columns are called 1, 2, 3, ...")
    time_format: str | None = _option(
        None,
        "iso, epoch_s, epoch_ms, epoch_us, epoch_ns, or a strptime pattern (%d.%m.%Y %H:%M). If not given: ISO-8601, or an epoch whose unit the first row's magnitude shows.",
    )
    timezone: str = _option(
        "UTC",
        "Time zone of times without an offset, as Europe/Berlin. An hour that the clock showed twice is the earlier one until the series has passed it; one that it skipped is an error.",
    )
    speed: float = _option(
        MAX_SPEED, "max, or how much faster than the file's own time: 1 is real time, 60 a minute a second."
    )
    shift_to_now: bool = _option(
        False,
        "Move all times so that the last reading's is the moment it is sent: with --speed 1 every reading happens now, with max the history ends now. Reads the file twice.",
    )
    on_error: Literal["stop", "skip"] = _option(
        "stop", "At a bad row: stop (all before it are published), or skip it, count it and go on."
    )
    topic: str | None = _option(
        None, "Topic to write to; nothing is created. If not given: the readings' topic, or the recorded one."
    )


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """`record` of a topic into a file."""

    start: str = _option(
        "beginning", "beginning, end, an offset, or a time (ISO-8601): where each partition starts."
    )
    follow: bool = _option(
        False,
        "Go on with what arrives, until stopped. Otherwise: up to the end that the topic had at the start.",
    )
    max_messages: int | None = _option(None, "Stop after so many messages.")
    overwrite: bool = _option(False, "Replace the file if it exists.")
    idle_timeout: float = _option(
        30.0,
        "Seconds without an answer from the broker after which recording up to the end gives up with an error.",
    )


def default_device(path: Path) -> str:
    """Device id of a file that names none: the file's name up to its first suffix of a known kind."""
    name = path.name
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".avro"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
    return name
