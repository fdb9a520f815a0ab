"""Models on a real database: a fleet's history with faults, a model of it, and an engine that it serves."""

import json

import numpy as np
import psycopg
import pytest

from deploy.cli.main import main
from deploy.modelling.fitting import scores_of
from deploy.modelling.gathering import Gatherer
from deploy.modelling.measuring import APART_US
from processors.detection.facts import DeviceFacts, KnownDevices
from processors.engine.book import OneProfile
from processors.engine.collecting_kernel import ECHO
from processors.engine.partition import PartitionEngine
from processors.engine.profile import ModelLimits, Profile, records
from processors.models.book import with_models
from processors.models.store import load_models
from schemas.readings import Reading
from sinks.timescale.history import StoredSeries, anomalous_times, readings_of, stored_series
from sinks.timescale.migrate import migrate
from tests.support.engines import judged_in, only, opened
from tests.support.models import BEGIN, DAY, MINUTE, NOT_ANOMALOUS, day_after_day, history
from tests.support.sinks import database

__all__ = ["database"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

TO = "2026-01-12T00:00:00Z"
DAYS = 7
FAULTS = {"oven-1": range(9000, 9060), "oven-2": range(9400, 9430), "oven-3": range(4000, 4060)}
"""Minutes; those of the first two lie in the last fifth."""
ANOMALY = (3000, 3090)
"""Minutes of an episode of oven-4, about nothing."""


def values_of(number):
    values = day_after_day(DAYS, seed=number)
    for minute in FAULTS.get(f"oven-{number}", ()):
        values[minute] += 30.0 if minute % 2 else 20.0
    return values


@pytest.fixture
def store(database, monkeypatch, tmp_path):
    """A week of four ovens, a reading a minute, a lamp, and a heater of a day."""
    monkeypatch.setenv("SIGMAWATCH_DATABASE__URL", database.url)
    monkeypatch.setenv("SIGMAWATCH_MODELS__FOLDER", str(tmp_path / "models"))
    with psycopg.connect(database.url, autocommit=True) as connection:
        migrate(connection)
        for device, kind in [(f"oven-{n}", "oven") for n in range(1, 5)] + [
            ("lamp", "lamp"),
            ("heater", "heater"),
        ]:
            connection.execute(
                """INSERT INTO devices (device_id, type, name, manufacturer, model, firmware, serial_number, units, attributes)
                   VALUES (%s, %s, '', '', '', '', '', '{}', '{}')""",
                (device, kind),
            )
        with connection.cursor() as cursor:
            put(cursor, "lamp", "state", np.arange(DAYS * 1440) // 600 % 2)
            put(cursor, "heater", "temperature", day_after_day(1))
            for number in range(1, 5):
                put(cursor, f"oven-{number}", "temperature", values_of(number))
        connection.execute(
            """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score,
                                      mean, std, lower, upper, readings, detected_at)
               SELECT gen_random_uuid(), 'oven-4', 'temperature', 'spike', 'CLEARED', min(time), max(time),
                      1, 1, 1, 1, 1, 1, 1, now()
               FROM (SELECT time FROM readings WHERE device_id = 'oven-4' ORDER BY time OFFSET %s LIMIT %s) AS stretch""",
            (ANOMALY[0], ANOMALY[1] - ANOMALY[0] + 1),
        )
    return database


def put(cursor, device, metric, values):
    faults = FAULTS.get(device, ())
    with cursor.copy("COPY readings (device_id, metric, time, value, fault) FROM STDIN") as copy:
        for row, (time, value) in enumerate(zip(history(values).time.tolist(), values.tolist(), strict=True)):
            copy.write_row(
                (device, metric, np.datetime64(time, "us").item(), value, "drift" if row in faults else None)
            )


def say(capsys, *arguments, code=0):
    assert main(["model", *arguments]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out) if "--json" in arguments else shown.out + shown.err


def trained(capsys, *more):
    (model,) = say(capsys, "train", "--to", TO, "--types", "oven", "--json", *more)["models"]
    return model


def test_history_is_read_as_it_is_stored(store):
    with psycopg.connect(store.url, autocommit=True) as connection:
        found = stored_series(connection, ["oven", "lamp"])
        assert [(one.type, one.device_id, one.metric) for one in found] == [
            ("lamp", "lamp", "state"), *(("oven", f"oven-{n}", "temperature") for n in range(1, 5)),
        ]  # fmt: skip
        assert len(stored_series(connection, None)) == 6
        end = BEGIN + DAYS * DAY
        pieces = list(
            readings_of(connection, StoredSeries("oven", "oven-1", "temperature"), BEGIN + MINUTE, end)
        )
        assert np.concatenate([one.value for one in pieces]).tobytes() == values_of(1)[1:].tobytes()
        assert (
            np.concatenate([one.time for one in pieces]).tolist() == history(values_of(1)).time[1:].tolist()
        )
        faulty = np.flatnonzero(np.concatenate([one.faulty for one in pieces])) + 1
        assert faulty.tolist() == list(FAULTS["oven-1"])
        oven = StoredSeries("oven", "oven-4", "temperature")
        begin, until = (BEGIN + minute * MINUTE for minute in ANOMALY)
        assert anomalous_times(connection, oven, BEGIN, end).tolist() == [[begin, until]]
        assert anomalous_times(connection, oven, until + 1, end).tolist() == []
        nobody = StoredSeries("oven", "o'ven", "temperature")
        assert list(readings_of(connection, nobody, BEGIN, end)) == []


def test_a_model_is_what_its_history_says(store, capsys, tmp_path):
    model = trained(capsys)
    assert (model["type"], model["metric"], model["series"], model["readings"]) == (
        "oven",
        "temperature",
        4,
        40320,
    )
    assert model["trained_from"] == "2026-01-05T00:00:00Z"
    assert model["excluded"] > 0
    quality = model["quality"]
    assert (quality["faults"], quality["detected"]) == (2, 2)
    assert quality["recall"] == 1.0
    assert quality["alarms"] == quality["true_alarms"] + quality["false_alarms"]
    # The same figures by hand, from the stored readings and the file.
    (usable,) = load_models(tmp_path / "models").usable.values()
    held_out = round(usable.info.held_out_from.timestamp() * 1e6)
    alarms, healthy = {}, []
    for number in range(1, 5):
        panes = Gatherer(records([Profile()])[0]).take(
            history(values_of(number), list(FAULTS.get(f"oven-{number}", ()))), NOT_ANOMALOUS
        )
        panes = panes[panes["closed"] >= held_out]
        scores = scores_of(usable.forest, panes)
        healthy.append(scores[panes["excluded"] == 0])
        times = panes["closed"][scores >= model["threshold"]]
        alarms[f"oven-{number}"] = times[np.diff(times, prepend=-(2**60)) > APART_US]
    assert quality["alarms"] == sum(map(len, alarms.values()))
    true = sum(
        BEGIN + FAULTS[device][0] * MINUTE <= time <= BEGIN + (FAULTS[device][-1] + 15) * MINUTE
        for device in ("oven-1", "oven-2")
        for time in alarms[device]
    )
    assert quality["true_alarms"] == true
    assert model["scores"]["quantiles"]["1"] == pytest.approx(np.concatenate(healthy).max(), abs=1e-6)
    assert sum(model["scores"]["healthy"]) == len(np.concatenate(healthy))


def test_the_same_data_and_seed_give_the_same_model(store, capsys, tmp_path):
    one = trained(capsys)
    forest = (tmp_path / "models" / one["file"]).read_bytes()
    again = trained(capsys, "--out", str(tmp_path / "again"))
    other = trained(capsys, "--out", str(tmp_path / "other"), "--seed", "2")
    assert (tmp_path / "again" / again["file"]).read_bytes() == forest
    for model in (one, again):
        del model["trained_at"], model["path"]
    assert one == again
    assert other["sha256"] != one["sha256"]


def test_what_is_faulty_or_was_an_anomaly_is_not_learnt_from(store, capsys):
    before = trained(capsys)
    store.query("UPDATE readings SET fault = NULL")
    store.query("DELETE FROM anomalies")
    after = trained(capsys)
    assert after["excluded"] == 0
    assert after["panes"] == before["panes"] + before["excluded"]
    assert after["quality"]["faults"] is None
    assert after["quality"]["recall"] is None
    assert after["quality"]["false_alarms"] is None
    # an hour of a fault, an hour and a half of an anomaly, in panes, each with its echo
    panes = (60 + 90) * 60 / before["meaning"]["pane_s"]
    assert before["excluded"] == pytest.approx(panes + 2 * ECHO, abs=4)


def test_an_engine_with_the_model_finds_what_breaks_the_pattern(store, capsys, tmp_path):
    trained(capsys)
    models = load_models(tmp_path / "models")
    devices = KnownDevices({"new": DeviceFacts(type="oven"), "lamp": DeviceFacts(type="lamp")})
    engine = PartitionEngine(with_models(OneProfile(only(model=ModelLimits())), models, devices))
    values = day_after_day(5, seed=77)
    broken = range(6000, 6090)
    values[broken] = values[
        6000 - 720 : 6000 - 720 + 90
    ]  # half a day's shift: the values are usual, their time is not
    begin = BEGIN + 30 * DAY
    readings = [Reading("new", "temperature", begin + row * MINUTE, float(v)) for row, v in enumerate(values)]
    anomalies, q = judged_in(engine, readings)
    during = np.zeros(len(values), np.bool_)
    during[broken] = True
    judged = q > 0.0
    share, usual = (q[judged & during] >= 1.0).mean(), (q[judged & ~during] >= 1.0).mean()
    assert share > 0.1
    assert share > 20 * usual
    assert np.median(q[judged & during]) > 3 * np.median(q[~during & (q > 0)])
    first = opened(anomalies)[0]
    assert (first.channel, first.metric) == ("model", "temperature")
    assert begin + 6000 * MINUTE <= first.opened_at <= begin + broken[-1] * MINUTE


def test_what_has_too_little_history_is_passed_over_and_said(store, capsys):
    said = say(capsys, "train", "--to", TO, "--json")
    assert [(one["type"], one["metric"]) for one in said["models"]] == [("oven", "temperature")]
    reasons = {one["type"]: one["reason"] for one in said["passed_over"]}
    assert "on or off" in reasons["lamp"]
    assert reasons["heater"].startswith("0 healthy panes")
    assert "over 23h59m" in reasons["heater"]
    assert "it takes 1,000" in reasons["heater"]


def test_nothing_at_all_is_an_error(store, capsys):
    said = say(capsys, "train", "--to", TO, "--types", "heater", code=1)
    assert "heater temperature: 0 healthy panes" in said
    said = say(capsys, "train", "--types", "oven", code=1)  # up to now: nothing in the last week
    assert "it has no readings in that time" in said
    said = say(capsys, "train", "--types", "oven,toaster", code=2)
    assert "no device is of type toaster" in said
    assert "There are heater, lamp, oven" in said


def test_a_preset_without_models_has_none(store, capsys):
    assert main(["--set", "processor.preset=moving-average", "model", "train", "--to", TO]) == 1
    assert "switch models off" in capsys.readouterr().err


def test_status_and_show(store, capsys, tmp_path):
    assert "no models in" in say(capsys, "status")
    model = trained(capsys)
    said = say(capsys, "status", "--json")
    (found,) = said["models"]
    assert found["sha256"] == model["sha256"]
    assert said["refused"] == {}
    assert "2 of 2" in say(capsys, "status")
    shown = say(capsys, "show", "oven")
    for part in (
        "off_pattern",
        f"alarm from {model['threshold']:.3f}",
        "40,320 readings of 4 of 4 series",
        "100 trees",
    ):
        assert part in " ".join(shown.split())
    assert (
        say(capsys, "show", "oven", "--metric", "temperature", "--json")["models"][0]["sha256"]
        == model["sha256"]
    )
    assert "no usable model for toaster" in say(capsys, "show", "toaster", code=2)
    (tmp_path / "models" / model["file"]).write_bytes(b"")
    said = say(capsys, "status", code=1)
    assert "refused: oven.temperature.json" in said
    assert "SHA-256" in said
