"""`sigmawatch up` under SIGKILL: its parts come back, and of a killed one nothing is left."""

import os
import random
import signal
import sys
import time

import pytest

from tests.integration.deploy.conftest import LIVELY, assert_exact

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@linux
def test_parts_that_are_killed_come_back_and_nothing_is_lost(stack):
    process = stack.start("up", "--duration", "16", "--json", "--workers", "2", *LIVELY)
    said = stack.wait_for_line(process, "web view")
    rng = random.Random(5)
    for words in (("process",), ("sink",), ("simulate",), ("process",)):
        time.sleep(3)
        os.kill(rng.choice(stack.processes("deploy.cli", *words)), signal.SIGKILL)
    ended = stack.end(process)
    ended.err = said + ended.err
    assert_exact(ended)
    assert ended.err.count("killed by signal 9; starting it again") == 4


@linux
@pytest.mark.parametrize("moment", ["9 topics made", "web view"])
def test_nothing_is_left_when_it_is_killed(stack, moment):
    process = stack.start("up", "--json")
    stack.wait_for_line(process, moment)
    if moment == "web view":
        time.sleep(2)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 90
    while left := stack.processes():
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)
    assert_exact(stack.run("up", "--duration", "2", "--json"))
