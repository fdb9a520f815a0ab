"""The catalogue of device types: those that are shipped, and a user's own; all of them YAML.

A file has `types`, and may have `faults` that its types share. A type's faults are laid over the vocabulary's, so that
each fault is defined once; a type may extend another one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from producers.devices.fleet_spec import FaultChances, Group
from producers.devices.lines import YamlFile
from producers.devices.merging import merge_entries, merge_types, without_metrics
from producers.devices.model import DeviceType, Fault
from producers.documents import kind_of, nearest, refusal
from schemas.errors import ConfigError

_HERE = Path(__file__).parent
_KEYS = ("types", "faults")
_NEW_FAULT = frozenset({"effect", "duration"})
"""What a fault needs that is in no vocabulary."""


@dataclass(frozen=True, slots=True)
class DeviceCatalogue:
    """All types that a fleet can have.

    Attributes:
        types: by name.
        vocabulary: every fault's defaults, as they stand in the files.
        documents: each type as data, complete: what `types` was made of.
    """

    types: Mapping[str, DeviceType]
    vocabulary: Mapping[str, Mapping[str, Any]]
    documents: Mapping[str, Mapping[str, Any]]

    def type(self, name: str) -> DeviceType:
        """The type of that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.types:
            raise ConfigError(f"there is no device type {name}", nearest(name, self.types))
        return self.types[name]


@dataclass(frozen=True, slots=True)
class _Definition:
    """A type as its file says it."""

    file: YamlFile
    data: Mapping[str, Any]


def load_catalogue(extra_files: Sequence[Path] = ()) -> DeviceCatalogue:
    """The shipped types and those of the user's files.

    Raises:
        ConfigError: a file cannot be read or has an error; says file, line, key and remedy.
    """
    return _load(tuple(extra_files)) if extra_files else _shipped()


@cache
def _shipped() -> DeviceCatalogue:
    return _load(())


@cache
def _shipped_files() -> tuple[YamlFile, ...]:
    return _read([_HERE / "vocabulary.yaml", *sorted((_HERE / "types").glob("*.yaml"))])


def _read(paths: Iterable[Path]) -> tuple[YamlFile, ...]:
    files = tuple(YamlFile.read(path) for path in paths)
    for file in files:
        _check_file(file)
    return files


def _load(extra_files: tuple[Path, ...]) -> DeviceCatalogue:
    files = (*_shipped_files(), *_read(extra_files))
    faults = {name: _checked_fault(name, found) for name, found in _once(files, "faults").items()}
    definitions = _once(files, "types")
    # A user's files add to what is shipped and change none of it.
    done = _shipped() if extra_files else DeviceCatalogue({}, {}, {})
    types, documents = dict(done.types), dict(done.documents)
    for name, definition in definitions.items():
        if name not in types:
            whole = _extended(name, definitions, ())
            document = {**whole, "name": name, "faults": _whole_faults(whole, faults, definition.file, name)}
            documents[name] = document
            types[name] = _validated(document, definition.file, name)
    return DeviceCatalogue(MappingProxyType(types), MappingProxyType(faults), MappingProxyType(documents))


def _check_file(file: YamlFile) -> None:
    if not isinstance(file.data, Mapping):
        raise ConfigError(f"{file.path}: expected types, found {kind_of(file.data)}", "Begin with `types:`.")
    _check_keys(file, file.data, ())
    for key, part in file.data.items():
        if key not in _KEYS:
            raise ConfigError(f"{file.place([key])}: {key} is no key here", nearest(str(key), _KEYS))
        if not isinstance(part, Mapping):
            raise ConfigError(
                f"{file.place([key])}: {key}: expected names and what they are, found {kind_of(part)}",
                f"Write it as `{key}:` with a name and its keys below.",
            )
        for name, entry in part.items():
            if not isinstance(entry, Mapping):
                raise ConfigError(
                    f"{file.place([key, name])}: {key}.{name}: expected keys and values, found {kind_of(entry)}",
                    f"See the shipped {key} for an example.",
                )
            if "name" in entry:
                raise ConfigError(
                    f"{file.place([key, name, 'name'])}: {key}.{name}.name: {name} is its name already",
                    "Leave it out; `title` is for people.",
                )


