"""The folder of models, looked at again and again: which are usable, and whether anything changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import structlog

from processors.models.files import Model, ModelError, load
from processors.models.info import ModelKey

log = structlog.get_logger(__name__)

_Seen = frozenset[tuple[str, int, int, int]]
"""Name, inode, size and time of change of the files."""


@dataclass(frozen=True, slots=True)
class Models:
    """What a folder has: models by type and metric, and why files were refused, by file."""

    usable: Mapping[ModelKey, Model] = field(default_factory=lambda: MappingProxyType({}))
    refused: Mapping[Path, str] = field(default_factory=lambda: MappingProxyType({}))


def load_models(folder: Path) -> Models:
    """All models of a folder; none where it is not there. What is no usable model is refused, and the others stand."""
    usable: dict[ModelKey, Model] = {}
    refused: dict[Path, str] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            model = load(path)
            usable[model.info.key] = model
        except ModelError as error:
            refused[path] = error.message.removeprefix(f"{path}: ")
    return Models(usable, refused)


class ModelStore:
    """The models of a folder, while it changes. `changed` blocks, and may run in a thread.

    Args:
        folder: may come into being later.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = Models()
        self._seen: _Seen = frozenset()
        self.changed()

    def changed(self) -> bool:
        """Whether other models are usable than at the last look; `models` has them then. Says in the log what changed."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        before, self.models = self.models, load_models(self.folder)
        for path, reason in self.models.refused.items():
            if before.refused.get(path) != reason:
                log.warning("model refused", file=str(path), reason=reason)
        old, new = _sums(before), _sums(self.models)
        loaded = [" ".join(key) for key in new if new[key] != old.get(key)]
        if loaded:
            log.info("models loaded", folder=str(self.folder), models=loaded)
        return old != new

    def _look(self) -> _Seen:
        found = set()
        for path in self.folder.glob("*.json"):
            try:
                stat = path.stat()
            except OSError:
                continue
            found.add((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return frozenset(found)


def _sums(models: Models) -> dict[ModelKey, str]:
    """The usable ones' checksums."""
    return {key: model.info.sha256 for key, model in models.usable.items()}
