"""What a check is: a function of a `Context` that finds something and says what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import SigmawatchError

if TYPE_CHECKING:
    from schemas.settings import Settings


class Status(StrEnum):
    """How something stands; from the best to the worst: ok, skipped, warn, fail."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    FAIL = "fail"


SEVERITY = tuple(Status)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do about it; empty where nothing is."""

    status: Status
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, found)


def warn(found: str, remedy: str) -> Finding:
    """It works, and will not always, or not as meant."""
    return Finding(Status.WARN, found, remedy)


def fail(found: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Status.FAIL, found, remedy)


def skipped(found: str) -> Finding:
    """There is nothing to check, or it cannot be."""
    return Finding(Status.SKIPPED, found)


def failure(error: SigmawatchError) -> Finding:
    """An error of ours as a finding."""
    return fail(error.message, error.remedy)


@dataclass(frozen=True, slots=True)
class Context:
    """What checks look at. Each runs in a thread of its own and makes its own clients.

    Attributes:
        settings: the settings; None where they are not usable, and then `problem` says why.
        problem: see there.
        config: the settings' file, None without one.
        environ: the environment.
        seconds: how long a single question to a server may take.
    """

    settings: "Settings | None"
    problem: SigmawatchError | None = None
    config: Path | None = None
    environ: Mapping[str, str] | None = None
    seconds: float = 5.0

    @property
    def known(self) -> "Settings":
        """The settings, for checks that need them; `running` asks no others where there are none."""
        assert self.settings is not None
        return self.settings


Look = Callable[[Context], Finding | Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: short, for the table.
        look: does it; blocks, and may raise SigmawatchError, which counts as a failure.
        needs: names of checks without whose success this one is skipped.
        needs_settings: whether it needs usable settings.
    """

    name: str
    look: Look
    needs: tuple[str, ...] = ()
    needs_settings: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found, and how long it took."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def status(self) -> Status:
        """The worst of its findings."""
        return max((one.status for one in self.findings), key=SEVERITY.index, default=Status.SKIPPED)


_CHECKS: dict[str, Check] = {}


def check(name: str, *, needs: tuple[str, ...] = (), needs_settings: bool = True) -> Callable[[Look], Look]:
    """Put a function into the registry under a name."""

    def register(look: Look) -> Look:
        _CHECKS[name] = Check(name, look, needs, needs_settings)
        return look

    return register


def registered() -> tuple[Check, ...]:
    """The registry."""
    order = {name: number for number, name in enumerate(_ORDER)}
    return tuple(sorted(_CHECKS.values(), key=lambda one: order.get(one.name, len(order))))


_ORDER = (
    *(
        "configuration",
        "python",
        "platform",
        "folders",
        "embedded parts",
        "broker",
        "topics",
        "changelog",
        "groups",
    ),
    *("dead letters", "clock of messages", "registry", "database", "migrations", "rights", "database space"),
    *("clock of the database", "ports", "models", "rules", "notifications", "MQTT"),
)
