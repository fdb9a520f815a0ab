"""One answer for all who ask the same at about the same time: many tabs cost one query."""

import asyncio
import gzip
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from anyio import to_thread

_MOST_ANSWERS = 256
_KEPT_SECONDS = 60.0  # longer than any answer is good for
_COMPRESSED_BYTES = 2_000  # below it a packet is a packet


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON as it goes out; `packed` is the same by gzip, None where that gains nothing."""

    plain: bytes
    packed: bytes | None
    etag: str


def pack(content: Any) -> Answer:
    """Content as an answer."""
    plain = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    packed = gzip.compress(plain, 3, mtime=0) if len(plain) >= _COMPRESSED_BYTES else None
    return Answer(plain, packed, f'"{hashlib.blake2b(plain, digest_size=12).hexdigest()}"')


class SharedAnswers:
    """Answers by question, each computed once in a worker thread and good for a time. For one event loop.

    Whoever asks while an answer is computed waits for that one. Errors are not kept.

    Args:
        clock: for the age of answers, monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Future[Answer]]] = OrderedDict()

    async def get(self, question: Hashable, seconds: float, compute: Callable[[], Any]) -> Answer:
        """The answer to a question, at most `seconds` old; raises what `compute` raises."""
        kept = self._answers.get(question)
        if kept is not None and (not kept[1].done() or self._clock() - kept[0] < seconds):
            return await asyncio.shield(kept[1])
        self._forget_old()
        task = asyncio.ensure_future(to_thread.run_sync(lambda: pack(compute())))
        self._answers[question] = (self._clock(), task)
        self._answers.move_to_end(question)
        task.add_done_callback(lambda done: self._settle(question, done))
        while len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)
        return await asyncio.shield(task)

    def _forget_old(self) -> None:
        now = self._clock()
        for question, (at, answer) in list(self._answers.items()):
            if answer.done() and now - at > _KEPT_SECONDS:
                del self._answers[question]

    def _settle(self, question: Hashable, task: "asyncio.Future[Answer]") -> None:
        """An answer's age counts from when it was known; one that failed is forgotten."""
        kept = self._answers.get(question)
        if kept is None or kept[1] is not task:
            return
        if task.cancelled() or task.exception() is not None:
            del self._answers[question]
        else:
            self._answers[question] = (self._clock(), task)
