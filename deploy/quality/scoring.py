"""Faults against episodes: what was found, how soon, and how often for nothing. Pure.

A fault is detected if an episode of one of its device's series opens between its beginning and its end, or within the
slack behind it (`Rules.slack_of`); one that was open already does not count. An episode is true if it opens in such a stretch
of some fault of its device, else a false alarm. Storms are ignored: their members count.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploy.quality.model import DAY_US, STORM, Episode, FaultEvent, Rules, Watched

OTHER_METRIC = "(another metric)"
"""In the confusion table: the fault was detected, but by no episode of a metric that it changed."""


@dataclass(slots=True)
class FaultScore:
    """What became of the events of one fault; `kinds` are those of the detected ones' first episodes."""

    events: int = 0
    delays_s: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def detected(self) -> int:
        """How many were detected."""
        return len(self.delays_s)

    @property
    def recall(self) -> float | None:
        """Share of the events that were detected."""
        return _share(self.detected, self.events)

    @property
    def median_delay_s(self) -> float | None:
        """From a fault's beginning to the first episode, of the detected ones."""
        return statistics.median(self.delays_s) if self.delays_s else None


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a detector did; a share of nothing is None."""

    faults: Mapping[str, FaultScore]
    true_alarms: int
    false_alarms: int
    device_days: float

    @property
    def events(self) -> int:
        """Faults that counted."""
        return sum(fault.events for fault in self.faults.values())

    @property
    def detected(self) -> int:
        """Those that were detected."""
        return sum(fault.detected for fault in self.faults.values())

    @property
    def recall(self) -> float | None:
        """Share of the faults that were detected."""
        return _share(self.detected, self.events)

    @property
    def precision(self) -> float | None:
        """Share of the episodes that were about a fault."""
        return _share(self.true_alarms, self.true_alarms + self.false_alarms)

    @property
    def false_alarms_per_device_day(self) -> float | None:
        """Episodes about nothing, a device and day."""
        return self.false_alarms / self.device_days if self.device_days > 0.0 else None

    @property
    def kind_accuracy(self) -> float | None:
        """Share of the detected faults whose first episode, of a metric that they changed, has their name."""
        right = sum(score.kinds[fault] for fault, score in self.faults.items())
        return _share(right, self.detected)


def score(
    events: Iterable[FaultEvent], episodes: Iterable[Episode], watched: Iterable[Watched], rules: Rules
) -> Quality:
    """Compare the faults with the episodes.

    Args:
        events: the faults that there were. One that began before its device counts makes no difference to the recall, but
            an episode about it is a true one.
        episodes: what was raised, in any order.
        watched: the devices; what is of any other does not count.
        rules: slack and warm-up.
    """
    events_of, episodes_of = defaultdict(list), defaultdict(list)
    for event in events:
        events_of[event.device_id].append(event)
    for episode in sorted(episodes, key=lambda one: (one.opened_at_us, one.metric, one.kind)):
        if episode.kind != STORM:
            episodes_of[episode.device_id].append(episode)
    faults: defaultdict[str, FaultScore] = defaultdict(FaultScore)
    true_alarms = false_alarms = device_us = 0
    for device in watched:
        since = rules.counts_from(device)
        device_us += max(0, device.until_us - since)
        stretches = [
            (event, event.end_us + rules.slack_of(event, device.interval_us))
            for event in events_of[device.device_id]
        ]
        raised = [one for one in episodes_of[device.device_id] if one.opened_at_us >= since]
        true = sum(_is_true(episode, stretches) for episode in raised)
        true_alarms += true
        false_alarms += len(raised) - true
        for event, until in stretches:
            if event.begin_us >= since:
                _count(faults[event.fault], event, until, raised)
    return Quality(dict(sorted(faults.items())), true_alarms, false_alarms, device_us / DAY_US)


def _is_true(episode: Episode, stretches: list[tuple[FaultEvent, int]]) -> bool:
    if episode.right is not None:
        return episode.right
    return any(event.begin_us <= episode.opened_at_us <= until for event, until in stretches)


def _count(result: FaultScore, event: FaultEvent, until: int, raised: list[Episode]) -> None:
    """Add one event; `raised` are its device's episodes by time."""
    result.events += 1
    hits = [one for one in raised if one.right is None and event.begin_us <= one.opened_at_us <= until]
    if not hits:
        return
    result.delays_s.append((hits[0].opened_at_us - event.begin_us) / 1e6)
    own = (one.kind for one in hits if event.metrics is None or one.metric in event.metrics)
    result.kinds[next(own, OTHER_METRIC)] += 1


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score; (0, 1) of nothing.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if not whole:
        return 0.0, 1.0
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    share, weight = part / whole, z * z / whole
    middle = (share + weight / 2.0) / (1.0 + weight)
    half = z * math.sqrt(share * (1.0 - share) / whole + weight / (4.0 * whole)) / (1.0 + weight)
    # Exact where the arithmetic would miss by a bit.
    return (middle - half if part else 0.0), (middle + half if part < whole else 1.0)