def _check_keys(file: YamlFile, data: Any, above: tuple[Any, ...]) -> None:
    """Keys are texts: YAML reads on, off, yes and no as true and false."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if not isinstance(key, str):
                raise ConfigError(
                    f"{file.place(above)}: {'.'.join(map(str, above))} has the key {key}",
                    "Put it in quotes: YAML takes on, off, yes and no for true and false.",
                )
            _check_keys(file, value, (*above, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            _check_keys(file, value, (*above, number))


def _once(files: Iterable[YamlFile], part: str) -> dict[str, _Definition]:
    """What the files define, each name once."""
    found: dict[str, _Definition] = {}
    for file in files:
        for name, data in file.data.get(part, {}).items():
            if name in found:
                remedy = (
                    f"Give it another name, with `extends: {name}`."
                    if part == "types"
                    else "Change it in the type."
                )
                raise ConfigError(
                    f"{file.place([part, name])}: {name} is in {found[name].file.path} already", remedy
                )
            found[name] = _Definition(file, data)
    return found


def _checked_fault(name: str, definition: _Definition) -> Mapping[str, Any]:
    """A fault of the vocabulary, as it was written."""
    try:
        Fault.model_validate(definition.data)
    except ValidationError as error:
        place = definition.file.place(["faults", name, *_path(error)])
        raise _helpful(error, Fault, f"{place}: fault {name}") from error
    return definition.data


def _extended(name: str, definitions: Mapping[str, _Definition], below: tuple[str, ...]) -> dict[str, Any]:
    """A type with all that it has from those that it extends."""
    definition = definitions[name]
    data = dict(definition.data)
    base = data.pop("extends", None)
    if base is None:
        return data
    place = definition.file.place(["types", name, "extends"])
    if not isinstance(base, str) or base not in definitions:
        raise ConfigError(
            f"{place}: {name} extends {base}, which is no type", nearest(str(base), definitions)
        )
    if base in (*below, name):
        raise ConfigError(f"{place}: {' extends '.join((*below, name, base))}", "Break the circle.")
    return merge_types(_extended(base, definitions, (*below, name)), data)


def _whole_faults(
    kind: Mapping[str, Any], vocabulary: Mapping[str, Mapping[str, Any]], file: YamlFile, name: str
) -> Any:
    """A type's faults, each over the vocabulary's."""
    faults = kind.get("faults", {})
    if not isinstance(faults, Mapping):
        return faults
    whole = {}
    for fault, entry in faults.items():
        try:
            whole[fault] = _over_vocabulary(fault, entry, vocabulary)
        except ConfigError as error:
            place = file.place(["types", name, "faults", fault])
            raise ConfigError(f"{place}: type {name}: {error.message}", error.remedy) from error
    return whole


def _over_vocabulary(fault: str, entry: Any, vocabulary: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The entry, complete.

    Raises:
        ConfigError: it is no entry, or of a new fault and not complete.
    """
    if not isinstance(entry, Mapping):
        what = f"faults.{fault}: expected keys and values, found {kind_of(entry)}"
        raise ConfigError(what, "Write {} to take the fault as the vocabulary has it.")
    if fault in vocabulary:
        return merge_entries({fault: vocabulary[fault]}, {fault: entry})[fault]  # type: ignore[no-any-return]
    if not entry.keys() >= _NEW_FAULT:
        remedy = f"{nearest(fault, vocabulary)} A new fault needs effect and duration."
        raise ConfigError(f"faults.{fault}: there is no such fault", remedy)
    return dict(entry)


def _validated(document: Mapping[str, Any], file: YamlFile, name: str) -> DeviceType:
    try:
        return DeviceType.model_validate(document)
    except ValidationError as error:
        place = file.place(["types", name, *_path(error)])
        raise _helpful(error, DeviceType, f"{place}: type {name}") from error


