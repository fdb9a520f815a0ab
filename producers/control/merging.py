"""Which shards a command concerns, and one outcome from theirs. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from producers.control.shards import shard_of
from producers.simulation.commands import (
    SHOWN,
    Command,
    CreateDevices,
    DeviceView,
    ListDevices,
    Outcome,
    Selector,
    SetFaultChances,
)


def single_device(select: Selector) -> str | None:
    """The id, where the selector can mean one device only."""
    name = select.device_id
    return None if name is None or "*" in name or "?" in name else name


def shards_for(command: Command, shards: int) -> frozenset[int]:
    """The shards that a command concerns: that of the only device it can mean, else all of them."""
    name = _device_of(command)
    return frozenset({shard_of(name, shards)} if name is not None else range(1, shards + 1))


def _device_of(command: Command) -> str | None:
    if isinstance(command, SetFaultChances):
        return None
    if isinstance(command, CreateDevices):
        template = command.group.device_id
        return None if template is None or "{" in template or "}" in template else template
    return single_device(command.select)


def for_shard(command: Command) -> Command:
    """What each of several shards is asked, for `merged` to make the answer of.

    A page that begins in the middle is cut out of the merged one, so each shard gives it from its beginning.
    """
    if isinstance(command, ListDevices) and command.offset:
        limit = None if command.limit is None else command.offset + command.limit
        return replace(command, offset=0, limit=limit)
    return command


def merged(command: Command, outcomes: Mapping[int, Outcome]) -> Outcome:
    """One outcome from those of `for_shard(command)`, in the order that the command asks for."""
    count = sum(outcome.count for outcome in outcomes.values())
    devices = sorted(chain.from_iterable(outcome.devices for outcome in outcomes.values()), key=_by_id)
    if not isinstance(command, ListDevices):
        return Outcome(count, devices[:SHOWN])
    if command.newest:
        devices.sort(key=_newest_first)  # stable: by id where the times are the same
    end = None if command.limit is None else command.offset + command.limit
    return Outcome(count, devices[command.offset : end])


def _by_id(view: DeviceView) -> str:
    return view.device.device_id


def _newest_first(view: DeviceView) -> int:
    return -(view.time_us or 0)
