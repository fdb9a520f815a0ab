"""The one thread that writes to Kafka for a part that takes its readings from elsewhere: a round at a time.

Items queue up; the thread takes all that are there, sends them, waits until Kafka has acknowledged everything, settles
them, and takes what has queued up meanwhile: many small items share a round. While Kafka is away the round waits, and
nothing new is sent.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog
import tenacity

from producers.clock import Clock
from schemas.errors import PublishError, RegistryUnavailableError

_LOG = structlog.get_logger(__name__)
_Item = TypeVar("_Item")

_ROUND = 20_000  # weight of a round of several items; keeps the first of them from waiting for the last
_SLOW_SECONDS = 2.0  # without an acknowledgement: there is trouble
_CLOSE_SECONDS = 5.0


class Sending(Protocol):
    """What is used of `schemas.kafka.Publisher`."""

    def flush(self, timeout: float | None = None) -> None:
        """Block until all is acknowledged."""

    def give_up(self) -> None:
        """Let a `flush` that waits raise."""

    def close(self, timeout: float = ...) -> None:
        """Let go."""


class Rounds(Generic[_Item]):
    """Sends items from `start` to `stop`; `put` and `withdraw` may be called from any thread.

    Args:
        publisher: used by the thread alone, and closed by it.
        prepare: makes the function that hands a round's items to the publisher; asked again while the schema
            registry is away.
        settle: called by the thread after each round, with its items, the seconds it took, and what Kafka refused
            (some of the items may be there all the same). What it raises ends the thread.
        weigh: weight of an item, as the number of its readings.
        clock: measures.
        on_failure: called by the thread when it ends by an error.

    Attributes:
        failure: that error.
    """

    def __init__(
        self,
        publisher: Sending,
        prepare: Callable[[], Callable[[Sequence[_Item]], None]],
        settle: Callable[[Sequence[_Item], float, PublishError | None], None],
        weigh: Callable[[_Item], int],
        clock: Clock,
        on_failure: Callable[[], None],
    ) -> None:
        self._publisher = publisher
        self._prepare = prepare
        self._settle = settle
        self._weigh = weigh
        self._clock = clock
        self._on_failure = on_failure
        self.failure: Exception | None = None
        self._queue: deque[_Item] = deque()
        self._weight = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._began: float | None = None
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End; blocks until what is queued is settled, `seconds` at most. Then the rest is given up."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._publisher.give_up()
            self._thread.join()

    @property
    def stopping(self) -> bool:
        """Whether nothing more is taken."""
        return self._stopping.is_set()

    @property
    def weight(self) -> int:
        """Weight of all that is queued or on its way."""
        return self._weight

    @property
    def trouble(self) -> str | None:
        """Why items cannot be sent now, None where they can."""
        began = self._began
        if began is not None and (waited := self._clock.monotonic() - began) > _SLOW_SECONDS:
            return f"Kafka has not acknowledged anything for {waited:.0f} s"
        return self._trouble

    def put(self, items: Sequence[_Item]) -> None:
        """Queue items, in their order. What is put after the end is forgotten."""
        with self._changed:
            self._queue.extend(items)
            self._weight += sum(map(self._weigh, items))
            self._changed.notify()

    def withdraw(self, item: _Item) -> bool:
        """Take an item back, unless it is on its way or settled; whether it was."""
        with self._changed:
            if item not in self._queue:
                return False
            self._queue.remove(item)
            self._weight -= self._weigh(item)
        return True

    def leftovers(self) -> list[_Item]:
        """What is queued, taken out: after the end."""
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
            self._weight = 0
        return left

    def _run(self) -> None:
        try:
            carry = self._prepared()
            while carry is not None and (items := self._next()):
                self._round(carry, items)
            self._publisher.close(_CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - whoever runs the part raises it
            self.failure = error
            self._stopping.set()
            self._on_failure()

    def _prepared(self) -> Callable[[Sequence[_Item]], None] | None:
        """None where the part is stopped while the registry is away."""

        def told(state: tenacity.RetryCallState) -> None:
            self._trouble = "the schema registry does not answer"
            _LOG.warning("the schema registry is out of reach, waiting", attempt=state.attempt_number)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RegistryUnavailableError),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=10.0),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=told,
        )
        try:
            carry = retrying(self._prepare)
        except tenacity.RetryError:
            return None
        self._trouble = None
        return carry

    def _next(self) -> list[_Item]:
        """Blocks until there is something to send; nothing when it is time to end."""
        items: list[_Item] = []
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
            weight = 0
            while self._queue and (not weight or weight + self._weigh(self._queue[0]) <= _ROUND):
                items.append(self._queue.popleft())
                weight += self._weigh(items[-1])
        return items

    def _round(self, carry: Callable[[Sequence[_Item]], None], items: list[_Item]) -> None:
        self._began = began = self._clock.monotonic()
        refusal: PublishError | None = None
        try:
            carry(items)
            self._publisher.flush()
        except PublishError as error:
            refusal = error
        self._began = None
        self._trouble = None if refusal is None else f"Kafka refuses readings: {refusal.message}"
        with self._changed:
            self._weight -= sum(map(self._weigh, items))
        self._settle(items, self._clock.monotonic() - began, refusal)
