"""`Control` of a fleet that several workers share."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Protocol, Self
from uuid import uuid4

from producers.clock import Clock, SystemClock
from producers.control.bus import OnMessage
from producers.control.caller import Caller
from producers.control.merging import for_shard, merged, shards_for, single_device
from producers.control.messages import Reply, What
from producers.control.responder import STALE, Responder
from producers.control.shards import Shard
from producers.simulation.commands import (
    Command,
    CommandError,
    CreateDevices,
    DeviceExistsError,
    InjectFault,
    ListDevices,
    Outcome,
    SimulationEndedError,
    UnknownDeviceError,
)
from producers.simulation.control import Control, SimulationStatus
from schemas.errors import SigmawatchError

_TIMEOUT = 10.0

_REFUSALS: Mapping[str, type[CommandError]] = {
    "UnknownDeviceError": UnknownDeviceError,
    "DeviceExistsError": DeviceExistsError,
    "SimulationEndedError": SimulationEndedError,
    "CommandError": CommandError,
    "ConfigError": CommandError,
}


class Exchange(Protocol):
    """What a `Bus` is to its users; see there."""

    def start(self, on_command: OnMessage, on_reply: OnMessage) -> None:
        """As `Bus.start`."""

    def wait_until_ready(self, timeout: float) -> bool:
        """As `Bus.wait_until_ready`."""

    def close(self) -> None:
        """As `Bus.close`."""

    def send_command(self, value: bytes) -> None:
        """As `Bus.send_command`."""

    def send_replies(self, values: Sequence[bytes]) -> None:
        """As `Bus.send_replies`."""


class KafkaControl:
    """Any worker's way to all: commands go to the shards that they concern, over Kafka, and it answers those of others.

    A command for a device of our own shard does not leave the process. Use it as a context manager.

    Args:
        bus: to the other workers; started and closed with this.
        shard: our own.
        local: the simulation of this process.
        clock: replaced in tests; the workers' clocks may differ by less than a command's timeout.
    """

    def __init__(
        self,
        bus: Exchange,
        shard: Shard,
        local: Control,
        clock: Clock | None = None,
    ) -> None:
        now_us = (clock or SystemClock()).now_us
        self._shard = shard
        self._local = local
        worker = f"{socket.gethostname()[:100]}-{os.getpid()}-{uuid4().hex[:8]}"
        self._bus = bus
        self._caller = Caller(shard, worker, bus.send_command, now_us)
        self._responder = Responder(shard, worker, local, bus.send_replies, now_us)

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            TopicError: a topic is missing, or the broker does not answer.
            ConfigError: the cluster's options are not usable.
        """
        try:
            self._bus.start(self._responder.on_request, self._caller.on_reply)
        except SigmawatchError:
            self._responder.close()
            self._bus.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._responder.close()
        self._bus.close()

    def wait_until_ready(self, timeout: float = _TIMEOUT) -> None:
        """Wait until commands of others would be heard.

        Raises:
            TimeoutError: the broker does not answer.
        """
        if not self._bus.wait_until_ready(timeout):
            raise TimeoutError(f"the broker did not answer within {timeout:g} s")

    def apply(self, command: Command, timeout: float = _TIMEOUT) -> Outcome:
        """As `Control.apply`."""
        deadline = monotonic() + timeout
        if isinstance(command, CreateDevices):
            command = with_exact_ids(command)
        if isinstance(command, InjectFault) and command.random_one and single_device(command.select) is None:
            return self._inject_into_one(command, deadline)
        return self._apply(command, shards_for(command, self._shard.shards), deadline)

    def status(self) -> list[SimulationStatus]:
        """As `Control.status`; by shard."""
        replies = self._ask_all("status")
        found = [replies[number].status for number in sorted(replies)]
        return [status for status in found if status is not None]

    def start(self) -> None:
        """As `Control.start`, of all workers."""
        self._ask_all("start")

    def stop(self) -> None:
        """As `Control.stop`, of all workers."""
        self._ask_all("stop")

    def _ask_all(self, what: What) -> dict[int, Reply]:
        self.wait_until_ready()
        replies = self._caller.call(what, range(1, self._shard.shards + 1), _TIMEOUT)
        raise_refused(replies, self._shard.shards)
        return replies

    def _apply(self, command: Command, to: frozenset[int], deadline: float) -> Outcome:
        if to == {self._shard.number}:
            return self._local.apply(command, _left(deadline))
        self.wait_until_ready(_left(deadline))
        replies = self._caller.call("apply", to, _left(deadline), for_shard(command))
        raise_refused(replies, self._shard.shards)
        outcomes = {number: reply.outcome for number, reply in replies.items() if reply.outcome is not None}
        return merged(command, outcomes)

    def _inject_into_one(self, command: InjectFault, deadline: float) -> Outcome:
        """A fault on one device of all: the shard is drawn in proportion to its devices, the device by the shard.

        A shard of which no device has the fault is passed over.
        """
        everyone = frozenset(range(1, self._shard.shards + 1))
        self.wait_until_ready(_left(deadline))
        asked = ListDevices(command.select, limit=0)
        replies = self._caller.call("apply", everyone, _left(deadline), asked)
        raise_refused(replies, self._shard.shards)
        counts = {
            number: reply.outcome.count for number, reply in replies.items() if reply.outcome is not None
        }
        order = drawn_order(counts, uuid4().int)
        for number in order[:-1]:
            try:
                return self._apply(command, frozenset({number}), deadline)
            except CommandError:
                continue
        return self._apply(command, frozenset(order[-1:]), deadline)


