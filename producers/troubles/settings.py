"""Settings of the stream's own troubles: each a section, off until its probability or share is above 0."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.dead_letters import DeadLetterReason
from schemas.durations import parse_duration
from schemas.errors import ConfigError

_LONGEST_S = 30 * 86_400.0
# What a trouble gets that is named without a number; of devices there are fewer than of readings.
_SOME = {"probability": 0.01, "share": 0.1}


def _pair(value: Any) -> Any:
    """Two ends of a range: a list of two, one value for both, or a text as 1m-10m."""
    if isinstance(value, str):
        value = value.split("-")
    if not isinstance(value, list | tuple):
        return value, value
    if len(value) not in {1, 2}:
        raise ValueError("expected one value, or the lowest and the highest, as in 1m-10m")
    return value[0], value[-1]


def _share(value: Any) -> Any:
    """A share as a number or as 2%."""
    if isinstance(value, bool):
        raise ValueError("expected a number between 0 and 1, or as in 2%")  # noqa: TRY004 - pydantic takes ValueError
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100.0
    return value


Length = Annotated[float, BeforeValidator(parse_duration), Field(le=_LONGEST_S)]
Lengths = Annotated[tuple[Length, Length], BeforeValidator(_pair)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1, allow_inf_nan=False)]
Ppm = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and value and isinstance(value[0], float) and value[0] > value[1]:
                raise ValueError(f"{name}: the lowest comes first")
        return self


class _OfReadings(_Section):
    probability: Share = Field(0.0, description="Per reading.")

    @property
    def active(self) -> bool:
        """Whether it happens at all."""
        return self.probability > 0.0


class _OfDevices(_Section):
    share: Share = Field(0.0, description="Of the devices.")

    @property
    def active(self) -> bool:
        """Whether it happens at all."""
        return self.share > 0.0


class Late(_OfReadings):
    """A reading arrives long after its time: a slow link, a gateway that retries."""

    delay: Lengths = Field((60.0, 600.0), description="How much later than its time it goes out.")


class OutOfOrder(_OfReadings):
    """Readings overtake each other: several ways through the network."""

    window: Length = Field(
        5.0,
        ge=1e-3,
        description="It is held back by up to so much; longer than the interval of the series, or nothing overtakes.",
    )


class Duplicated(_OfReadings):
    """The same message comes again, to the byte: a sender that did not hear the acknowledgement."""

    copies: int = Field(1, ge=1, le=100, description="How many times it comes again.")
    delay: Lengths = Field((0.0, 30.0), description="Each copy goes out so much later than the first.")


class ClockSkew(_OfDevices):
    """A device's clock is wrong: its readings have another time than the true one, always by the same rule."""

    offset: Lengths = Field((1.0, 30.0), description="How wrong a clock is.")
    direction: Literal["both", "ahead", "behind"] = Field("both", description="Which way clocks are wrong.")
    drift_ppm: Annotated[tuple[Ppm, Ppm], BeforeValidator(_pair)] = Field(
        (0.0, 20.0),
        description="How fast it goes wrong: microseconds per second that it gains for twelve hours, then loses.",
    )


class Dropped(_OfReadings):
    """A reading never arrives."""


class Burst(_OfDevices):
    """A device loses its link, keeps its readings, and sends all of them at once when the link is back."""

    every: Length = Field(
        600.0, ge=1, description="Such a device loses its link once in each stretch of so long."
    )
    hold: Lengths = Field((30.0, 120.0), description="For how long.")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.hold[1] > self.every:
            raise ValueError("hold must not be longer than every")
        return self


class MalformedKind(StrEnum):
    """What a broken message is instead of a reading."""

    TRUNCATED = "truncated"
    """Its end is missing."""
    RANDOM_BYTES = "random_bytes"
    """Anything behind a right header."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """A schema id that nobody registered."""
    WRONG_MAGIC = "wrong_magic"
    """Another first byte."""
    TRAILING_BYTES = "trailing_bytes"
    """Something behind the reading."""
    NON_FINITE = "non_finite"
    """A value that is NaN or infinite."""
    EMPTY = "empty"
    """No bytes."""
    NO_VALUE = "no_value"
    """Null: a tombstone."""
    TEXT = "text"
    """An error message of the device."""
    JSON = "json"
    """The reading as JSON."""


REASONS = {
    MalformedKind.TRUNCATED: DeadLetterReason.UNDECODABLE,
    MalformedKind.RANDOM_BYTES: DeadLetterReason.UNDECODABLE,
    MalformedKind.UNKNOWN_SCHEMA: DeadLetterReason.UNKNOWN_SCHEMA,
    MalformedKind.WRONG_MAGIC: DeadLetterReason.BAD_MAGIC,
    MalformedKind.TRAILING_BYTES: DeadLetterReason.TRAILING_BYTES,
    MalformedKind.NON_FINITE: DeadLetterReason.NON_FINITE_VALUE,
    MalformedKind.EMPTY: DeadLetterReason.TOO_SHORT,
    MalformedKind.NO_VALUE: DeadLetterReason.NULL_VALUE,
    MalformedKind.TEXT: DeadLetterReason.BAD_MAGIC,
    MalformedKind.JSON: DeadLetterReason.BAD_MAGIC,
}
"""The dead letter that each kind becomes."""


def _kinds(value: Any) -> Any:
    return [kind.strip() for kind in value.split(",")] if isinstance(value, str) else value


class Malformed(_OfReadings):
    """A message that is no reading stands where one was, which is lost by it: broken firmware, a foreign producer."""

    kinds: Annotated[tuple[MalformedKind, ...], BeforeValidator(_kinds)] = Field(
        tuple(MalformedKind), min_length=1, description="What it may be, each as likely."
    )


class TroubleSettings(_Section):
    """All troubles. They are independent: switching one on changes nothing about the others."""

    late: Late = Late()
    out_of_order: OutOfOrder = OutOfOrder()
    duplicated: Duplicated = Duplicated()
    clock_skew: ClockSkew = ClockSkew()
    dropped: Dropped = Dropped()
    burst: Burst = Burst()
    malformed: Malformed = Malformed()

    @property
    def active(self) -> bool:
        """Whether any trouble happens at all."""
        return any(getattr(self, name).active for name in type(self).model_fields)


def parse_troubles(texts: Sequence[str]) -> TroubleSettings:
    """Troubles from the command line: `late`, `late=2%`, `late.delay=5m-1h`, `malformed.kinds=empty,text`.

    A name alone, or with its other settings only, is a trouble of 1 % of the readings or 10 % of the devices.

    Raises:
        ConfigError: there is no such trouble or setting, or the value makes no sense.
    """
    given: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        name, _, setting = key.strip().partition(".")
        section = TroubleSettings.model_fields.get(name)
        if section is None:
            raise ConfigError(
                f"{name!r} is no trouble of the stream",
                f"There are {', '.join(TroubleSettings.model_fields)}.",
            )
        main = "probability" if "probability" in section.annotation.model_fields else "share"  # type: ignore[union-attr]
        values = given.setdefault(name, {main: _SOME[main]})
        if setting or value:
            values[setting or main] = value.strip()
    try:
        return TroubleSettings.model_validate(given)
    except ValidationError as error:
        raise ConfigError(_problem(error)) from error


def _problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
    return f"trouble {place}: {problem['msg'].removeprefix('Value error, ')}"
