"""The features of moving-average-detector, row by row of its document, each under its own words.

Elsewhere, since detection is part of the stream:

| row | tests |
|---|---|
| Moving average and standard deviation over a sliding window | tests/unit/processors/test_engine.py::test_mean_and_std_are_those_of_the_window_before_the_reading |
| Beyond a multiple of the standard deviation is an anomaly; above only | tests/unit/processors/test_engine.py::test_only_the_chosen_sides_count |
| Window size and multiplier are configurable | tests/unit/processors/test_engine.py::test_another_window_keeps_all_but_the_window |
| Log the anomaly data to a specified file | tests/integration/sinks/test_anomaly_log.py::test_every_anomaly_is_one_line_over_restarts |
| Errors in processing: nothing is lost, each has a reason | tests/unit/processors/test_engine.py::test_what_is_no_reading_is_rejected_with_its_reason_and_the_rest_goes_on |
| GET /anomalies, GET /read_log: lists of {value, timestamp, mean, std_dev} | tests/integration/sinks/api/test_api_answers.py::test_the_lists_of_moving_average_detector |
| The page that draws readings and anomalies | tests/integration/dashboard/test_dashboard_catch.py::test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart |
| /stream_data, /stream_anomalies | tests/integration/sinks/api/test_api_live_events.py::test_readings_and_anomalies_as_they_come_and_after_a_break, tests/integration/sinks/api/test_api_live_events.py::test_who_is_cut_off_before_a_first_event_misses_nothing |
"""

import time

import numpy as np
import pytest
from feature_runs import json_lines, simulate

from producers.devices.catalogue import load_catalogue
from tests.unit.producers.ingest.ingest_fakes import Service

DETECTED = {"status": "Data received and processed"}


@pytest.fixture
def detect():
    service = Service()
    yield service
    service.sender.stop(0.1)


@pytest.fixture(scope="module")
def signals():
    """Thirty signals for three hours, without outliers."""
    return simulate(fleet="signal", devices=30, duration=10_800.0, interval=10.0, anomaly_rate=0.0)


def by_device(found, metric):
    return np.array([found.values(metric, device.device_id) for device in found.devices])


# 1. Data generator server: data generation


def test_floating_point_values(signals):
    """Generate floating-point values that represent a simulated metric."""
    values = signals.values("sinusoid")
    assert np.mean(values != np.round(values)) > 0.99


def test_sinusoidal_patterns(signals):
    """The values should be a mix of regular patterns (e.g., sinusoidal ...)."""
    for row in by_device(signals, "sinusoid"):
        spectrum = np.abs(np.fft.rfft(row - row.mean())) ** 2
        strongest = spectrum.argmax()
        assert spectrum[strongest - 1 : strongest + 2].sum() > 0.6 * spectrum.sum()


def test_linear_trends(signals):
    """... or linear trends ..."""
    for row in by_device(signals, "trend"):
        smooth = np.convolve(row, np.ones(60) / 60, "valid")
        slopes = np.diff(smooth[::60])
        # Up and down with the same slope, but where it turns.
        middle = np.median(np.abs(slopes))
        assert np.mean(np.abs(np.abs(slopes) - middle) < 0.5 * middle) > 0.6


def test_steps(signals):
    """... (and steps)."""
    for row in by_device(signals, "step"):
        jumps = np.abs(np.diff(np.convolve(row, np.ones(6) / 6, "valid")[::6]))
        assert np.median(jumps) < 0.3 < jumps.max()


def test_random_noise(signals):
    """... with random noise to resemble real-world scenarios."""
    for metric in ("trend", "step"):
        steps = np.diff(by_device(signals, metric), axis=1)
        # 2 % of the range, in the difference of two.
        assert np.median(np.abs(steps)) / 0.6745 == pytest.approx(np.sqrt(2) * 0.2, rel=0.1)


def test_periodic_spikes_or_outliers():
    """Introduce periodic spikes or outliers to simulate potential anomalies."""
    found = simulate(fleet="signal", devices=30, duration=3600.0, interval=10.0)
    outliers = [reading.value for reading in found.readings if reading.fault == "spike"]
    assert 0.5 * 0.01 < len(outliers) / len(found.of("trend")) < 2 * 0.01
    assert min(outliers) < 40 < 50 < max(outliers)


# Data posting


