"""Coroutines that wait until Kafka has their readings, over the thread that sends them (`producers.rounds`).

While Kafka is away, who has waited too long in the queue is told that nothing was sent, who is in the round
under way that the readings may still arrive.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from producers.clock import Clock
from producers.ingest.metrics import IngestMetrics
from producers.rounds import Rounds, Sending
from schemas.errors import PublishError, SigmawatchError
from schemas.readings import Reading

_LOG = structlog.get_logger(__name__)


class DeliveryError(SigmawatchError):
    """Readings of a request are not known to be in Kafka.

    Attributes:
        sent: whether they may be there, or still get there.
    """

    def __init__(self, message: str, remedy: str, *, sent: bool) -> None:
        super().__init__(message, remedy)
        self.sent = sent


class Carrying(Protocol):
    """What is used of `producers.courier.Courier`."""

    def send(self, readings: Sequence[Reading], now_us: int) -> None:
        """Hand readings over."""


@dataclass(slots=True, eq=False)
class _Request:
    readings: Sequence[Reading]
    done: asyncio.Future[None]


class Sender:
    """Sends readings of many coroutines, from `start` to `stop`.

    Args:
        publisher: used by the thread alone.
        courier: makes the courier over it; asked again while the schema registry is away.
        clock: gives the Kafka timestamps.
        metrics: what is counted.
        max_pending: readings that may wait, beside those of one request that is larger.
        on_failure: called by the thread when it ends by an error (`failure`).
    """

    def __init__(
        self,
        publisher: Sending,
        courier: Callable[[], Carrying],
        clock: Clock,
        metrics: IngestMetrics,
        *,
        max_pending: int,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._new_courier = courier
        self._clock = clock
        self._metrics = metrics
        self._max_pending = max_pending
        self._rounds: Rounds[_Request] = Rounds(
            publisher, self._prepare, self._settle, lambda request: len(request.readings), clock, on_failure
        )

    def start(self) -> None:
        """Begin."""
        self._rounds.start()

    def stop(self, seconds: float) -> None:
        """End; blocks until what is queued is acknowledged, `seconds` at most. Then the rest is given up."""
        self._rounds.stop(seconds)
        _answer(self._rounds.leftovers(), _ending())

    @property
    def failure(self) -> Exception | None:
        """Why the thread has ended, if by an error."""
        return self._rounds.failure

    @property
    def trouble(self) -> str | None:
        """Why readings cannot be sent now, None where they can."""
        return "it is ending" if self._rounds.stopping else self._rounds.trouble

    async def deliver(self, readings: Sequence[Reading], wait: float) -> None:
        """Return when Kafka has acknowledged all of them.

        Args:
            readings: checked ones; sent in their order.
            wait: seconds to wait at most.

        Raises:
            DeliveryError: too much is waiting already, Kafka does not answer in time, or refuses.
        """
        if not readings:
            return
        if self._rounds.stopping:
            raise _ending()
        waiting = self._rounds.weight
        if waiting and waiting + len(readings) > self._max_pending:
            raise DeliveryError(
                f"{waiting} readings wait for Kafka already; nothing was sent",
                "Send it again later, or set ingest.max_pending higher.",
                sent=False,
            )
        request = _Request(readings, asyncio.get_running_loop().create_future())
        self._rounds.put([request])
        try:
            await asyncio.wait_for(request.done, wait)
        except TimeoutError:
            raise _too_late(sent=not self._rounds.withdraw(request)) from None

    def _prepare(self) -> Callable[[Sequence[_Request]], None]:
        courier = self._new_courier()

        def carry(requests: Sequence[_Request]) -> None:
            readings = [reading for request in requests for reading in request.readings]
            courier.send(readings, self._clock.now_us())

        return carry

    def _settle(self, requests: Sequence[_Request], seconds: float, refusal: PublishError | None) -> None:
        count = sum(len(request.readings) for request in requests)
        self._metrics.round(count, seconds, refused=refusal is not None)
        failure = None
        if refusal is not None:
            _LOG.error("Kafka refuses readings", reason=str(refusal))
            failure = DeliveryError(
                f"Kafka refuses the readings: {refusal.message}; some may be there",
                "See what the broker says; sending the same again does no harm.",
                sent=True,
            )
        _answer(requests, failure)


def _ending() -> DeliveryError:
    return DeliveryError("the program is ending; nothing was sent", "Send it again.", sent=False)


def _too_late(*, sent: bool) -> DeliveryError:
    if sent:
        return DeliveryError(
            "Kafka has not acknowledged the readings in time; they may still arrive",
            "Send the same again: a reading of the same device, metric and time is stored once.",
            sent=True,
        )
    return DeliveryError(
        "Kafka does not acknowledge anything now; nothing was sent", "Send it again.", sent=False
    )


def _answer(requests: Sequence[_Request], failure: DeliveryError | None) -> None:
    """Let coroutines go on, each in its own loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
    for request in requests:
        by_loop.setdefault(request.done.get_loop(), []).append(request)
    for loop, its in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_finish, its, failure)


def _finish(requests: Sequence[_Request], failure: DeliveryError | None) -> None:
    for request in requests:
        if request.done.done():
            continue
        if failure is None:
            request.done.set_result(None)
        else:
            request.done.set_exception(failure)
