"""How well the faults in the stored readings were found by the stored anomalies.

A silence leaves no reading that could say its fault. So `missing_data` has no events here, and its episodes are held
against the readings themselves: right if the series has none between the episode's opening and its end.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploy.quality.model import DAY_US, MISSING_DATA, Episode, FaultEvent, Rules, Watched
from deploy.quality.scoring import Quality, score
from deploy.quality.truth import MERGED_INTERVALS
from schemas.errors import SigmawatchError
from sinks.timescale.quality import (
    StoredDevice,
    StoredEpisode,
    devices_between,
    episodes_between,
    faults_between,
    silent,
)

if TYPE_CHECKING:
    import psycopg

_LOOKBACK_US = DAY_US
"""Faults that began up to so long before the stretch do not count, but what is raised about them is no false alarm."""

RUN_WARMUP_READINGS = 60
"""In a run of `up`, which may last seconds, the first readings of a device are its warm-up."""


class NoGroundTruthError(SigmawatchError):
    """No stored reading says that it has a fault: there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class StoredQuality:
    """The outcome, and what it is of.

    Attributes:
        quality: the figures.
        rules: by which.
        begin_us, end_us: readings and episodes of begin <= time < end.
        devices: that have readings there.
        readings: that they have, of all metrics.
        warming: devices none of whose time counts, as they are in their warm-up.
    """

    quality: Quality
    rules: Rules
    begin_us: int
    end_us: int
    devices: int
    readings: int
    warming: int


def stored_quality(
    connection: "psycopg.Connection", begin_us: int, end_us: int, rules: Rules
) -> StoredQuality:
    """Compare what is stored of a stretch of time.

    Blocks: the server reads all readings of the stretch once or twice.

    Raises:
        NoGroundTruthError: no reading of it says that it has a fault.
        psycopg.Error: the server refuses or is gone.
    """
    devices = devices_between(connection, begin_us, end_us)
    return _compared(connection, devices, begin_us, end_us, rules, _LOOKBACK_US)


def run_quality(connection: "psycopg.Connection", begin_us: int, end_us: int) -> StoredQuality | None:
    """The same for a run of `up`: the warm-up is a run's first readings. None where it had no fault.

    The detector of a run knows nothing of the runs before it, so a device's first reading is that of the run.

    Raises:
        psycopg.Error: as above.
    """
    found = devices_between(connection, begin_us, end_us)
    if not found:
        return None
    devices = [replace(device, ever_us=device.first_us) for device in found]
    interval_us = statistics.median_low(device.interval_us for device in devices)
    rules = Rules(warmup_us=min(DAY_US, RUN_WARMUP_READINGS * interval_us))
    try:
        return _compared(connection, devices, begin_us, end_us, rules, 0)
    except NoGroundTruthError:
        return None


def _compared(
    connection: "psycopg.Connection",
    devices: Sequence[StoredDevice],
    begin_us: int,
    end_us: int,
    rules: Rules,
    lookback_us: int,
) -> StoredQuality:
    merges = {device.device_id: round(MERGED_INTERVALS * device.interval_us) for device in devices}
    faults = faults_between(connection, begin_us - lookback_us, end_us, merges) if merges else []
    if not any(fault.end_us >= begin_us for fault in faults):
        raise NoGroundTruthError(
            "no stored reading of this time says that it has a fault, so there is nothing to compare anomalies with"
            if devices
            else "no reading of this time is stored",
            "Simulated devices say it; or choose another time with --since, --from and --to.",
        )
    watched = [
        Watched(device.device_id, device.ever_us, begin_us, device.last_us, device.interval_us)
        for device in devices
    ]
    quality = score(
        [FaultEvent(one.device_id, one.fault, one.begin_us, one.end_us, one.metrics) for one in faults],
        _judged(connection, episodes_between(connection, begin_us, end_us)),
        watched,
        rules,
    )
    return StoredQuality(
        quality,
        rules,
        begin_us,
        end_us,
        devices=len(devices),
        readings=sum(device.readings for device in devices),
        warming=sum(rules.counts_from(device) >= device.until_us for device in watched),
    )


def _judged(connection: "psycopg.Connection", stored: Sequence[StoredEpisode]) -> list[Episode]:
    """The episodes; those about silence with what the readings say of them."""
    gaps = [episode for episode in stored if episode.kind == MISSING_DATA]
    right = dict(zip(gaps, silent(connection, gaps), strict=True))
    return [
        Episode(one.device_id, one.metric, one.kind, one.opened_us, one.cleared_us, right.get(one))
        for one in stored
    ]
