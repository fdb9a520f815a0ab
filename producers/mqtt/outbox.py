"""Messages between the simulation, which fills it, and the thread that sends them."""

from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition, Lock

from schemas.errors import SigmawatchError
from schemas.mqtt.publishing import Message


class Outbox:
    """A bounded queue that keeps a message until the broker has acknowledged it.

    `put` and `flush` may be called from any thread, the rest from the one that sends.

    Args:
        limit: messages in it at most, those that are sent and not acknowledged among them.
        on_put: called when there is something to send.
    """

    def __init__(self, limit: int, on_put: Callable[[], None]) -> None:
        self._limit = limit
        self._on_put = on_put
        self._lock = Lock()
        self._room = Condition(self._lock)
        self._empty = Condition(self._lock)
        self._waiting: deque[Message] = deque()
        self._sent: dict[int, Message] = {}
        self._failure: SigmawatchError | None = None
        self._acknowledged = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def acknowledged(self) -> int:
        """Readings of the messages that the broker has."""
        return self._acknowledged

    def put(self, messages: Iterable[Message], *, limited: bool = True) -> None:
        """Queue messages, in their order. Blocks while it is full, unless it is not to be `limited`.

        Raises:
            SigmawatchError: they will never be sent.
        """
        for message in messages:
            with self._lock:
                if limited and len(self) >= self._limit:
                    self._on_put()
                    self._room.wait_for(lambda: self._failure or len(self) < self._limit)
                self._raise_failure()
                self._waiting.append(message)
        self._on_put()

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything is acknowledged, for `seconds` at most; whether it is.

        Raises:
            SigmawatchError: it will never be.
        """
        with self._lock:
            self._empty.wait_for(lambda: self._failure or not len(self), seconds)
            self._raise_failure()
            return not len(self)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # The side of the thread that sends

    @property
    def next(self) -> Message | None:
        """What is to be sent next; `sent` takes it."""
        return self._waiting[0] if self._waiting else None

    def sent(self, packet: int) -> None:
        """The next message was sent: keep it under its packet id until it is acknowledged."""
        with self._lock:
            self._sent[packet] = self._waiting.popleft()

    @property
    def in_flight(self) -> int:
        """Messages that are sent and not acknowledged."""
        return len(self._sent)

    def acknowledge(self, packet: int) -> None:
        """Let a message go that the broker has, if there is one of that packet id."""
        with self._lock:
            message = self._sent.pop(packet, None)
            if message is None:
                return
            self._acknowledged += message.readings
            # Not at each message: the two threads would wake each other for every one.
            if len(self) <= self._limit * 3 // 4:
                self._room.notify_all()
            if not len(self):
                self._empty.notify_all()

    def topic_of(self, packet: int) -> str:
        """The topic of a message that was sent."""
        return self._sent[packet].topic if packet in self._sent else ""

    def put_back(self) -> None:
        """The connection is lost: all that was not acknowledged is to be sent again, in its order."""
        with self._lock:
            self._waiting.extendleft(reversed(self._sent.values()))
            self._sent.clear()

    def fail(self, error: SigmawatchError) -> None:
        """Let `put` and `flush` raise from now on."""
        with self._lock:
            self._failure = error
            self._room.notify_all()
            self._empty.notify_all()
