"""A running fleet on disk, so that energy counters, drifts and faults go on after a restart.

A snapshot is a numpy archive of plain arrays (no pickle): the columns, and one JSON document with everything else.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from producers.devices.catalogue import DeviceCatalogue
from producers.devices.fleet_spec import DeviceSpec, FaultChances, FleetSpec, Group
from producers.simulation.columns import DEVICE, SERIES
from producers.simulation.commands import command_of, to_json
from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.program import NONE
from schemas.errors import ConfigError, InputError

_VERSION = 1
_OWN = "own."
_SPECS = TypeAdapter(list[DeviceSpec])
_GROUPS = TypeAdapter(tuple[Group, ...])
_DEVICE_STATE = tuple(
    name
    for name in DEVICE.names or ()
    if name in {"online", "enabled", "state", "last_us"} or name.startswith("fault_")
)
_SERIES_STATE = ("level", "wander", "healthy", "value", "total", "held")


def save(
    fleet: DeviceFleet,
    path: Path,
    extra: dict[str, Any] | None = None,
    arrays: Mapping[str, NDArray[np.generic]] | None = None,
) -> None:
    """Write a snapshot; the file is replaced in one step, so that a crash leaves the old one.

    Args:
        fleet: at a virtual time up to which everything was sent.
        path: where to.
        extra: JSON data of the caller's own.
        arrays: the caller's own, by name.

    Raises:
        InputError: it cannot be written.
    """
    of = fleet.population
    order = of.by_id()
    slots = of.slots()
    rows = of.devices[[slots[number] for number in order]]
    series = [
        of.series[
            int(row["first_series"]) : int(row["first_series"]) + len(of.programs[int(row["type"])].metrics)
        ]
        for row in rows
    ]
    document = {
        "version": _VERSION,
        "seed": fleet.seed,
        "interval_us": fleet.interval_us,
        "position_us": fleet.position_us,
        "groups": _GROUPS.dump_python(tuple(of.groups), mode="json"),
        "metrics": [list(program.metric_names) for program in of.programs],
        "factors_file": fleet.factors_file,
        "chances": of.chances.model_dump(mode="json"),
        "devices": [asdict(of.member(number).spec) for number in order],
        "fault_factors": [of.member(number).fault_factor for number in order],
        "faults": [
            of.fault_name(slots[number]) if of.devices["fault"][slots[number]] != NONE else None
            for number in order
        ],
        "episodes": fleet.episodes,
        "scheduled": [[at, to_json(what)] for at, what in fleet.scheduled],
        "extra": extra or {},
    }
    buffer = io.BytesIO()
    columns: dict[str, Any] = {
        "document": np.frombuffer(json.dumps(document).encode(), np.uint8),
        "series": np.concatenate([np.zeros(0, SERIES), *series]),
        "devices": rows,
        **{_OWN + name: array for name, array in (arrays or {}).items()},
    }
    np.savez(buffer, **columns)
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: the simulation's state cannot be written: {error.strerror}") from error


def load(
    path: Path, catalogue: DeviceCatalogue, keep: Callable[[str], bool] | None = None
) -> tuple[DeviceFleet, dict[str, Any], dict[str, NDArray[np.generic]]]:
    """The fleet of a snapshot, at its position and with its scheduled commands, and the caller's own data and arrays.

    A metric that its type no longer has is dropped, a new one starts fresh, and so does a fault that is gone.

    Raises:
        InputError: the file cannot be read, or is no snapshot.
        ConfigError: its devices do not fit the catalogue.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            document = json.loads(archive["document"].tobytes())
            devices, series = archive["devices"], archive["series"]
            own = {name.removeprefix(_OWN): archive[name] for name in archive.files if name.startswith(_OWN)}
        if document["version"] != _VERSION:
            raise ConfigError(
                f"{path}: a state of version {document['version']}, and this is {_VERSION}",
                "Start without --resume; the old state is replaced.",
            )
        specs = _SPECS.validate_python(document["devices"])
        spec = FleetSpec(
            groups=_GROUPS.validate_python(document["groups"]),
            faults=FaultChances.model_validate(document["chances"]),
            factors_file=document["factors_file"],
        )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", "Start without --resume.") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, ValidationError) as error:
        raise InputError(f"{path} is no state of a simulation", "Start without --resume.") from error
    fleet = DeviceFleet(spec, catalogue, document["seed"], document["interval_us"], keep, specs)
    fleet.position_us = document["position_us"]
    _restore(fleet, document, devices, series)
    for at, what in document["scheduled"]:
        fleet.schedule(at, command_of(what))
    return fleet, document["extra"], own


def _restore(
    fleet: DeviceFleet, document: dict[str, Any], devices: NDArray[Any], series: NDArray[Any]
) -> None:
    """Lay the saved columns over those of the fresh fleet."""
    of = fleet.population
    slots = of.slots()
    first = 0
    for row, saved, factor, fault in zip(
        devices, document["devices"], document["fault_factors"], document["faults"], strict=True
    ):
        metrics = document["metrics"][saved["group"]]
        own, first = series[first : first + len(metrics)], first + len(metrics)
        number = of.number_of(saved["device_id"])
        if number is None:
            continue
        of.member(number).fault_factor = factor
        device = of.devices[slots[number]]
        for name in _DEVICE_STATE:
            device[name] = row[name]
        kind = int(device["type"])
        program = of.programs[kind]
        device["state"] = min(int(row["state"]), max(len(program.states) - 1, 0))
        device["fault"] = NONE if fault is None else of.fault_row(kind, fault)
        for place, metric in enumerate(program.metric_names):
            if metric in metrics:
                target = of.series[int(device["first_series"]) + place]
                for name in _SERIES_STATE:
                    target[name] = own[metrics.index(metric)][name]
    for name, times in document["episodes"].items():
        if name in fleet.table.faults:
            of.started[fleet.table.faults.index(name)] = times
    of.set_chances(number for number, _ in of.members())