def test_data_posting(detect):
    """Post generated data points to the Anomaly Detection Server's /detect endpoint at regular intervals."""
    points = simulate(fleet="signal", devices=1, duration=60.0).of("sinusoid")
    for point in points:
        answer = detect.http.post("/detect", json={"value": point.value, "timestamp": point.time / 1e6})
        assert (answer.status_code, answer.json()) == (200, DETECTED)
    assert [(r.time, r.value) for r in detect.kafka.readings] == [(p.time, p.value) for p in points]


# Configuration


def test_data_frequency():
    """data_frequency: how often new data points are generated (e.g., every second)."""
    for interval in (1.0, 0.25):
        found = simulate(fleet="signal", devices=1, duration=60.0, interval=interval)
        assert len(found.of("trend")) == 60 / interval


def test_value_range():
    """value_range: range for normal values (e.g., 40 to 50)."""
    for low, high in ((40.0, 50.0), (-3.0, 1.0)):
        found = simulate(fleet="signal", duration=600.0, normal_range=(low, high), anomaly_rate=0.0)
        values = np.array([reading.value for reading in found.readings])
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values) > 0.4 * (high - low)


def test_anomaly_probability():
    """anomaly_probability: probability of generating an outlier."""
    shares = [
        sum(reading.fault is not None for reading in found.readings) * 3 / len(found.readings)
        for found in (
            simulate(fleet="signal", devices=10, duration=600.0, anomaly_rate=rate)
            for rate in (0.0, 0.1, 0.5)
        )
    ]
    assert shares == pytest.approx([0.0, 0.1, 0.5], abs=0.02)


def test_anomaly_detection_url(cli):
    """anomaly_detection_url: URL of the Anomaly Detection Server's /detect endpoint; here the broker."""
    assert "--bootstrap-servers" in cli("simulate --help").out


def test_generator_as_a_command(cli, tmp_path):
    """The generator server, with its settings: DATA_FREQUENCY = 1, VALUE_RANGE = (40, 50), ANOMALY_PROBABILITY = 0.1."""
    cli(
        "simulate --fleet signal --interval 1s --normal-range 40 50 --anomaly-rate 0.1 --duration 10m --start 2026-01-01T00:00:00Z --speed max --to", tmp_path / "x.jsonl",
    )  # fmt: skip
    rows = json_lines(tmp_path / "x.jsonl")
    assert all(40 <= row["value"] <= 50 for row in rows if row["fault"] is None)
    # An outlier is at least as far away as the range is wide.
    changed = [row["value"] for row in rows if row["fault"]]
    assert changed
    assert np.mean([not 40 <= value <= 50 for value in changed]) > 0.8


def test_signal_is_a_type_of_the_catalogue():
    """The patterns are data."""
    assert set(load_catalogue().types["signal"].metrics) == {"sinusoid", "trend", "step"}


# 2. The detection server: data ingestion


def test_receive_data_points(detect):
    """Receive data points via POST requests to the /detect endpoint."""
    now = time.time()
    assert detect.http.post("/detect", json={"value": 45.2, "timestamp": now}).status_code == 200
    (reading,) = detect.kafka.readings
    assert (reading.value, reading.time) == (45.2, round(now * 1e6))


def test_detect_response(detect):
    """/detect: method POST, response {"status": "Data received and processed"}."""
    answer = detect.http.post("/detect", json={"value": 1, "timestamp": 1_698_401_060.0})
    assert (answer.status_code, answer.json()) == (200, DETECTED)
    assert detect.http.get("/detect").status_code == 405


# Error handling and logging


def test_data_receive_failures_name_the_field(detect):
    """Implement robust error handling to manage data receive failures: what is wrong with the data."""
    answer = detect.http.post("/detect", json={"value": "high", "timestamp": 1})
    assert (answer.status_code, answer.json()["place"]) == (422, "value")
    answer = detect.http.post("/detect", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert detect.kafka.readings == []


def test_data_receive_failures_of_the_broker():
    """Implement robust error handling to manage data receive failures: nowhere to put them."""
    service = Service(wait=0.05)
    service.kafka.answers.clear()
    answer = service.http.post("/detect", json={"value": 1, "timestamp": 1})
    assert answer.status_code == 503
    assert "may still arrive" in answer.json()["detail"]
    service.sender.stop(0.1)
