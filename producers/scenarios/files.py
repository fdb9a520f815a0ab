"""Scenario files: those that are shipped, and a user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from producers.devices.catalogue import DeviceCatalogue, group_type, load_catalogue
from producers.devices.fleet_spec import FleetSpec
from producers.devices.fleets import load_fleet
from producers.documents import nearest, read_yaml, validate
from producers.scenarios.check import check_entries
from producers.scenarios.model import Entry, Expect, Scenario, ScenarioFile
from producers.scenarios.timeline import moments
from schemas.errors import ConfigError

_SHIPPED = Path(__file__).parent / "shipped"
_REMEDY = "docs/scenarios.md describes the keys."
_MAX_MOMENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class ScenarioTitle:
    """A shipped scenario, for a list of them."""

    name: str
    title: str
    description: str


def list_scenarios() -> list[ScenarioTitle]:
    """The shipped scenarios, by name."""
    found = []
    for path in sorted(_SHIPPED.glob("*.yaml")):
        file = validate(ScenarioFile, read_yaml(path), str(path))
        found.append(ScenarioTitle(path.stem, file.title, " ".join(file.description.split())))
    return found


def load_scenario(name_or_path: str | Path) -> Scenario:
    """A shipped scenario by its name, or one from a file.

    The scenario's fleet names its types' files by their whole paths.

    Raises:
        ConfigError: there is no such scenario, or it has an error; says file, entry, key and remedy.
    """
    path = _path_of(name_or_path)
    file = validate(ScenarioFile, read_yaml(path), str(path), _REMEDY)
    fleet = _with_seed(_fleet(file.fleet, path), file.seed)
    named = [_entry(data, number, path) for number, data in enumerate(file.timeline, 1)]
    in_time = sorted(named, key=lambda one: one[1].at)
    catalogue = load_catalogue([Path(name) for name in fleet.types])
    check_entries(in_time, fleet, catalogue, file.duration)
    _check_size(path, [entry for _, entry in named], file.duration)
    _check_expect(path, file.expect, fleet, catalogue)
    return Scenario(
        name=path.stem if path.parent == _SHIPPED else str(path),
        path=path,
        title=file.title,
        description=" ".join(file.description.split()),
        fleet=fleet,
        seed=fleet.seed,
        interval=file.interval or fleet.interval,
        duration=file.duration,
        timeline=tuple(entry for _, entry in named),
        expect=file.expect,
    )


def _path_of(name_or_path: str | Path) -> Path:
    shipped = _SHIPPED / f"{str(name_or_path).replace('_', '-')}.yaml"
    if shipped.parent == _SHIPPED and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file() or path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    raise ConfigError(
        f"there is no scenario {name_or_path}",
        f"{nearest(str(name_or_path), (path.stem for path in _SHIPPED.glob('*.yaml')))} Or give a file.",
    )


def _fleet(fleet: str | Mapping[str, Any], path: Path) -> FleetSpec:
    """The scenario's fleet; files are looked for beside the scenario's."""
    if isinstance(fleet, str):
        beside = path.parent / fleet
        try:
            return load_fleet(beside if beside.is_file() else fleet)
        except ConfigError as error:
            raise ConfigError(f"{path}: fleet: {error.message}", error.remedy) from error
    spec = validate(FleetSpec, fleet, f"{path}: fleet", _REMEDY)
    here = path.parent.absolute()
    return spec.model_copy(
        update={
            "types": tuple(str(here / name) for name in spec.types),
            "cities_file": spec.cities_file and str(here / spec.cities_file),
            "factors_file": spec.factors_file and str(here / spec.factors_file),
        }
    )


def _with_seed(fleet: FleetSpec, seed: int | None) -> FleetSpec:
    return fleet if seed is None else fleet.model_copy(update={"seed": seed})


def _entry(data: Mapping[str, Any], number: int, path: Path) -> tuple[str, Entry]:
    """What errors call an entry, and the entry."""
    at = data.get("at")
    place = f"{path}: timeline entry {number}" + ("" if at is None else f" (at {at})")
    return place, validate(Entry, data, place, _REMEDY)


def _check_size(path: Path, entries: list[Entry], duration: float | None) -> None:
    """Repeats are cheap to write and dear to keep."""
    count = 0
    for entry in entries:
        count += sum(1 for _ in islice(moments(entry, duration), _MAX_MOMENTS + 1 - count))
    if count > _MAX_MOMENTS:
        raise ConfigError(f"{path}: more than {_MAX_MOMENTS:,} things happen", "Repeat less often.")


def _check_expect(path: Path, expect: Expect, fleet: FleetSpec, catalogue: DeviceCatalogue) -> None:
    known = {fault for group in fleet.groups for fault in group_type(catalogue, group, fleet.faults).faults}
    for kind in expect.faults:
        if kind not in known:
            raise ConfigError(f"{path}: expect.faults: the fleet has no fault {kind}", nearest(kind, known))
