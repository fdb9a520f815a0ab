"""What is known of a model: where it comes from, how good it is, and what it fits."""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from processors.engine.channels.model import FEATURES
from processors.engine.profile import Table

FORMAT = 1
"""Of the files. Another meaning of a feature is another format, too."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]


class ModelKey(NamedTuple):
    """Whose readings a model judges."""

    type: str
    metric: str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Meaning(_Part):
    """What the numbers were, when the model learnt them; see `processors.engine.profile.ValueMeaning`."""

    pane_s: Annotated[float, Field(gt=0.0)]
    counter: bool
    period: Annotated[float, Field(ge=0.0)]

    @classmethod
    def of(cls, profile: Table) -> Self:
        """Of a record of `PROFILE`."""
        meaning = profile["meaning"]
        return cls(
            pane_s=float(meaning["pane_s"]),
            counter=bool(meaning["counter"]),
            period=float(meaning["period"]),
        )

    def __str__(self) -> str:
        text = f"panes of {self.pane_s:g} s"
        text += ", a counter's growth" if self.counter else ""
        return text + (f", circular over {self.period:g}" if self.period else "")


class Quality(_Part):
    """How the model by itself did on the last fifth of the history, on which it was not trained.

    Attributes:
        panes: that were judged.
        alarms: stretches of panes at or above the threshold; those within an hour are one.
        series_days: over which they came.
        faults, detected: with ground truth: faults that there were, and those of them that an alarm fell into.
        true_alarms, false_alarms: alarms about a fault, and about nothing. Without ground truth None, as is all above.
    """

    panes: Count
    alarms: Count
    series_days: Annotated[float, Field(ge=0.0)]
    faults: Count | None = None
    detected: Count | None = None
    true_alarms: Count | None = None
    false_alarms: Count | None = None

    @property
    def recall(self) -> float | None:
        """Share of the faults that were detected."""
        return self.detected / self.faults if self.faults and self.detected is not None else None

    @property
    def precision(self) -> float | None:
        """Share of the alarms that were about a fault."""
        return self.true_alarms / self.alarms if self.alarms and self.true_alarms is not None else None

    @property
    def alarms_per_series_day(self) -> float | None:
        """False ones where that is known, else all."""
        alarms = self.alarms if self.false_alarms is None else self.false_alarms
        return alarms / self.series_days if self.series_days else None


class Scores(_Part):
    """Isolation scores of the last fifth of the history.

    Attributes:
        quantiles: share of the healthy panes -> score that they do not exceed.
        edges: of the histogram's bins, one more than there are.
        healthy, faulty: panes in each bin.
    """

    quantiles: dict[str, float]
    edges: tuple[float, ...]
    healthy: tuple[Count, ...]
    faulty: tuple[Count, ...]


class ForestInfo(_Part):
    """The forest's make: trees, panes that each was grown from, and the length of the usual paths of all trees."""

    trees: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=2)]
    length: Annotated[float, Field(gt=0.0)]


class ModelInfo(_Part):
    """A model's JSON file.

    Attributes:
        format: of the files.
        software: version of Sigmawatch that trained it; scikit_learn: the library's.
        type, metric: whose readings it judges.
        features: that it asks about.
        meaning: of the numbers.
        trained_from, trained_to: first and last reading of the history; `held_out_from`: where the last fifth begins.
        trained_at: when.
        readings, series: in the history; series_known: that there were, of which `series` were taken.
        panes: that it learnt from; excluded: left out, for faults and anomalies in them.
        usual: median score of healthy panes; threshold: score of an alarm.
        seed: of the trees.
        file: name of the file with the forest; sha256: of that file.
    """

    format: Literal[1] = 1
    software: str
    scikit_learn: str
    type: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)]
    features: tuple[str, ...]
    meaning: Meaning
    trained_from: datetime
    trained_to: datetime
    held_out_from: datetime
    trained_at: datetime
    readings: Count
    series: Count
    series_known: Count
    panes: Count
    excluded: Count
    usual: Share
    threshold: Share
    seed: Count
    forest: ForestInfo
    quality: Quality
    scores: Scores
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.usual < self.threshold:
            raise ValueError("threshold must be above usual")
        return self

    @property
    def key(self) -> ModelKey:
        """Whose readings it judges."""
        return ModelKey(self.type, self.metric)


def features_that_differ(features: tuple[str, ...]) -> str:
    """How a model's features differ from those of this software; empty where they do not."""
    if features == FEATURES:
        return ""
    more, fewer = [set(a) - set(b) for a, b in ((features, FEATURES), (FEATURES, features))]
    parts = [f"it has {', '.join(sorted(more))}"] if more else []
    parts += [f"it lacks {', '.join(sorted(fewer))}"] if fewer else []
    return "; ".join(parts) or "they come in another order"
