"""The devices of a running fleet and their columns: who is there, of which type, in what state."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.batches import SeriesTable
from producers.devices.catalogue import DeviceCatalogue, group_type
from producers.devices.expand import device_record, expand
from producers.devices.factors import FaultFactors, fault_factor
from producers.devices.fleet_spec import DeviceSpec, FaultChances, FleetSpec, Group
from producers.exact import Stream, key_of, uniform
from producers.simulation.columns import DEVICE, SERIES, TypeTables, new_devices, new_series
from producers.simulation.commands import (
    DeviceExistsError,
    DeviceView,
    FaultView,
    Selector,
    UnknownDeviceError,
)
from producers.simulation.program import FOREVER, NONE, Program, compile_type, device_numbers
from producers.simulation.selecting import matcher
from producers.simulation.zones import Zones
from schemas.errors import ConfigError
from schemas.readings import Device

DEFAULT_PROBABILITY = 0.001
"""Chance of a fault per reading, where neither the group nor the fleet says one."""
MAX_DEVICES = 1_000_000

Table = NDArray[Any]


@dataclass(slots=True)
class Member:
    """A device of the fleet, and what multiplies its chance of faults beside what it is made of."""

    spec: DeviceSpec
    fault_factor: float = 1.0


class Population:
    """Devices in columns. Members are known by a number that they keep, rows of the columns come and go.

    Args:
        catalogue: the types.
        seed: of every draw.
        interval_us: µs between two readings of a device.
        keep: which device ids this population has; a shard keeps its own.
        chances: how often faults come by themselves, where a group does not say it.
        factors: what manufacturers and firmware make of that; the shipped table if not given.

    Attributes:
        table: names of the series and faults, which only grows.
        groups, programs: group i has the devices of type i of the columns.
        devices, series, numbers, tables: what the step works on.
        started: (fault names of the table,) episodes so far.
        rows: series of all devices.
    """

    def __init__(
        self,
        catalogue: DeviceCatalogue,
        seed: int,
        interval_us: int,
        keep: Callable[[str], bool],
        chances: FaultChances,
        factors: FaultFactors | None = None,
    ) -> None:
        self.table = SeriesTable()
        self.groups: list[Group] = []
        self.programs: list[Program] = []
        self.tables = TypeTables.of([])
        self.devices: Table = np.zeros(0, DEVICE)
        self.series: Table = np.zeros(0, SERIES)
        self.numbers: NDArray[np.float64] = np.zeros(0)
        self.started: NDArray[np.int64] = np.zeros(0, np.int64)
        self.zones = Zones()
        self.rows = 0
        self.chances = chances
        self._factors = factors
        self._catalogue = catalogue
        self._seed = seed
        self._interval_us = interval_us
        self._keep = keep
        self._members: list[Member | None] = []
        self._by_id: dict[str, int] = {}
        self._slots: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._by_id

    # Who is there

    def member(self, number: int) -> Member:
        """A member that is still there."""
        member = self._members[number]
        if member is None:
            raise IndexError(number)
        return member

    def members(self) -> Iterator[tuple[int, Member]]:
        """All that are there, with their numbers."""
        return ((number, member) for number, member in enumerate(self._members) if member is not None)

    def by_id(self) -> list[int]:
        """All members, by device id."""
        return [self._by_id[device_id] for device_id in sorted(self._by_id)]

    def number_of(self, device_id: str) -> int | None:
        """The member of an id."""
        return self._by_id.get(device_id)

    def slots(self) -> dict[int, int]:
        """Member -> its row in `devices`; good until devices come or go."""
        if self._slots is None:
            self._slots = {member: slot for slot, member in enumerate(self.devices["member"].tolist())}
        return self._slots

    def selected(self, select: Selector, *, must_exist: bool = True) -> list[int]:
        """Members that a selector means, by device id.

        Raises:
            UnknownDeviceError: there is none of the device id that it names, and it must exist.
        """
        if select.device_id in self._by_id and select == Selector(select.device_id):
            return [self._by_id[select.device_id]]
        fits = matcher(select)
        found = [
            number
            for number, member in self.members()
            if fits(member.spec, self.groups[member.spec.group].type)
        ]
        if not found and must_exist and select.device_id is not None:
            raise UnknownDeviceError(
                f"there is no device {select.device_id}", "`sigmawatch devices list` shows which there are."
            )
        return sorted(found, key=lambda number: self.member(number).spec.device_id)

    def record(self, number: int) -> Device:
        """The device record of a member."""
        spec = self.member(number).spec
        return device_record(spec, self.programs[spec.group].type)

    # Coming, going, changing

    def add(self, spec: FleetSpec, devices: Sequence[DeviceSpec] | None = None) -> list[int]:
        """Add the devices of a spec, or of its groups just those given; the new members' numbers, by device.

        Raises:
            ConfigError: the spec makes no sense, or there are too many.
            DeviceExistsError: one of them is there already.
        """
        if devices is None:
            devices = expand(spec, self._catalogue, self._seed)
        kept = [device for device in devices if self._keep(device.device_id)]
        if len(self) + len(kept) > MAX_DEVICES:
            raise ConfigError(f"{len(self) + len(kept)} devices", f"Give at most {MAX_DEVICES}.")
        for device in kept:
            if device.device_id in self:
                raise DeviceExistsError(f"there is a device {device.device_id} already", "Give another id.")
        programs = [self.compiled(group) for group in spec.groups]
        first = len(self.groups)
        self.groups += spec.groups
        self.replace_programs({first + number: program for number, program in enumerate(programs)})
        added: list[int] = []
        for number in range(len(programs)):
            own = [replace(device, group=first + number) for device in kept if device.group == number]
            added += self._append(first + number, own)
        self.devices = self.devices[np.lexsort((self.devices["key"], self.devices["offset"]))]
        self._count_rows()
        self.set_chances(added)
        return added

    def _append(self, kind: int, specs: list[DeviceSpec]) -> list[int]:
        if not specs:
            return []
        program = self.programs[kind]
        n, m = len(specs), len(program.metrics)
        first = len(self._members)
        numbers = list(range(first, first + n))
        self._members += [Member(spec) for spec in specs]
        self._by_id |= {spec.device_id: number for spec, number in zip(specs, numbers, strict=True)}
        series = new_series(n * m)
        names = [(spec.device_id, metric) for spec in specs for metric in program.metric_names]
        series["number"] = [self.table.series(*name) for name in names]
        series["key"] = [key_of(self._seed, *name) for name in names]
        devices = new_devices(n)
        devices["member"], devices["type"] = numbers, kind
        devices["first_series"] = len(self.series) + m * np.arange(n)
        devices["first_number"] = len(self.numbers) + program.number_count * np.arange(n)
        devices["zone"] = [self.zones.number(spec.location) for spec in specs]
        devices["key"] = [key_of(self._seed, spec.device_id) for spec in specs]
        devices["offset"] = (devices["key"] % np.uint64(self._interval_us)).astype(np.int64)
        if len(program.states):
            # As devices that have run for long: in each state with its share of the time.
            shares = np.cumsum(1.0 / program.states["leave"])
            draw = uniform(devices["key"], np.zeros(n, np.int64), Stream.STATE)
            devices["state"] = np.searchsorted(shares / shares[-1], draw, side="right")
        own = device_numbers(program, _parameter_columns(program, specs), series["key"].reshape(n, m))
        self.devices = np.concatenate([self.devices, devices])
        self.series = np.concatenate([self.series, series])
        self.numbers = np.concatenate([self.numbers, own.ravel()])
        return numbers

    def remove(self, members: list[int]) -> None:
        """Let members go; the numbers of the others stay."""
        for number in members:
            del self._by_id[self.member(number).spec.device_id]
            self._members[number] = None
        self.devices = self.devices[~np.isin(self.devices["member"], members)]
        self._count_rows()

    def set_spec(self, number: int, slot: int, spec: DeviceSpec) -> None:
        """Give a member, in a row of `devices`, another spec of the same type; its series stay what they are."""
        member, program = self.member(number), self.programs[spec.group]
        changed = spec.parameters != member.spec.parameters
        member.spec = spec
        if changed:
            device = self.devices[slot]
            first, at = int(device["first_series"]), int(device["first_number"])
            keys = self.series["key"][None, first : first + len(program.metrics)]
            own = device_numbers(program, _parameter_columns(program, [spec]), keys)
            self.numbers[at : at + program.number_count] = own[0]

    def with_free_ids(self, group: Group) -> Group:
        """The group, numbered behind the devices that there are; a fixed id stays as it is.

        Raises:
            DeviceExistsError: a fixed id is taken.
        """
        fixed = group.device_id is not None and "{" not in group.device_id
        while True:
            ids = [
                device.device_id for device in expand(FleetSpec(groups=(group,)), self._catalogue, self._seed)
            ]
            taken = next((device_id for device_id in ids if device_id in self), None)
            if taken is None:
                return group
            if fixed:
                raise DeviceExistsError(f"there is a device {taken} already", "Give another id.")
            next_number = max(group.first_number, self._count_of(group.type)) + 1
            group = group.model_copy(update={"first_number": next_number})

    def _count_of(self, kind: str) -> int:
        groups = [number for number, group in enumerate(self.groups) if group.type == kind]
        return int(np.isin(self.devices["type"], groups).sum())

    def compiled(self, group: Group) -> Program:
        """The program of a group's type, with the group's changes.

        Raises:
            ConfigError: they make no sense.
        """
        kind = group_type(self._catalogue, group, self.chances)
        program = compile_type(kind, self._interval_us, self.table)
        new = np.zeros(len(self.table.faults) - len(self.started), np.int64)
        self.started = np.concatenate([self.started, new])
        return program

    def replace_programs(self, programs: Mapping[int, Program]) -> None:
        """Put programs in place or behind; active faults stay, where the type still has them."""
        active = np.flatnonzero(self.devices["fault"] != NONE).tolist()
        names = [self.fault_name(slot) for slot in active]
        for number, program in programs.items():
            self.programs[number : number + 1] = [program]
        self.tables = TypeTables.of(self.programs)
        for slot, name in zip(active, names, strict=True):
            self.devices["fault"][slot] = self.fault_row(int(self.devices["type"][slot]), name)

    def faulty(self, now_us: int) -> NDArray[np.bool_]:
        """Which rows of `devices` have a fault at their next reading."""
        offset = self.devices["offset"]
        upcoming = -((offset - now_us) // self._interval_us) * self._interval_us + offset
        faulty: NDArray[np.bool_] = (self.devices["fault"] != NONE) & (self.devices["fault_end"] > upcoming)
        return faulty

    def fault_row(self, kind: int, name: str) -> int:
        """The row of a type's fault in the faults' table, `NONE` if it has no such fault."""
        known = self.programs[kind].fault_names
        return int(self.tables.types["first_fault"][kind]) + known.index(name) if name in known else NONE

    def fault_name(self, slot: int) -> str:
        """The name of the fault that is active on a device."""
        return self.table.faults[int(self.tables.faults["number"][self.devices["fault"][slot]])]

    def set_chances(self, members: Iterable[int]) -> None:
        """Work out each device's chance of a fault, from the settings and what the device is made of."""
        slots = self.slots()
        for number in members:
            member = self.member(number)
            spec = member.spec
            own, program = self.groups[spec.group].faults, self.programs[spec.group]
            given = (own.probability, self.chances.probability, DEFAULT_PROBABILITY)
            probability = next(chance for chance in given if chance is not None)
            if not (own.enabled and self.chances.enabled):
                probability = 0.0
            factor = program.type.fault_factor * fault_factor(spec.manufacturer, spec.firmware, self._factors)
            self.devices["chance"][slots[number]] = min(1.0, probability * factor * member.fault_factor)

    def _count_rows(self) -> None:
        self._slots = None
        self.rows = int(self.tables.types["metrics"][self.devices["type"]].sum())

    # Views

    def views(self, members: Sequence[int], now_us: int) -> list[DeviceView]:
        """Members as they stand at a virtual time."""
        slots = self.slots()
        return [self._view(number, slots[number], now_us) for number in members]

    def _view(self, number: int, slot: int, now_us: int) -> DeviceView:
        device, spec = self.devices[slot], self.member(number).spec
        program = self.programs[spec.group]
        first = int(device["first_series"])
        values = self.series["value"][first : first + len(program.metrics)].tolist()
        last = int(device["last_us"])
        return DeviceView(
            device=device_record(spec, program.type),
            online=bool(device["online"]),
            enabled=bool(device["enabled"]),
            state=program.state_names[int(device["state"])] if program.state_names else None,
            parameters=program.type.parameter_values({}, spec.parameters),
            values={
                name: value
                for name, value in zip(program.metric_names, values, strict=True)
                if not np.isnan(value)
            },
            time_us=None if last == NONE else last,
            fault=self._fault_view(slot, now_us),
        )

    def _fault_view(self, slot: int, now_us: int) -> FaultView | None:
        device = self.devices[slot]
        if device["fault"] == NONE:
            return None
        end = int(device["fault_end"])
        left = -(-(end - self.next_reading(slot, now_us)) // self._interval_us)
        if end != FOREVER and left <= 0:
            return None
        return FaultView(
            fault=self.fault_name(slot),
            intensity=abs(float(device["fault_amount"])),
            began_us=int(device["fault_begin"]),
            ends_us=None if end == FOREVER else end,
            readings_left=None if end == FOREVER else left,
            injected=bool(device["fault_injected"]),
        )

    def next_reading(self, slot: int, now_us: int) -> int:
        """When the device in a row is read next, at `now_us` or later."""
        offset = int(self.devices["offset"][slot])
        return -((offset - now_us) // self._interval_us) * self._interval_us + offset


def _parameter_columns(program: Program, specs: list[DeviceSpec]) -> dict[str, NDArray[np.float64]]:
    return {
        name: np.array([spec.parameters.get(name, parameter.default) for spec in specs], np.float64)
        for name, parameter in program.type.parameters.items()
    }
