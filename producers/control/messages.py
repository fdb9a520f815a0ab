"""What the workers of one fleet tell each other, as JSON on two topics: a `Request` to shards, each shard's `Reply`.

Version 1. A reader passes over fields that it does not know; what a reader must know to act rightly comes with a new
version, which older workers refuse. A reply that is too large for one message comes in parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from producers.control.shards import MAX_SHARDS
from producers.simulation.commands import Outcome
from producers.simulation.control import SimulationStatus
from schemas.errors import SigmawatchError

VERSION = 1

MAX_MESSAGE_BYTES = 512 * 1024
"""Of a request or a part of a reply: half of what brokers take by default."""

What = Literal["apply", "status", "start", "stop"]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[int, Field(ge=1, le=MAX_SHARDS)]


class MalformedMessageError(SigmawatchError):
    """A message on one of the two topics that is none of ours."""


@dataclass(frozen=True, slots=True)
class Request:
    """What shards are asked to do.

    Attributes:
        request_id: one request, however often it is delivered.
        sender: the worker that waits for the replies.
        what: `apply` a command; give the `status`; `start` or `stop` virtual time.
        sent_us: by the sender's clock, µs since 1970 UTC.
        timeout: seconds after which nobody waits any more, and nothing is to be done.
        shards: how many the fleet has; a worker that thinks otherwise refuses.
        to: the shards that are asked.
        command: of `apply`, as `commands.to_json` has it.
    """

    request_id: Text
    sender: Text
    what: What
    sent_us: int
    timeout: Annotated[float, Field(gt=0, le=3600)]
    shards: Number
    to: tuple[Number, ...]
    command: dict[str, Any] | None = None
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a shard did not do it; `error` is the name of the error's class."""

    error: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One shard's answer, or part number `part` of `parts` (from 1) of it.

    Attributes:
        request_id, to: the request and its sender.
        worker: names the process, so that two workers with one shard are noticed.
        shard: which one answers.
        outcome, status, refusal: one of them; none to `start` and `stop`.
    """

    request_id: Text
    to: Text
    worker: Text
    shard: Number
    outcome: Outcome | None = None
    status: SimulationStatus | None = None
    refusal: Refusal | None = None
    part: int = 1
    parts: Annotated[int, Field(ge=1, le=100_000)] = 1
    version: int = VERSION


_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
_Message = TypeVar("_Message", Request, Reply)


def encode_request(request: Request) -> bytes:
    """A request as a message's value.

    Raises:
        ValueError: it is larger than a message may be.
    """
    value = _REQUEST.dump_json(request, exclude_none=True)
    if len(value) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a command of {len(value):,} bytes; {MAX_MESSAGE_BYTES:,} are allowed")
    return value


def decode_request(value: bytes | None) -> Request:
    """The request in a message's value.

    Raises:
        MalformedMessageError: it is none, or of another version.
    """
    return _decode(_REQUEST, value)


def encode_reply(reply: Reply) -> list[bytes]:
    """A reply as the values of one message or several."""
    pieces = list(_pieces(reply))
    if len(pieces) == 1:
        return [_REPLY.dump_json(reply)]
    return [
        _REPLY.dump_json(replace(piece, part=number, parts=len(pieces)))
        for number, piece in enumerate(pieces, 1)
    ]


def _pieces(reply: Reply) -> Iterator[Reply]:
    """The reply, its devices spread over as many as are needed for each to fit."""
    outcome = reply.outcome
    if outcome is None or len(outcome.devices) < 2 or len(_REPLY.dump_json(reply)) < MAX_MESSAGE_BYTES:
        yield reply
        return
    middle = len(outcome.devices) // 2
    for devices in (outcome.devices[:middle], outcome.devices[middle:]):
        yield from _pieces(replace(reply, outcome=Outcome(outcome.count, devices)))


def decode_reply(value: bytes | None) -> Reply:
    """The reply, or part of one, in a message's value.

    Raises:
        MalformedMessageError: it is none, or of another version.
    """
    return _decode(_REPLY, value)


def _decode(adapter: TypeAdapter[_Message], value: bytes | None) -> _Message:
    if value is None:
        raise MalformedMessageError("no value")
    if len(value) > 2 * MAX_MESSAGE_BYTES:
        raise MalformedMessageError(f"{len(value):,} bytes are too many")
    try:
        message = adapter.validate_json(value)
    except (ValidationError, RecursionError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        place = ".".join(map(str, problem["loc"])) if problem else ""
        reason = problem["msg"] if problem else "nested too deeply"
        raise MalformedMessageError(f"{place}: {reason}" if place else reason) from None
    if message.version != VERSION:
        raise MalformedMessageError(f"version {message.version}; this Sigmawatch has {VERSION}")
    return message


@dataclass(slots=True)
class Parts:
    """Collects a shard's reply as its parts come in, in any order and each perhaps twice."""

    got: dict[int, Reply] = field(default_factory=dict)

    def add(self, reply: Reply) -> Reply | None:
        """The whole reply, once all of its parts are here."""
        self.got.setdefault(reply.part, reply)
        if len(self.got) < reply.parts:
            return None
        whole = self.got[min(self.got)]
        if whole.outcome is None or len(self.got) == 1:
            return whole
        outcomes = [self.got[part].outcome for part in sorted(self.got)]
        devices = [device for outcome in outcomes if outcome for device in outcome.devices]
        return replace(whole, outcome=Outcome(whole.outcome.count, devices), part=1, parts=1)
