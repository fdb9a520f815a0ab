"""`sigmawatch up` is ended by its user: by Ctrl-C, and by `sigmawatch down`."""

import threading

import pytest

from tests.integration.deploy.conftest import LIVELY, assert_exact, interrupt

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_ctrl_c_drains_and_a_second_one_leaves(stack):
    process = stack.start("up", "--json", *LIVELY)
    stack.wait_for_readings(process)
    interrupt(process)
    assert_exact(stack.end(process))

    process = stack.start("up", "--json")
    stack.wait_for_line(process, "web view")
    interrupt(process)
    stack.wait_for_line(process, "stopping the producer")
    interrupt(process)
    ended = stack.end(process)
    assert (ended.code, ended.out) == (130, "")
    assert "left without draining" in ended.err
    assert stack.processes() == []


def test_down_stops_and_purges(stack):
    process = stack.start("up", "--json")
    stack.wait_for_line(process, "web view")
    refused = stack.run("down", "--purge", "--yes")
    assert refused.code == 1
    assert "Stop it first" in refused.err
    second = stack.run("up", "--duration", "1")
    assert second.code == 1
    assert f"process {process.pid}" in second.err
    stack.wait_for_readings(process)
    reader = threading.Thread(target=process.communicate)  # its pipes must not fill while it drains
    reader.start()
    stopped = stack.run("down")
    reader.join()
    assert (stopped.code, process.returncode) == (0, 0)
    assert stack.rows("SELECT count(*) > 0 FROM readings") == [(True,)]
    unsure = stack.run("down", "--purge")
    assert unsure.code == 1
    assert "--yes" in unsure.err
    assert stack.run("down", "--purge", "--yes").code == 0
    assert not stack.state.exists()
