"""Manufacturers and firmware make faults more or less likely: by which factor, as data."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from producers.devices.base import Model, Texts
from producers.documents import read_yaml, validate

_SHIPPED = Path(__file__).parent / "factors.yaml"
_VERSION = re.compile(r"\s*[vV]?(\d+)(.*)", re.DOTALL)
_SHORT_STAGES = {"a": "alpha", "b": "beta", "rc": "rc"}
"""As Python's versions write them: 3.0b1."""

Factor = Annotated[float, Field(ge=0)]


class FirmwareRule(Model):
    """The factor of some versions; what is not given fits any."""

    major: int | None = Field(None, ge=0)
    stage: Texts = Field((), description="As alpha, beta, rc; none: whatever it is.")
    factor: Factor


class FaultFactors(Model):
    """What multiplies the chance of a fault."""

    manufacturers: dict[str, Factor] = Field(default_factory=dict)
    firmware: tuple[FirmwareRule, ...] = ()

    def of(self, manufacturer: str, firmware: str) -> float:
        """The factor of a device; 1 where nothing is known of it."""
        major, stage = _version(firmware)
        for rule in self.firmware:
            if rule.major in {None, major} and (not rule.stage or stage in rule.stage):
                return self.manufacturers.get(manufacturer, 1.0) * rule.factor
        return self.manufacturers.get(manufacturer, 1.0)


def _version(firmware: str) -> tuple[int, str]:
    """First number and stage of a version, which need not be a semantic one: 1.4, 3.15.21, 3.0-beta, v2, 3.0b1."""
    found = _VERSION.match(firmware)
    if found is None:
        return -1, ""
    words = re.findall(r"[a-z]+", found[2].lower())
    stages = (_SHORT_STAGES.get(word, word) for word in words)
    return int(found[1]), next((stage for stage in stages if stage in _SHORT_STAGES.values()), "")


@cache
def shipped_factors() -> FaultFactors:
    """Those of the shipped table."""
    return validate(FaultFactors, read_yaml(_SHIPPED), str(_SHIPPED))


def load_factors(path: Path) -> FaultFactors:
    """A user's table, over the shipped one: its manufacturers replace ours, its firmware rules come first.

    Raises:
        ConfigError: the file cannot be read or has an error.
    """
    shipped, own = shipped_factors(), validate(FaultFactors, read_yaml(path), str(path))
    return FaultFactors(
        manufacturers={**shipped.manufacturers, **own.manufacturers}, firmware=own.firmware + shipped.firmware
    )


def fault_factor(manufacturer: str, firmware: str, factors: FaultFactors | None = None) -> float:
    """What multiplies the chance of a fault of such a device; by the shipped table if no other is given."""
    return (factors or shipped_factors()).of(manufacturer, firmware)
