"""Many ask, one computes."""

import asyncio
import gzip
import json
import threading

import pytest

from schemas.testing import ManualClock
from sinks.dashboard.sharing import SharedAnswers, pack


class Computed:
    """Counts how often it was asked; waits until it is let go."""

    def __init__(self, *, held=False):
        self.times = 0
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self):
        assert self.go.wait(60)
        self.times += 1
        return {"times": self.times}


@pytest.fixture
def clock():
    return ManualClock()


def told(answer):
    return json.loads(answer.plain)["times"]


def test_an_answer_is_good_for_its_time(clock):
    async def ask():
        shared, computed = SharedAnswers(clock.monotonic), Computed()
        first = await shared.get("q", 1.0, computed)
        clock.sleep(0.9)
        same = await shared.get("q", 1.0, computed)
        clock.sleep(0.2)
        return told(first), told(same), told(await shared.get("q", 1.0, computed))

    assert asyncio.run(ask()) == (1, 1, 2)


def test_who_asks_while_it_is_computed_waits_for_the_same(clock):
    async def ask():
        shared, computed = SharedAnswers(clock.monotonic), Computed(held=True)
        waiting = [asyncio.ensure_future(shared.get("q", 1.0, computed)) for _ in range(50)]
        await asyncio.sleep(0)
        clock.sleep(30)  # however long it takes
        waiting.append(asyncio.ensure_future(shared.get("q", 1.0, computed)))
        await asyncio.sleep(0)
        computed.go.set()
        return {told(answer) for answer in await asyncio.gather(*waiting)}

    assert asyncio.run(ask()) == {1}


def test_one_that_leaves_takes_nothing_from_the_others(clock):
    async def ask():
        shared, computed = SharedAnswers(clock.monotonic), Computed(held=True)
        leaves = asyncio.ensure_future(shared.get("q", 1.0, computed))
        stays = asyncio.ensure_future(shared.get("q", 1.0, computed))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        computed.go.set()
        return told(await stays), leaves.cancelled()

    assert asyncio.run(ask()) == (1, True)


def test_an_error_is_told_to_all_and_not_kept(clock):
    def fails():
        raise ValueError("no")

    async def ask():
        shared = SharedAnswers(clock.monotonic)
        both = await asyncio.gather(
            shared.get("q", 60, fails), shared.get("q", 60, fails), return_exceptions=True
        )
        return [type(error) for error in both], told(await shared.get("q", 60, Computed()))

    assert asyncio.run(ask()) == ([ValueError, ValueError], 1)


def test_it_remembers_so_many_and_no_more(clock):
    async def ask():
        shared, computed = SharedAnswers(clock.monotonic), Computed()
        for number in range(300):
            await shared.get(number, 60, computed)
        await shared.get(299, 60, computed)
        kept = computed.times
        await shared.get(0, 60, computed)
        return kept, computed.times

    assert asyncio.run(ask()) == (300, 301)


def test_large_answers_are_packed_once():
    small, large = pack({"a": "ü"}), pack({"a": "x" * 5000})
    assert small.plain == '{"a":"ü"}'.encode()
    assert small.packed is None
    assert large.packed is not None
    assert gzip.decompress(large.packed) == large.plain
    assert pack({"a": "ü"}).etag == small.etag != large.etag


def test_what_is_no_json_is_not_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"a": float("nan")})