def with_exact_ids(command: CreateDevices) -> CreateDevices:
    """The command with ids that every shard finds by itself: those that the group names, else new ones."""
    group = command.group
    if group.device_id is None:
        prefix = f"{group.type}-{uuid4().hex[:8]}"
        template = prefix if group.count == 1 else f"{prefix}-{{number:03}}"
        group = group.model_copy(update={"device_id": template})
    return replace(command, group=group, exact=True)


def drawn_order(counts: Mapping[int, int], draw: int) -> list[int]:
    """Shards to try, the first drawn in proportion to its devices, those without any left out; one at least."""
    having = [number for number in sorted(counts) if counts[number]]
    if not having:
        return sorted(counts)[:1]
    place = draw % sum(counts.values())
    for turn, number in enumerate(having):
        place -= counts[number]
        if place < 0:
            return having[turn:] + having[:turn]
    raise AssertionError("the draw is less than the sum")


def raise_refused(replies: Mapping[int, Reply], shards: int) -> None:
    """Raise what shards refused, saying whether others have done it.

    That a device is unknown to some shards is no error, as long as one knows it.

    Raises:
        CommandError: with its subclasses, as a shard raised it.
        TimeoutError: a shard's simulation did not answer, or the command came too late.
    """
    refusals = {
        number: reply.refusal for number, reply in sorted(replies.items()) if reply.refusal is not None
    }
    done = len(replies) - len(refusals)
    graver = {
        number: refusal for number, refusal in refusals.items() if refusal.error != "UnknownDeviceError"
    }
    if not refusals or (done and not graver):
        return
    number, refusal = next(iter((graver or refusals).items()))
    message = refusal.message.rstrip(".")
    if refusal.error in {"TimeoutError", STALE}:
        rest = "; the others have done it" if done else ""
        raise TimeoutError(f"shard {number} of {shards}: {message}{rest}. {refusal.remedy}".rstrip(" ."))
    if done:
        message += f" (shard {number}; {done} of {shards} shards have done it)"
    raise _REFUSALS.get(refusal.error, SigmawatchError)(message, refusal.remedy)


def _left(deadline: float) -> float:
    """Seconds left; a little where none are, so that the question is asked and its answer says who is silent."""
    return max(0.01, deadline - monotonic())
