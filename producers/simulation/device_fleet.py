"""A fleet of devices that live: stepped along virtual time, and changed by commands on the way.

Virtual time is a fixed grid: every device is read once per interval, at an offset of its own, at times that do not
depend on when the simulation began. The fleet only goes forward; how the stretch is cut into pieces changes no reading.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from itertools import count
from pathlib import Path

import numpy as np

from producers.batches import ReadingBatch, SeriesTable
from producers.devices.catalogue import DeviceCatalogue
from producers.devices.factors import load_factors
from producers.devices.fleet_spec import DeviceSpec, FaultChances, FleetSpec, Group
from producers.exact import Stream, key_of, uniform
from producers.simulation import commands
from producers.simulation.commands import Command, CommandError, Outcome
from producers.simulation.population import Population
from producers.simulation.program import FOREVER, NONE, Program
from producers.simulation.step_kernel import ZONE_STEP_US, begin_fault, step
from schemas.errors import ConfigError
from schemas.readings import Device, Location


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Devices, those whose link is up, those that are switched on, and those with an active fault."""

    devices: int
    online: int
    enabled: int
    faulty: int


class DeviceFleet:
    """Devices, stepped in columns. Not thread-safe: commands come between two calls of `between`.

    Args:
        spec: which devices.
        catalogue: their types.
        seed: same seed, same commands: same readings, to the bit.
        interval_us: µs between two readings of a device.
        keep: of the devices that the spec names, those that this fleet has; a shard keeps its own.
        devices: of the spec's groups just these, as a snapshot has them.

    Raises:
        ConfigError: the spec makes no sense.
    """

    def __init__(
        self,
        spec: FleetSpec,
        catalogue: DeviceCatalogue,
        seed: int,
        interval_us: int,
        keep: Callable[[str], bool] | None = None,
        devices: Sequence[DeviceSpec] | None = None,
    ) -> None:
        if interval_us < 1:
            raise ConfigError(
                "readings of one device are less than a microsecond apart",
                "Take more devices or a lower rate.",
            )
        self.seed = seed
        self.interval_us = interval_us
        self.factors_file = spec.factors_file
        self.position_us: int | None = None
        factors = None if spec.factors_file is None else load_factors(Path(spec.factors_file))
        self.population = Population(
            catalogue, seed, interval_us, keep or (lambda _device_id: True), spec.faults, factors
        )
        self._due: list[tuple[int, int, Command]] = []
        self._order = count()
        self._changed: dict[str, None] = {}
        self.population.add(spec, devices)

    @property
    def devices(self) -> list[Device]:
        """The device records, by id."""
        return [self.population.record(number) for number in self.population.by_id()]

    @property
    def table(self) -> SeriesTable:
        """Names of the series and faults that the batches number."""
        return self.population.table

    @property
    def rate(self) -> float:
        """Readings per second of virtual time, when every device sends."""
        return max(self.population.rows, 1) * 1e6 / self.interval_us

    @property
    def episodes(self) -> dict[str, int]:
        """Fault -> episodes that began, by themselves or by a command."""
        started = self.population.started.tolist()
        return {self.table.faults[number]: times for number, times in enumerate(started) if times}

    @property
    def counts(self) -> "FleetCounts":
        """How many devices there are, and in what state."""
        devices = self.population.devices
        return FleetCounts(
            devices=len(devices),
            online=int(devices["online"].sum()),
            enabled=int(devices["enabled"].sum()),
            faulty=int(self.population.faulty(self.position_us or 0).sum()),
        )

    @property
    def scheduled(self) -> list[tuple[int, Command]]:
        """Commands that wait for their virtual time, in the order in which they will be carried out."""
        return [(at, what) for at, _, what in sorted(self._due, key=lambda entry: entry[:2])]

    def take_changed(self) -> list[Device]:
        """The records of devices that were created or changed since the last call."""
        numbers = [self.population.number_of(device_id) for device_id in self._changed]
        self._changed.clear()
        return [self.population.record(number) for number in numbers if number is not None]

    # Going forward

    def between(self, begin_us: int, end_us: int) -> ReadingBatch:
        """All readings with begin <= time < end, by time; scheduled commands are carried out on the way.

        Raises:
            ValueError: `begin_us` is before what was already stepped.
            CommandError: a scheduled command makes no sense.
        """
        if self.position_us is not None and begin_us < self.position_us:
            raise ValueError(f"the fleet is at {self.position_us}: {begin_us} is over")
        pieces = []
        self.position_us = begin_us
        while self._due and self._due[0][0] < end_us:
            at, _, what = heapq.heappop(self._due)
            at = max(at, self.position_us)
            pieces.append(self._step(self.position_us, at))
            self.position_us = at
            self.apply(what)
        pieces.append(self._step(self.position_us, end_us))
        self.position_us = end_us
        return pieces[0] if len(pieces) == 1 else ReadingBatch.joined(pieces)

    def next_time(self, time_us: int) -> int:
        """When the first reading at or after `time_us` is due; an interval later where there is no device."""
        devices = self.population.devices
        if not len(devices):
            return time_us + self.interval_us
        number, slot = divmod(self._place_at(time_us), len(devices))
        return number * self.interval_us + int(devices["offset"][slot])

    def skip_to(self, time_us: int) -> None:
        """Go to a virtual time without reading anything: counters, faults and states stand still meanwhile."""
        if self.position_us is not None and time_us > self.position_us:
            gap, devices = time_us - self.position_us, self.population.devices
            devices["last_us"][devices["last_us"] != NONE] += gap
            devices["fault_begin"] += gap
            devices["fault_end"][devices["fault_end"] != FOREVER] += gap
        self.position_us = time_us

    def schedule(self, time_us: int, what: Command) -> None:
        """Carry a command out at a virtual time; of several at one time, in the order of the calls."""
        heapq.heappush(self._due, (time_us, next(self._order), what))

    def _place_at(self, time_us: int) -> int:
        """The grid place of the first reading at or after `time_us`."""
        offsets = self.population.devices["offset"]
        number, rest = divmod(time_us, self.interval_us)
        return number * len(offsets) + int(np.searchsorted(offsets, rest))

    def _step(self, begin_us: int, end_us: int) -> ReadingBatch:
        of = self.population
        first, last = self._place_at(begin_us), self._place_at(end_us)
        if last <= first:
            return ReadingBatch.of([], [], [], [], [])
        room = ((last - first) // len(of.devices) + 1) * of.rows
        series, time, fault, fault_end = (np.empty(room, np.int64) for _ in range(4))
        value = np.empty(room)
        zone_begin = begin_us - begin_us % ZONE_STEP_US
        tables = of.tables
        size = step(
            of.devices, of.series, of.numbers,
            tables.types, tables.states, tables.metrics, tables.cycles, tables.follows, tables.faults,
            of.zones.offsets(zone_begin, end_us, ZONE_STEP_US), zone_begin,
            self.interval_us, first, last, series, time, value, fault, fault_end, of.started,
        )  # fmt: skip
        return ReadingBatch(series, time, value, fault, fault_end).rows(0, size)

    # Commands

    @singledispatchmethod
    def apply(self, what: Command) -> Outcome:
        """Carry out a command at the present virtual time.

        Raises:
            CommandError: it makes no sense, `UnknownDeviceError` and `DeviceExistsError` among them.
            ConfigError: the group or the fault chances that it brings make no sense.
        """
        raise CommandError(f"{type(what).__name__} is no command")

    @apply.register
    def _(self, what: commands.ListDevices) -> Outcome:
        chosen = self.population.selected(what.select, must_exist=False)
        if what.faulty:
            devices = self.population.devices
            faulty = set(devices["member"][self.population.faulty(self.position_us or 0)].tolist())
            chosen = [member for member in chosen if member in faulty]
        views = self.population.views(self._page(chosen, what), self.position_us or 0)
        return Outcome(len(chosen), views)

    @apply.register
    def _(self, what: commands.InjectFault) -> Outcome:
        chosen = self._having(self.population.selected(what.select), what.fault)
        if what.random_one and chosen:
            chosen = [chosen[int(self._draw("choice") * len(chosen))]]
        rows = {member: self._fault_row(member, what.fault) for member in chosen}
        slots = self.population.slots()
        for member, row in rows.items():
            self._inject(slots[member], row, what)
        return self._outcome(chosen)

    @apply.register
    def _(self, what: commands.ClearFaults) -> Outcome:
        devices, slots = self.population.devices, self.population.slots()
        faulty = self.population.faulty(self.position_us or 0)
        chosen = [member for member in self.population.selected(what.select) if faulty[slots[member]]]
        devices["fault"][[slots[member] for member in chosen]] = NONE
        return self._outcome(chosen)

    @apply.register
    def _(self, what: commands.UpdateDevices) -> Outcome:
        chosen = self.population.selected(what.select)
        updated = {number: self._updated(number, what) for number in chosen}
        slots = self.population.slots()
        for number, spec in updated.items():
            self._update(number, slots[number], spec, what)
        self.population.set_chances(chosen)
        return self._outcome(chosen)

    @apply.register
    def _(self, what: commands.CreateDevices) -> Outcome:
        group = what.group if what.exact else self.population.with_free_ids(what.group)
        added = self.population.add(FleetSpec(groups=(group,)))
        self._changed |= dict.fromkeys(self.population.member(number).spec.device_id for number in added)
        return self._outcome(added)

    @apply.register
    def _(self, what: commands.DeleteDevices) -> Outcome:
        chosen = self.population.selected(what.select)
        outcome = self._outcome(chosen)
        self.population.remove(chosen)
        return outcome

    @apply.register
    def _(self, what: commands.SetFaultChances) -> Outcome:
        of = self.population
        kinds = [number for number, group in enumerate(of.groups) if what.type in {None, group.type}]
        if not kinds:
            raise CommandError(
                f"the fleet has no device of type {what.type}",
                f"It has {', '.join(sorted({group.type for group in of.groups}))}.",
            )
        changed = {number: _with_chances(of.groups[number], what.chances) for number in kinds}
        programs = {number: of.compiled(group) for number, group in changed.items()}
        for number, group in changed.items():
            of.groups[number] = group
        of.replace_programs(programs)
        touched = [number for number, member in of.members() if member.spec.group in changed]
        of.set_chances(touched)
        return Outcome(len(touched))

    def _outcome(self, members: list[int]) -> Outcome:
        """Of a change: how many, and the first of them."""
        return Outcome(len(members), self.population.views(members[: commands.SHOWN], self.position_us or 0))

    def _page(self, members: list[int], what: commands.ListDevices) -> list[int]:
        """Those of the members, sorted by device id, that a list shows, in its order."""
        if what.newest:
            devices = self.population.devices
            last = dict(zip(devices["member"].tolist(), devices["last_us"].tolist(), strict=True))
            members = sorted((one for one in members if last[one] != NONE), key=lambda one: -last[one])
        elif what.after is not None:
            behind = bisect_right(
                members, what.after, key=lambda one: self.population.member(one).spec.device_id
            )
            members = members[behind:]
        return members[what.offset : None if what.limit is None else what.offset + what.limit]

    def _having(self, members: list[int], fault: str | None) -> list[int]:
        """Those of the members whose type has the fault, or any that comes by itself.

        Raises:
            CommandError: none has.
        """
        kinds = {number: _knows(program, fault) for number, program in enumerate(self.population.programs)}
        having = [one for one in members if kinds[self.population.member(one).spec.group]]
        if members and not having:
            self._fault_row(members[0], fault)
        return having

    def _draw(self, name: str) -> float:
        """A draw in [0, 1) for a choice at the present virtual time."""
        key = np.array([key_of(self.seed, name)], np.uint64)
        return float(uniform(key, np.array([self.position_us or 0]), Stream.CHOICE)[0])

    def _fault_row(self, number: int, fault: str | None) -> int:
        """The row of the named fault for a member, or of one drawn by weight."""
        spec = self.population.member(number).spec
        program = self.population.programs[spec.group]
        if fault is None:
            shares = program.faults["share"]
            if not len(shares) or shares[-1] == 0.0:
                raise CommandError(
                    f"devices of type {program.type.name} have no fault that comes by itself", "Name a fault."
                )
            fault = program.fault_names[
                int(np.searchsorted(shares, self._draw(spec.device_id), side="right"))
            ]
        if fault not in program.fault_names:
            raise CommandError(
                f"devices of type {program.type.name} have no fault {fault!r}",
                f"They have {', '.join(sorted(program.fault_names))}.",
            )
        return self.population.fault_row(spec.group, fault)

    def _inject(self, slot: int, row: int, what: commands.InjectFault) -> None:
        of = self.population
        device, fault = of.devices[slot], of.tables.faults[row]
        begin = of.next_reading(slot, self.position_us or 0)
        metrics = int(of.tables.types["metrics"][device["type"]])
        begin_fault(of.devices, of.series, slot, of.tables.faults, row, begin, self.interval_us, metrics)
        if what.intensity is not None:
            device["fault_amount"] = np.copysign(what.intensity, device["fault_amount"])
        length = float(device["fault_length"])
        if what.readings is not None:
            length = float(what.readings * self.interval_us)
        elif what.seconds is not None:
            length = what.seconds * 1e6
        device["fault_length"] = length
        device["fault_onset"] = length * (float(fault["onset"]) if what.onset is None else what.onset)
        device["fault_end"] = FOREVER if what.until_cleared else begin + int(length)
        device["fault_injected"] = 1
        of.started[fault["number"]] += 1

    def _updated(self, number: int, what: commands.UpdateDevices) -> DeviceSpec:
        """A member's spec after the update, which is sound; changes nothing yet."""
        spec = self.population.member(number).spec
        kind = self.population.programs[spec.group].type
        if what.state is not None and what.state not in kind.states:
            raise CommandError(
                f"devices of type {kind.name} have no state {what.state!r}",
                f"They have {', '.join(kind.states) or 'none'}.",
            )
        try:
            parameters = kind.parameter_values(what.parameters, spec.parameters)
        except ValueError as error:
            raise CommandError(
                str(error), f"{kind.name} has {', '.join(kind.parameters) or 'no parameters'}."
            ) from error
        return _with_changes(spec, what, parameters)

    def _update(self, number: int, slot: int, spec: DeviceSpec, what: commands.UpdateDevices) -> None:
        of = self.population
        member = of.member(number)
        if spec != member.spec:
            self._changed[spec.device_id] = None
            of.set_spec(number, slot, spec)
        device = of.devices[slot]
        if what.fault_factor is not None:
            member.fault_factor = what.fault_factor
        if what.online is not None:
            device["online"] = int(what.online)
        if what.enabled is not None:
            if what.enabled and not device["enabled"]:
                device["last_us"] = of.next_reading(slot, self.position_us or 0) - self.interval_us
            device["enabled"] = int(what.enabled)
        if what.state is not None:
            device["state"] = of.programs[spec.group].state_names.index(what.state)
        if what.reset_counters:
            first = int(device["first_series"])
            of.series["total"][first : first + len(of.programs[spec.group].metrics)] = 0.0


def _with_changes(spec: DeviceSpec, what: commands.UpdateDevices, parameters: dict[str, float]) -> DeviceSpec:
    given = {
        name: value
        for name in ("name", "manufacturer", "model", "firmware")
        if (value := getattr(what, name)) is not None
    }
    if what.place is not None:
        given["location"] = replace(spec.location or Location(), name=what.place)
    return replace(
        spec,
        parameters=parameters,
        attributes={**spec.attributes, **what.attributes},
        **given,
    )


def _knows(program: Program, fault: str | None) -> bool:
    if fault is not None:
        return fault in program.fault_names
    shares = program.faults["share"]
    return bool(len(shares)) and bool(shares[-1] > 0.0)


def _with_chances(group: Group, chances: FaultChances) -> Group:
    """The group with new chances laid over its own."""
    old = group.faults
    kinds = {name: {**old.kinds.get(name, {}), **what} for name, what in chances.kinds.items()}
    merged = FaultChances(
        probability=old.probability if chances.probability is None else chances.probability,
        enabled=chances.enabled,
        kinds={**old.kinds, **kinds},
    )
    return group.model_copy(update={"faults": merged})
