"""Which stretches of time of which series are to be rolled up anew; pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_HOUR = timedelta(hours=1)

Series = tuple[str, str]
"""Device and metric."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of `rollup_mark`: whole hours from the first to the last; `series` None is all of them."""

    series: Series | None
    first_hour: datetime
    last_hour: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """begin <= time < end of one series, None of all."""

    series: Series | None
    begin: datetime
    end: datetime


def stretches_of(marks: Iterable[Mark]) -> list[Stretch]:
    """What the marks cover, each stretch of a series once: touching ones are joined, those of all series come first."""
    by_series: defaultdict[Series | None, list[Stretch]] = defaultdict(list)
    for mark in marks:
        by_series[mark.series].append(Stretch(mark.series, mark.first_hour, mark.last_hour + _HOUR))
    of_all = _joined(by_series.pop(None, []))
    single = [stretch for found in by_series.values() for stretch in _joined(found)]
    return of_all + [one for one in single if not any(_covers(whole, one) for whole in of_all)]


def clipped(stretches: Iterable[Stretch], begin: datetime | None, end: datetime) -> list[Stretch]:
    """What of the stretches lies in begin <= time < end; None is the beginning of time."""
    cut = [
        replace(one, begin=one.begin if begin is None else max(one.begin, begin), end=min(one.end, end))
        for one in stretches
    ]
    return [one for one in cut if one.begin < one.end]


def _joined(stretches: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in sorted(stretches, key=lambda stretch: stretch.begin):
        if joined and one.begin <= joined[-1].end:
            joined[-1] = replace(joined[-1], end=max(joined[-1].end, one.end))
        else:
            joined.append(one)
    return joined


def _covers(whole: Stretch, part: Stretch) -> bool:
    return whole.begin <= part.begin and part.end <= whole.end
