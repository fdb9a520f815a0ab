"""Doing what other workers of the fleet, or this one, ask of this shard."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog

from producers.control.messages import (
    MalformedMessageError,
    Refusal,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from producers.control.shards import Shard
from producers.simulation.commands import CommandError, command_of
from producers.simulation.control import Control
from schemas.errors import SigmawatchError

_log = structlog.get_logger(__name__)

STALE = "StaleCommandError"
"""Refusal of a request that came later than anybody waits for it."""

# Far more than come in the longest timeout; a request that is older than its timeout is not carried out anyway.
_REMEMBERED = 10_000


class Responder:
    """Carries out requests on the simulation of this process, one after the other, on a thread of its own.

    Args:
        shard: our own.
        worker: names this process among the fleet's.
        local: the simulation.
        send: puts a reply where every worker reads it.
        now_us: the wall clock, µs since 1970 UTC.
    """

    def __init__(
        self,
        shard: Shard,
        worker: str,
        local: Control,
        send: Callable[[Sequence[bytes]], None],
        now_us: Callable[[], int],
    ) -> None:
        self._shard = shard
        self._worker = worker
        self._local = local
        self._send = send
        self._now_us = now_us
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control-commands")

    def on_request(self, value: bytes | None) -> None:
        """Take a message on the topic of commands, whoever it is for; does not block, never raises."""
        try:
            request = decode_request(value)
        except MalformedMessageError as error:
            _log.warning("a message on the topic of commands is passed over", reason=str(error))
            return
        if self._shard.number not in request.to or self._is_known(request.request_id):
            return
        try:
            self._thread.submit(self._answer, request)
        except RuntimeError:  # closed meanwhile
            return

    def close(self) -> None:
        """End; what waits is not carried out, what is under way is finished."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _is_known(self, request_id: str) -> bool:
        if request_id in self._seen:
            return True
        self._seen[request_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def _answer(self, request: Request) -> None:
        reply = Reply(request.request_id, request.sender, self._worker, self._shard.number)
        try:
            reply = self._carried_out(request, reply)
        except (SigmawatchError, TimeoutError) as error:
            remedy = error.remedy if isinstance(error, SigmawatchError) else ""
            message = error.message if isinstance(error, SigmawatchError) else str(error)
            reply = _refused(reply, type(error).__name__, message, remedy)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must be told
            _log.exception("a command failed", sender=request.sender)
            reply = _refused(
                reply, "Error", f"it failed with {type(error).__name__}", "See the worker's log."
            )
        try:
            self._send(encode_reply(reply))
        except SigmawatchError as error:
            _log.warning("a reply cannot be sent", error=str(error))

    def _carried_out(self, request: Request, reply: Reply) -> Reply:
        """The reply, after the deed."""
        if request.shards != self._shard.shards:
            raise CommandError(
                f"this worker has shard {self._shard}, the command is for a fleet of {request.shards}",
                "Start all workers of a fleet with the same number of shards.",
            )
        late = (self._now_us() - request.sent_us) / 1e6
        if late >= request.timeout:
            _log.warning("a command came too late and is not carried out", seconds=round(late, 1))
            return _refused(
                reply,
                STALE,
                f"the command came after {late:.1f} s and was not carried out",
                "Are the clocks of the workers' machines set?",
            )
        # A clock that is behind the sender's must not make a command live longer.
        left = request.timeout - max(0.0, late)
        match request.what:
            case "apply":
                outcome = self._local.apply(command_of(request.command or {}), left)
                return replace(reply, outcome=outcome)
            case "status":
                (status,) = self._local.status()
                return replace(reply, status=status)
            case "start":
                self._local.start()
            case "stop":
                self._local.stop()
        return reply


def _refused(reply: Reply, error: str, message: str, remedy: str) -> Reply:
    return replace(reply, refusal=Refusal(error, message, remedy))
