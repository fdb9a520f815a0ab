"""`sigmawatch up`: every reading is counted, those of a run before and those of a file too."""

import pytest

from tests.integration.deploy.conftest import LIVELY, assert_exact

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_run_and_a_second_one_that_finds_its_readings(stack):
    soon = ("--set", "processor.minimum_readings=20")  # of the sixty of each series
    verdict = assert_exact(stack.run("up", "--duration", "6", "--json", *LIVELY, *soon))
    assert verdict == {
        "readings": {"produced": 1800, "processed": 1800, "stored": 1800},
        "anomalies": {"opened": verdict["anomalies"]["opened"], "stored": verdict["anomalies"]["stored"]},
        "dead_letters": 0,
        "lost": 0,
        "duplicated": 0,
        "latency_ms": verdict["latency_ms"],
    }
    assert verdict["anomalies"]["stored"] >= 1
    assert 0 < verdict["latency_ms"]["p50"] <= verdict["latency_ms"]["p99"]
    assert stack.rows("SELECT count(*) FROM readings") == [(1800,)]
    again = stack.run("up", "--duration", "2", "--json", *LIVELY)
    assert "found 1,800 readings of before" in again.err
    assert assert_exact(again)["readings"]["stored"] == 600
    assert stack.rows("SELECT count(*) FROM readings") == [(2400,)]
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
