"""A book of profiles with trained models laid over another's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import structlog

from processors.detection.facts import DeviceLookup
from processors.engine.book import ProfileBook
from processors.engine.forests import Forests, joined
from processors.engine.profile import Table
from processors.engine.series_index import SeriesName
from processors.engine.storms import StormLimits
from processors.models.files import Model
from processors.models.info import Meaning, ModelKey
from processors.models.store import Models

log = structlog.get_logger(__name__)


def with_models(book: ProfileBook, models: Models, devices: DeviceLookup) -> ProfileBook:
    """A book whose series have a model where there is one for their device's type and metric; itself without any."""
    return ModelBook(book, models.usable, devices) if models.usable else book


class ModelBook:
    """Another book's profiles, with models. Not thread-safe.

    A model whose readings meant something else (panes of another length, a counter) is not asked; the log says it once.

    Args:
        book: the profiles.
        models: by type and metric; one at least.
        devices: which type a device has.
    """

    def __init__(self, book: ProfileBook, models: Mapping[ModelKey, Model], devices: DeviceLookup) -> None:
        self._book = book
        self._devices = devices
        self._models = list(models.values())
        self._places = {model.info.key: place for place, model in enumerate(self._models)}
        self.forests: Forests = joined([model.forest for model in self._models])
        self._rows: dict[tuple[int, int], int] = {}
        """Row of the other book and number of the model -> row here."""
        self._base: list[int] = []
        self._table: Table = np.zeros(0, book.table.dtype)
        self._unfit: set[int] = set()

    @property
    def table(self) -> Table:
        """(k,) of `PROFILE`; grows by `number`."""
        return self._table

    def number(self, name: SeriesName) -> int:
        """Which row of the table a series has; raises as `DeviceLookup.facts`."""
        base = self._book.number(name)
        key = ModelKey(self._devices.facts(name.device_id).type, name.metric)
        place = self._places.get(key, -1)
        row = self._rows.get((base, place))
        if row is None:
            row = self._rows[base, place] = self._add(base, place)
        return row

    def kinds(self, number: int) -> Mapping[str, str]:
        """Names that the anomalies of a profile have instead of the general ones."""
        return self._book.kinds(self._base[number])

    def groups(self, device_id: str) -> tuple[str, ...]:
        """What a device has in common with others."""
        return self._book.groups(device_id)

    @property
    def storms(self) -> StormLimits:
        """When anomalies of many devices are a storm."""
        return self._book.storms

    def origin(self, name: SeriesName) -> int:
        """What a series' state belongs to."""
        return self._book.origin(name)

    def _add(self, base: int, place: int) -> int:
        profile: Any = self._book.table[base : base + 1].copy()
        profile["model"]["number"] = place if place >= 0 and self._fits(place, profile[0]) else -1
        self._base.append(base)
        self._table = np.concatenate([self._table, profile])
        return len(self._base) - 1

    def _fits(self, place: int, profile: Table) -> bool:
        info = self._models[place].info
        meaning = Meaning.of(profile)
        if meaning == info.meaning:
            return True
        if place not in self._unfit:
            self._unfit.add(place)
            log.warning(
                "model not asked: its readings meant something else",
                type=info.type,
                metric=info.metric,
                trained_with=str(info.meaning),
                now=str(meaning),
            )
        return False
