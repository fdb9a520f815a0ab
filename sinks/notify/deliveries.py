"""Handing notifications over: one at a time to each target, all targets side by side, so that none waits for another.

The database belongs to the sink's own thread, which takes from the outbox and marks; threads of a pool do nothing but hand over.
"""

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import psycopg
import structlog

from schemas.failpoints import fail_point
from sinks.notify.metrics import NotifyMetrics
from sinks.notify.outbox import Claim, Outbox
from sinks.notify.targets import Outcome, Target

_LOG = structlog.get_logger(__name__)

_THREADS = 32
_LOOK_SECONDS = 1.0  # how often the outbox is looked at for what another worker, or time, has put there
_CLEAN_SECONDS = 3600.0
_KEPT_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How failed deliveries are tried again: after `first` seconds, then twice as long, up to `longest`; for `give_up` in all."""

    first: float = 5.0
    longest: float = 600.0
    give_up: float = 3600.0

    def pause(self, attempts: int) -> float:
        """Seconds to wait after so many attempts, a little by chance: targets of one service fail together."""
        longest: float = min(self.longest, self.first * 2.0 ** min(attempts - 1, 30))
        return longest * random.uniform(0.75, 1.0)  # noqa: S311 - not for secrets


class Deliveries:
    """What is on its way. Use it from one thread.

    Args:
        outbox: where notifications come from.
        targets: name -> target.
        patience: with those that fail.
        metrics: where it counts.
        clock: monotonic seconds.
        lease_seconds: of the outbox; leases are renewed four times as often.
    """

    def __init__(
        self,
        outbox: Outbox,
        targets: Mapping[str, Target],
        patience: Patience,
        metrics: NotifyMetrics,
        clock: Callable[[], float],
        lease_seconds: float = 60.0,
    ) -> None:
        self._outbox = outbox
        self._targets = targets
        self._patience = patience
        self._metrics = metrics
        self._clock = clock
        self._pool = ThreadPoolExecutor(min(_THREADS, max(1, len(targets))), "notify")
        self._under_way: dict[str, tuple[Claim, Future[Outcome]]] = {}
        self._renew_seconds = lease_seconds / 4
        self._look_at = self._renewed_at = self._cleaned_at = -1e9

    @property
    def busy(self) -> bool:
        """Whether something is under way, and soon to be marked."""
        return bool(self._under_way)

    def wake(self) -> None:
        """Something new is in the outbox."""
        self._look_at = -1e9

    def turn(self, connection: psycopg.Connection) -> None:
        """Mark what is through, take what is next."""
        done = [target for target, (_, future) in self._under_way.items() if future.done()]
        for target in done:
            self._settle(connection, *self._under_way[target])
            del self._under_way[target]
        now = self._clock()
        if self._under_way and now - self._renewed_at >= self._renew_seconds:
            self._renewed_at = now
            self._outbox.renew(connection, [claim.lease for claim, _ in self._under_way.values()])
        look = now - self._look_at >= _LOOK_SECONDS
        if done or look:
            self._take(connection)
        if look:
            self._look_at = now
            self._metrics.unsettled.set(sum(self._outbox.unsettled(connection).values()))
        if now - self._cleaned_at >= _CLEAN_SECONDS:
            self._cleaned_at = now
            self._outbox.clean(connection, _KEPT_DAYS)

    def finish(self, connection: psycopg.Connection, seconds: float) -> None:
        """Wait for what is under way, for some time, and mark it; nothing new is taken."""
        wait([future for _, future in self._under_way.values()], seconds)
        for target, (claim, future) in list(self._under_way.items()):
            if future.done():
                self._settle(connection, claim, future)
                del self._under_way[target]
            else:
                _LOG.warning(
                    "a target does not answer; its notification is left to the next start", target=target
                )

    def close(self) -> None:
        """Let the threads go; one that is still handing over ends by its own timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, connection: psycopg.Connection) -> None:
        for route, target, title in self._outbox.lapse(connection):
            self._metrics.deliveries.labels(target, "unknown").inc()
            _LOG.error("nobody knows whether a notification arrived", route=route, target=target, title=title)
        for claim in self._outbox.claim(connection, self._under_way):
            fail_point("notify.after_claim")
            receiver = self._targets.get(claim.target)
            if receiver is None:
                self._give_up(connection, claim, "the routes file has no such target any more")
                continue
            self._under_way[claim.target] = claim, self._pool.submit(receiver.deliver, claim.letter)

    def _settle(self, connection: psycopg.Connection, claim: Claim, future: Future[Outcome]) -> None:
        outcome = future.result()
        fail_point("notify.after_delivery")
        if outcome.accepted:
            self._metrics.deliveries.labels(claim.target, "sent").inc()
            if not self._outbox.sent(connection, claim):
                _LOG.warning("a notification took too long, it may come twice", target=claim.target)
            fail_point("notify.after_mark")
            return
        if claim.age > self._patience.give_up:
            self._give_up(connection, claim, outcome.error)
            return
        pause = self._patience.pause(claim.attempts)
        self._metrics.deliveries.labels(claim.target, "retried").inc()
        _LOG.warning(
            "a notification was not taken, trying again",
            target=claim.target,
            attempt=claim.attempts,
            seconds=round(pause, 1),
            reason=outcome.error,
        )
        self._outbox.again(connection, claim, outcome.error, pause)

    def _give_up(self, connection: psycopg.Connection, claim: Claim, error: str) -> None:
        self._metrics.deliveries.labels(claim.target, "failed").inc()
        _LOG.error(
            "a notification is given up",
            route=claim.route,
            target=claim.target,
            title=claim.letter.title,
            attempts=claim.attempts,
            reason=error,
        )
        self._outbox.failed(connection, claim, error)
