"""`sigmawatch up`: every reading is counted, whatever happens meanwhile, and nothing is left behind."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import kafka_available
from tests.integration.deploy.conftest import interrupt

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

LIVELY = ("--fleet", str(Path(__file__).with_name("steady_fleet.yaml")), "--interval", "100ms")
"""300 readings a second."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def assert_exact(ended):
    verdict = ended.verdict
    assert (verdict["lost"], verdict["duplicated"], ended.code) == (0, 0, 0), ended.err
    readings, anomalies = verdict["readings"], verdict["anomalies"]
    assert readings["produced"] == readings["processed"] > 0
    assert anomalies["opened"] == anomalies["stored"]
    return verdict


def test_a_run_and_a_second_one_that_finds_its_readings(stack):
    verdict = assert_exact(stack.run("up", "--duration", "8", "--json", *LIVELY))
    assert verdict == {
        "readings": {"produced": 2400, "processed": 2400, "stored": 2400},
        "anomalies": {"opened": verdict["anomalies"]["opened"], "stored": verdict["anomalies"]["stored"]},
        "dead_letters": 0,
        "lost": 0,
        "duplicated": 0,
        "latency_ms": verdict["latency_ms"],
    }
    assert verdict["anomalies"]["stored"] >= 1
    assert 0 < verdict["latency_ms"]["p50"] <= verdict["latency_ms"]["p99"]
    assert stack.rows("SELECT count(*) FROM readings") == [(2400,)]
    again = stack.run("up", "--duration", "3", "--json", *LIVELY)
    assert "found 2,400 readings of before" in again.err
    assert assert_exact(again)["readings"]["stored"] == 900
    assert stack.rows("SELECT count(*) FROM readings") == [(3300,)]
    assert stack.processes() == []


def test_a_real_file_gives_anomalies_and_a_second_replay_adds_no_row(stack, data):
    query = "SELECT count(*), (SELECT count(*) FROM anomalies) FROM readings"
    verdict = assert_exact(stack.run("up", "--replay", str(data), "--json"))
    assert verdict["readings"] == {"produced": 7267, "processed": 7267, "stored": 7267}
    assert verdict["anomalies"]["stored"] >= 1
    rows = stack.rows(query)
    second = stack.run("up", "--replay", str(data), "--json")
    assert "the window is 4d4h" in second.err
    assert assert_exact(second) == {**verdict, "latency_ms": {"p50": None, "p99": None}}
    assert stack.rows(query) == rows


def test_bad_rows_end_it_or_are_skipped(stack, tmp_path):
    file = tmp_path / "some.csv"
    rows = [f"2026-01-01T00:{minute:02}:00Z,{minute % 7}" for minute in range(60)]
    file.write_text("\n".join(["time,value", *rows[:30], "2026-01-01T00:30:00Z,warm", *rows[31:]]) + "\n")
    stopped = stack.run("up", "--replay", str(file), "--json")
    assert stopped.code == 2
    assert "line 32" in stopped.err
    assert "warm" in stopped.err
    assert "Traceback" not in stopped.err
    verdict = assert_exact(stack.run("up", "--replay", str(file), "--on-error", "skip", "--json"))
    assert verdict["readings"]["stored"] == 59


@linux
def test_parts_that_are_killed_come_back_and_nothing_is_lost(stack):
    process = stack.start("up", "--duration", "25", "--json", "--workers", "2", *LIVELY)
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
    deadline = time.monotonic() + 40
    while left := stack.processes():
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)
    assert_exact(stack.run("up", "--duration", "2", "--json"))


def test_ctrl_c_drains_and_a_second_one_leaves(stack):
    process = stack.start("up", "--json", *LIVELY)
    stack.wait_for_line(process, "web view")
    time.sleep(8)  # readings flow, on a busy machine too
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
    time.sleep(8)  # readings flow, on a busy machine too
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


def test_servers_of_ones_own_with_what_is_in_them_already(stack, fresh_broker, database):
    own = {"SIGMAWATCH_DATABASE__URL": database.url}
    servers = ("--bootstrap-servers", fresh_broker.bootstrap_servers)
    first = assert_exact(stack.run("up", "--duration", "4", "--json", *servers, *LIVELY, **own))
    assert first["readings"]["produced"] == 1200
    # What was sent meanwhile is caught up with first, and not counted.
    stack.run("simulate", "--duration", "2", *servers, *LIVELY)
    second = stack.run("up", "--duration", "4", "--json", "--workers", "2", *servers, *LIVELY, **own)
    assert "catching up first with 600 readings" in second.err
    assert assert_exact(second)["readings"]["produced"] == 1200
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (3000,)
    assert not (stack.state / "postgres").exists()


def test_on_apache_kafka(stack):
    if reason := kafka_available():
        pytest.skip(f"Apache Kafka cannot be had: {reason}")
    first = assert_exact(stack.run("up", "--broker", "kafka", "--duration", "4", "--json", *LIVELY))
    second = assert_exact(stack.run("up", "--broker", "kafka", "--duration", "4", "--json", *LIVELY))
    assert first["readings"]["produced"] == second["readings"]["produced"] == 1200
    assert stack.rows("SELECT count(*) FROM readings") == [(2400,)]
