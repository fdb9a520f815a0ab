"""A scenario's entries as commands at times."""

from collections.abc import Iterator

from producers.devices.amounts import Span
from producers.scenarios.model import UNTIL_CLEARED, Entry, Scenario
from producers.simulation.commands import (
    ClearFaults,
    Command,
    CreateDevices,
    DeleteDevices,
    InjectFault,
    SetFaultChances,
    UpdateDevices,
)


def timeline_of(scenario: Scenario) -> list[tuple[int, Command]]:
    """Commands and when each is due, µs after the beginning; in this order, also where they are at one time.

    A `cut` is two commands, `repeat` makes copies; what would come at or after the end of the scenario is left out.
    """
    end = None if scenario.duration is None else _us(scenario.duration)
    # Links come back before something else happens at that time; otherwise the file's order.
    due = [
        (at, rank, number, command)
        for number, entry in enumerate(scenario.timeline)
        for begin in moments(entry, scenario.duration)
        for at, rank, command in _commands(entry, begin)
        if end is None or at < end
    ]
    return [(at, command) for at, _, _, command in sorted(due, key=lambda one: one[:3])]


def moments(entry: Entry, duration: float | None) -> Iterator[int]:
    """When an entry happens, µs after the beginning."""
    begin = _us(entry.at)
    if entry.repeat is None:
        yield begin
        return
    every, times = _us(entry.repeat.every), entry.repeat.times
    if times is None:
        # `check` sees to it that there is a duration
        times = max(0, -(-(_us(duration or 0.0) - begin) // every))
    for number in range(times):
        yield begin + number * every


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _commands(entry: Entry, at: int) -> Iterator[tuple[int, int, Command]]:
    """Commands of an entry that happens at `at`: (µs, rank among those of one time, command)."""
    select = entry.select.selector
    if entry.fault is not None:
        yield at, 1, _injection(entry)
    elif entry.clear:
        yield at, 1, ClearFaults(select)
    elif entry.update is not None:
        yield at, 1, UpdateDevices(select, **entry.update.model_dump())
    elif entry.cut is not None:
        yield at, 1, UpdateDevices(select, online=False)
        yield at + _us(entry.cut.lasts), 0, UpdateDevices(select, online=True)
    elif entry.create is not None:
        yield at, 1, CreateDevices(entry.create)
    elif entry.delete:
        yield at, 1, DeleteDevices(select)
    elif entry.chances is not None:
        yield at, 1, SetFaultChances(entry.chances, entry.select.type)


def _injection(entry: Entry) -> InjectFault:
    fault = entry.fault
    assert fault is not None
    lasts = fault.lasts
    return InjectFault(
        entry.select.selector,
        random_one=fault.random_one,
        fault=fault.kind,
        readings=round(lasts.low) if isinstance(lasts, Span) and lasts.in_readings else None,
        seconds=lasts.low if isinstance(lasts, Span) and not lasts.in_readings else None,
        until_cleared=lasts == UNTIL_CLEARED,
        intensity=fault.intensity,
        onset=fault.onset,
    )
