"""Models on disk: a JSON file of what is known of one, which names the .npz with its forest.

The JSON is what counts. Its forest has a name of its own for each content and is written first, so that a model is
replaced in one step, and a reader sees the old one or the new one.
"""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from pydantic import ValidationError

from processors.engine.channels.model import FEATURES
from processors.engine.forests import NODE, Forest
from processors.models.info import FORMAT, ModelInfo, ModelKey, features_that_differ
from schemas.errors import SigmawatchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NODES = ("cut", "feature", "next")
_MOST_BYTES = 200_000_000
"""Of a file; more is another kind of file."""


class ModelError(SigmawatchError):
    """A model's files are not usable; says which and why."""


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A model that fits this software; `path` is its JSON file."""

    path: Path
    info: ModelInfo
    forest: Forest


def stem(key: ModelKey) -> str:
    """What the names of a model's files begin with, whatever characters type and metric have."""
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in key)


def pack_forest(forest: Forest) -> bytes:
    """The content of a forest's file: the same bytes for the same forest."""
    packed = io.BytesIO()
    columns: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(forest.nodes[name]) for name in _NODES}
    columns |= {"paths": forest.paths, "roots": forest.roots}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, column in columns.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, column, allow_pickle=False)
            # a fixed time: numpy's savez says when it wrote
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def file_name(key: ModelKey, content: bytes) -> str:
    """Name of a forest's file."""
    return f"{stem(key)}.{hashlib.sha256(content).hexdigest()[:16]}.npz"


def save(folder: Path, info: ModelInfo, content: bytes) -> Path:
    """Write a model, or replace the one of the same type and metric; gives the JSON file.

    Args:
        folder: made where it is missing.
        info: says the `content`'s name and sum.
        content: see `pack_forest`.

    Raises:
        ModelError: the folder cannot be written.
    """
    path = folder / f"{stem(info.key)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / info.file, content)
        _write(path, (info.model_dump_json(indent=2) + "\n").encode())
        for old in folder.glob(f"{_escaped(stem(info.key))}.*.npz"):
            if old.name != info.file:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{folder}: models cannot be written: {error.strerror}", "Choose another folder with --out."
        ) from error
    return path


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, whatever happens to this process or machine."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def load(path: Path) -> Model:
    """A model from its JSON file, every part of it checked.

    Raises:
        ModelError: it cannot be read, is no model, or does not fit this software; says why.
    """
    info = read_info(path)
    content = _bytes(path.with_name(info.file), path)
    found = hashlib.sha256(content).hexdigest()
    if found != info.sha256:
        raise _refused(
            path, f"{info.file} is not the file that belongs to it: its SHA-256 is {found[:12]}..."
        )
    return Model(path, info, _forest(path, info, content))


def read_info(path: Path) -> ModelInfo:
    """What a model's JSON file says, if this software can use such models; errors as `load`."""
    data = _json(path, _bytes(path, path))
    if data.get("format") != FORMAT:
        raise _refused(path, f"its format is {data.get('format')!r}, this software reads {FORMAT}")
    try:
        info = ModelInfo.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise _refused(path, f"{place}: {first['msg'].lower()}") from error
    difference = features_that_differ(info.features)
    if difference:
        raise _refused(path, f"its features are not those of this software: {difference}")
    if path.name != f"{stem(info.key)}.json":
        raise _refused(path, f"it is for {info.type} {info.metric}, whose file is {stem(info.key)}.json")
    if Path(info.file).name != info.file:
        raise _refused(path, f"file: {info.file!r} is no name of a file beside it")
    return info


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(path, "it is no JSON") from error
    if not isinstance(data, dict):
        raise _refused(path, "it is no JSON object")
    return data


def _bytes(path: Path, of: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _refused(of, f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise _refused(of, f"{path.name} is larger than {_MOST_BYTES // 1_000_000} MB")
    return content


def _forest(path: Path, info: ModelInfo, content: bytes) -> Forest:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in (*_NODES, "paths", "roots")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _refused(path, f"{info.file} has no forest: {error}") from error
    kinds = {name: NODE[name] for name in _NODES} | {"paths": np.dtype("f8"), "roots": np.dtype("i8")}
    sizes = {"roots": info.forest.trees, "paths": columns["paths"].size}
    for name, column in columns.items():
        size = sizes.get(name, columns["feature"].size)
        if column.shape != (size,) or column.dtype != kinds[name]:
            raise _refused(
                path, f"{info.file}: {name} is {column.dtype}{column.shape}, not {kinds[name]}{(size,)}"
            )
    nodes = np.zeros(len(columns["feature"]), NODE)
    for name in _NODES:
        nodes[name] = columns[name]
    forest = Forest(nodes, columns["paths"], columns["roots"], info.forest.length, info.usual, info.threshold)
    problem = _problem(forest)
    if problem:
        raise _refused(path, f"{info.file}: {problem}")
    return forest


def _problem(forest: Forest) -> str:
    """What would lead the compiled walk astray; empty where nothing does."""
    nodes, roots = forest.nodes, forest.roots
    count = len(nodes)
    if not len(roots) or roots.min() < 0 or roots.max() >= count:
        return "a tree begins outside of the nodes"
    if nodes["feature"].max() >= len(FEATURES) or nodes["feature"].min() < -1:
        return "a node asks about a feature that there is not"
    inner = np.flatnonzero(nodes["feature"] >= 0)
    steps = nodes["next"][inner]
    if (steps < 1).any() or (inner + np.maximum(steps, 1) >= count).any():
        return "a node leads to none"
    leaves = nodes["feature"] < 0
    if nodes["next"][leaves].max() >= len(forest.paths):
        return "a leaf has no path"
    if not (np.isfinite(nodes["cut"]).all() and np.isfinite(forest.paths).all()):
        return "a cut or a path is no finite number"
    return ""


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: {reason}", "Train it anew with `sigmawatch model train`.")