def _path(error: ValidationError) -> tuple[Any, ...]:
    """Where the first problem is."""
    first = error.errors()[0]
    return (*first["loc"], *first.get("ctx", {}).get("path", ()))


def _helpful(error: ValidationError, model: type[BaseModel], place: str) -> ConfigError:
    refused = refusal(error, model, place)
    message = refused.message.replace(".[key]", "").replace("a valid tuple", "a list")
    first = error.errors()[0]
    remedy = first.get("ctx", {}).get("remedy") or refused.remedy
    if first["type"] == "string_type" and isinstance(first["input"], bool | int | float):
        remedy = "Put it in quotes."
    return ConfigError(message, remedy)


def group_type(
    catalogue: DeviceCatalogue, group: Group, fleet_chances: FaultChances | None = None, place: str = ""
) -> DeviceType:
    """The type of a group's devices: the catalogue's with the group's changes, and the fleet's to the faults.

    Args:
        catalogue: where the group's type is.
        group: `metrics`, `drop_metrics` and `faults` are laid over the type, the group's last.
        fleet_chances: its kinds hold for each type that has them; one that is in no vocabulary for each that has its
            metrics.
        place: what errors call the group.

    Raises:
        ConfigError: there is no such type, or the changes make no sense for it.
    """
    place = place or f"group of {group.type}"
    if group.type not in catalogue.types:
        raise ConfigError(
            f"{place}: there is no device type {group.type}", nearest(group.type, catalogue.types)
        )
    chances = fleet_chances or FaultChances()
    if not (group.metrics or group.drop_metrics or group.faults.kinds or chances.kinds):
        kind = catalogue.types[group.type]
    else:
        document = _with_metrics(catalogue.documents[group.type], group, place)
        document["faults"] = merge_entries(document["faults"], _fleet_kinds(catalogue, chances, document))
        document["faults"] |= _group_kinds(catalogue, group, document["faults"], place)
        try:
            kind = DeviceType.model_validate(document)
        except ValidationError as error:
            raise _helpful(error, DeviceType, place) from error
    if chances.enabled and group.faults.enabled:
        return kind
    return kind.model_copy(update={"fault_factor": 0.0})


def _with_metrics(document: Mapping[str, Any], group: Group, place: str) -> dict[str, Any]:
    for name in group.drop_metrics:
        if name not in document["metrics"]:
            raise ConfigError(f"{place}: drop_metrics: no metric {name}", nearest(name, document["metrics"]))
    merged = merge_types(document, {"metrics": group.metrics})
    for name, changes in group.metrics.items():
        if name not in document["metrics"] and "unit" not in changes:
            remedy = f"{nearest(name, document['metrics'])} A new metric needs a unit."
            raise ConfigError(f"{place}: metrics.{name}: {group.type} has no such metric", remedy)
    return without_metrics(merged, frozenset(group.drop_metrics))


def _fleet_kinds(
    catalogue: DeviceCatalogue, chances: FaultChances, document: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Those of the fleet's changes that concern this type."""
    kinds: dict[str, Mapping[str, Any]] = {}
    for name, entry in chances.kinds.items():
        if name in document["faults"]:
            kinds[name] = entry
        elif entry.keys() >= _NEW_FAULT and name not in catalogue.vocabulary:
            if set(entry.get("metrics", ())) <= document["metrics"].keys():
                kinds[name] = entry
        elif name not in catalogue.vocabulary:
            remedy = f"{nearest(name, catalogue.vocabulary)} A new fault needs effect and duration."
            raise ConfigError(f"fleet: faults.kinds.{name}: no such fault", remedy)
    return kinds


def _group_kinds(
    catalogue: DeviceCatalogue, group: Group, faults: Mapping[str, Any], place: str
) -> dict[str, Mapping[str, Any]]:
    """The group's faults that it changes or adds, complete."""
    known = {**catalogue.vocabulary, **faults}
    try:
        return {name: _over_vocabulary(name, entry, known) for name, entry in group.faults.kinds.items()}
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}", error.remedy) from error
