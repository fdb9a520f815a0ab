"""A simulated fleet through the real engine, in virtual time: no Kafka, no files, the same result for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.quality.engine import MeasuredEngine
from deploy.quality.model import DAY_US, DEFAULT_RULES, MINUTE_US, Rules
from deploy.quality.scoring import Quality, score
from deploy.quality.truth import Truth
from processors.detection.directory import facts_of
from processors.detection.facts import KnownDevices
from processors.profiles import profile_book
from producers.encode import ReadingEncoder
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose

if TYPE_CHECKING:
    from schemas.codec import Codec
    from schemas.settings import Settings

BEGIN_US = 1_767_571_200_000_000
"""Where virtual time begins, whenever it is measured: Monday, 2026-01-05, midnight UTC."""
PIECE_US = 10 * MINUTE_US
"""A fleet is stepped and judged in pieces: as a processor sees what it fetches, and small enough to have its time."""

Progress = Callable[[float], None]
"""Called with the share that is done."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is measured.

    Attributes:
        fleet: a shipped one's name, or a file.
        devices: how many; None as the fleet says.
        days: of virtual time, the warm-up among them.
        seed: None as the fleet says, or 1.
        interval: seconds between two readings of a device; None as the fleet says.
        rules: what counts.
    """

    fleet: str = "evaluation"
    devices: int | None = None
    days: float = 7.0
    seed: int | None = None
    interval: float | None = None
    rules: Rules = DEFAULT_RULES


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome, and what it is of."""

    quality: Quality
    fleet: str
    devices: int
    seed: int
    interval_s: float
    readings: int


def measure(trial: Trial, settings: "Settings", codec: "Codec", progress: Progress) -> Measured:
    """Step the fleet through the engine and compare.

    Blocks; some two million readings take about ten seconds.

    Raises:
        ConfigError: the fleet makes no sense.
    """
    options = SimulateOptions(
        fleet=trial.fleet, devices=trial.devices, interval=trial.interval, seed=trial.seed
    )
    chosen = choose(options)
    fleet = make_fleet(chosen)
    devices = fleet.devices
    known = KnownDevices({device.device_id: facts_of(device) for device in devices})
    engine = MeasuredEngine(profile_book(settings, known), codec)
    encoder = ReadingEncoder(fleet.table, codec)
    truth = Truth(fleet.table, chosen.interval_us)
    end_us = BEGIN_US + round(trial.days * DAY_US)
    readings = 0
    for begin in range(BEGIN_US, end_us, PIECE_US):
        upto = min(begin + PIECE_US, end_us)
        batch = fleet.between(begin, upto)
        readings += len(batch)
        truth.add(batch)
        engine.apply(encoder.encode(batch), batch.time)
        progress((upto - BEGIN_US) / (end_us - BEGIN_US))
    quality = score(truth.events(end_us), engine.episodes, truth.watched(end_us), trial.rules)
    return Measured(quality, trial.fleet, len(devices), chosen.seed, chosen.interval_us / 1e6, readings)
