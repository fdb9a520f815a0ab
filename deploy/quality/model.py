"""What is compared: faults that there were, episodes that were raised, and since when who was watched."""

from dataclasses import dataclass

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US

MISSING_DATA = "missing_data"
"""The fault, and the kind of episode, that is a silence."""
STORM = "storm"
"""The kind of episode that stands for many devices' at once; its members are episodes of their own."""


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault of a device, from its first changed reading to its last.

    Attributes:
        device_id: whose.
        fault: its name, as `spike`.
        begin_us, end_us: event times, µs since 1970 UTC.
        metrics: those that it changed; None: all of the device's.
    """

    device_id: str
    fault: str
    begin_us: int
    end_us: int
    metrics: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly's episode.

    Attributes:
        device_id, metric: of which series.
        kind: what the detector calls it.
        opened_at_us: time at which it opened, µs.
        cleared_at_us: time at which it was over, None while it is open.
        right: whether it is a true alarm, where that is known by other means than the faults; it detects none then.
    """

    device_id: str
    metric: str
    kind: str
    opened_at_us: int
    cleared_at_us: int | None = None
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A device and the stretch of time in which it is judged.

    Attributes:
        device_id: which.
        first_us: its first reading ever, with which its warm-up begins.
        from_us: beginning of the stretch.
        until_us: its last reading in the stretch.
        interval_us: usual time between two of its readings.
    """

    device_id: str
    first_us: int
    from_us: int
    until_us: int
    interval_us: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts.

    Attributes:
        slack_us: how long after a fault's end an episode may open and still be about it, at most. Detectors that average
            see an end late; but the chance that a false alarm passes for a true one grows with it. So a short
            fault has less: as long as the fault itself, or `slack_readings` readings where that is longer.
        slack_readings: what a detector that averages may take to notice.
        warmup_us: time after a device's first reading in which neither its faults nor its episodes count.
    """

    slack_us: int = 15 * MINUTE_US
    slack_readings: int = 15
    warmup_us: int = DAY_US

    def slack_of(self, event: FaultEvent, interval_us: int) -> int:
        """How long after the fault's end an episode is still about it, µs."""
        return min(self.slack_us, max(event.end_us - event.begin_us, self.slack_readings * interval_us))

    def counts_from(self, watched: Watched) -> int:
        """From when on a device's faults and episodes count, µs."""
        return max(watched.from_us, watched.first_us + self.warmup_us)


DEFAULT_RULES = Rules()
