"""`sigmawatch up` under SIGKILL: its parts come back, and of a killed one nothing is left."""

import os
import random
import signal
import sys

import pytest

from tests.integration.deploy.conftest import LIVELY, assert_exact, interrupt
from tests.support.waiting import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@linux
def test_parts_that_are_killed_come_back_and_nothing_is_lost(stack):
    process = stack.start("up", "--json", "--workers", "2", *LIVELY)
    said = stack.wait_for_readings(process)
    rng = random.Random(5)
    for words in (("process",), ("sink",), ("simulate",), ("process",)):
        until(lambda: stack.processes("deploy.cli", *words), what=f"{words} runs")  # noqa: B023
        os.kill(rng.choice(stack.processes("deploy.cli", *words)), signal.SIGKILL)
        said += stack.wait_for_line(process, "killed by signal 9; starting it again")
        said += stack.wait_for_line(process, " produced")
    interrupt(process)
    ended = stack.end(process)
    assert_exact(ended)
    assert (said + ended.err).count("killed by signal 9; starting it again") == 4


@linux
def test_nothing_is_left_when_it_is_killed(stack):
    """Early, as soon as the topics are there, and at work; the same state folder serves the next one each time."""
    for wait in (lambda process: stack.wait_for_line(process, "topics made"), stack.wait_for_readings):
        process = stack.start("up", "--json")
        wait(process)
        process.kill()
        process.wait()
        stack.until_nothing_runs()
    assert_exact(stack.run("up", "--duration", "2", "--json"))
