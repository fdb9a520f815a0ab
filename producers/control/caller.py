"""Asking the shards of a fleet, and waiting for their replies."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Condition
from uuid import uuid4

import structlog

from producers.control.messages import (
    MalformedMessageError,
    Parts,
    Reply,
    Request,
    What,
    decode_reply,
    encode_request,
)
from producers.control.shards import Shard
from producers.simulation.commands import Command, CommandError, to_json

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A request on its way: `left` are the shards that have not answered."""

    left: set[int]
    parts: dict[int, Parts] = field(default_factory=dict)
    replies: dict[int, Reply] = field(default_factory=dict)


class Caller:
    """Sends requests and matches replies; for any number of threads.

    Args:
        shard: our own.
        worker: names this process among the fleet's.
        send: puts a request where every worker reads it; must not block for long.
        now_us: the wall clock, µs since 1970 UTC.
    """

    def __init__(
        self, shard: Shard, worker: str, send: Callable[[bytes], None], now_us: Callable[[], int]
    ) -> None:
        self._shard = shard
        self._worker = worker
        self._send = send
        self._now_us = now_us
        self._waiting: dict[str, _Waiting] = {}
        self._news = Condition()

    def call(
        self, what: What, to: Collection[int], timeout: float, command: Command | None = None
    ) -> dict[int, Reply]:
        """The replies of the shards `to`, by shard; blocks until the last is there.

        Raises:
            CommandError: the command is too large to be sent.
            TimeoutError: names the shards that did not answer.
        """
        request = Request(
            request_id=uuid4().hex,
            sender=self._worker,
            what=what,
            sent_us=self._now_us(),
            timeout=timeout,
            shards=self._shard.shards,
            to=tuple(sorted(to)),
            command=None if command is None else to_json(command),
        )
        try:
            value = encode_request(request)
        except ValueError as error:
            raise CommandError(str(error), "Give it in smaller pieces.") from error
        waiting = _Waiting(set(to))
        with self._news:
            self._waiting[request.request_id] = waiting
        try:
            self._send(value)
            with self._news:
                self._news.wait_for(lambda: not waiting.left, timeout)
        finally:
            with self._news:
                del self._waiting[request.request_id]
        if waiting.left:
            raise TimeoutError(self._silence(waiting, timeout))
        return waiting.replies

    def on_reply(self, value: bytes | None) -> None:
        """Take note of a message on the topic of replies, whoever it is for; never raises."""
        try:
            reply = decode_reply(value)
        except MalformedMessageError as error:
            _log.warning("a message on the topic of replies is passed over", reason=str(error))
            return
        if reply.to != self._worker:
            return
        with self._news:
            waiting = self._waiting.get(reply.request_id)
            if waiting is not None:
                self._note(waiting, reply)

    def _note(self, waiting: _Waiting, reply: Reply) -> None:
        known = waiting.replies.get(reply.shard)
        if known is not None and known.worker != reply.worker:
            _log.warning("two workers answer as one shard", shard=f"{reply.shard}/{self._shard.shards}")
        if reply.shard not in waiting.left:
            return
        whole = waiting.parts.setdefault(reply.shard, Parts()).add(reply)
        if whole is not None:
            waiting.replies[reply.shard] = whole
            waiting.left.discard(reply.shard)
            self._news.notify_all()

    def _silence(self, waiting: _Waiting, timeout: float) -> str:
        missing = sorted(waiting.left)
        named = (
            f"shard{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))} of {self._shard.shards}"
        )
        done = "; the others have done it" if waiting.replies else ""
        return (
            f"{named} did not answer within {timeout:.2g} s{done}."
            f" Does `sigmawatch simulate --shard {missing[0]}/{self._shard.shards}` run?"
        )
