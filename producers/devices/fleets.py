"""Fleet files: the shipped ones and a user's own, and fleets of another size."""

from pathlib import Path

from pydantic import ValidationError

from producers.devices.fleet_spec import FleetSpec, Group
from producers.devices.lines import YamlFile
from producers.devices.templates import fields_of
from producers.documents import kind_of, nearest, refusal
from schemas.errors import ConfigError

_SHIPPED = Path(__file__).parent / "fleets"
_SUFFIXES = (".yaml", ".yml")


def shipped_fleets() -> list[str]:
    """Names of the fleets that come with Sigmawatch."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def load_fleet(name_or_path: str | Path) -> FleetSpec:
    """A fleet: one of the shipped by its name, or a file. The files that it names are given back as absolute paths.

    Raises:
        ConfigError: there is none, or it has an error; says file, line, key and remedy.
    """
    path = _fleet_path(str(name_or_path))
    file = YamlFile.read(path)
    if not isinstance(file.data, dict):
        raise ConfigError(f"{path}: expected a fleet, found {kind_of(file.data)}", "Begin with `groups:`.")
    try:
        spec = FleetSpec.model_validate(file.data)
    except ValidationError as error:
        raise refusal(error, FleetSpec, file.place(error.errors()[0]["loc"])) from error
    return spec.model_copy(
        update={
            "types": tuple(_beside(path, name) for name in spec.types),
            "cities_file": spec.cities_file and _beside(path, spec.cities_file),
            "factors_file": spec.factors_file and _beside(path, spec.factors_file),
        }
    )


def _fleet_path(name: str) -> Path:
    known = shipped_fleets()
    if name in known:
        return _SHIPPED / f"{name}.yaml"
    path = Path(name)
    if path.suffix in _SUFFIXES or path.exists():
        return path
    raise ConfigError(f"there is no fleet {name}", f"{nearest(name, known)} Or give a YAML file.")


def _beside(fleet: Path, name: str) -> str:
    return str((fleet.parent / Path(name).expanduser()).absolute())


def spread_fleet(spec: FleetSpec, devices: int) -> FleetSpec:
    """The fleet with exactly so many devices, its groups in proportion (by the largest remainders).

    Each group keeps at least one device where there are enough; where there are not, the largest groups do, of equal
    ones the first. A group whose devices are all called the same stays at one.

    Raises:
        ConfigError: fewer than one, or every group stays at one and they are too few.
    """
    if devices < 1:
        raise ConfigError(f"{devices} devices", "Give at least 1.")
    groups = list(spec.groups)
    if devices < len(groups):
        kept = sorted(sorted(range(len(groups)), key=lambda number: -groups[number].count)[:devices])
        return _with_counts(spec, [(groups[number], 1) for number in kept])
    growing = [number for number, group in enumerate(groups) if _can_grow(group)]
    counts = [1] * len(groups)
    rest = devices - len(groups)
    if rest and not growing:
        raise ConfigError(
            f"the fleet has {len(groups)} devices with ids of their own and cannot have {devices}",
            "Put {number} or {token} into a group's device_id.",
        )
    # The one that each group has is part of its share.
    weights = [groups[number].count for number in growing]
    for number, share in zip(growing, _shares(rest + len(growing), weights), strict=True):
        counts[number] = share
    return _with_counts(spec, list(zip(groups, counts, strict=True)))


def _shares(total: int, weights: list[int]) -> list[int]:
    """`total` in proportion to the weights, at least one for each."""
    if not weights:
        return []
    shares = [max(1, total * weight // sum(weights)) for weight in weights]
    remainders = [total * weight % sum(weights) for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-remainders[at], at))
    while sum(shares) < total:
        for at in order[: total - sum(shares)]:
            shares[at] += 1
    while sum(shares) > total:
        shares[shares.index(max(shares))] -= 1
    return shares


def _can_grow(group: Group) -> bool:
    return group.device_id is None or bool(fields_of(group.device_id) & {"number", "token"})


def _with_counts(spec: FleetSpec, counts: list[tuple[Group, int]]) -> FleetSpec:
    groups = tuple(group.model_copy(update={"count": count}) for group, count in counts)
    return spec.model_copy(update={"groups": groups})
