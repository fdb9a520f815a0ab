"""`run_simulate`: what options, files and commands make of a simulation; on a clock that only passes while waited for."""

import itertools
import threading

import numpy as np
import pytest
import yaml
from producers_fakes import NOW_US

from producers.clock import MAX_SPEED, SystemClock
from producers.devices.catalogue import load_catalogue
from producers.options import SimulateOptions
from producers.simulation import snapshot
from producers.simulation.choosing import choose
from producers.simulation.running import run_simulate
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError, InputError
from schemas.settings import ControlSettings, Settings, SimulateSettings

SETTINGS = Settings()
PAST = NOW_US - 3_600_000_000


def run(publisher, clock, *, stop=None, settings=SETTINGS, **options):
    return run_simulate(settings, SimulateOptions(**options), stop=stop, clock=clock, publisher=publisher)


def sent(publisher, codec):
    """Readings in the order in which they were sent."""
    return [codec.decode_reading(message.value) for message in publisher.sent if message.topic == "readings"]


class StopAfter(threading.Event):
    """Set by itself when it was looked at so often."""

    def __init__(self, looks):
        super().__init__()
        self._looks = itertools.count(-looks)

    def is_set(self):
        return next(self._looks) >= 0


def test_history_ends_now(publisher, codec, clock):
    summary = run(publisher, clock, fleet="energy", duration=7 * 86_400.0, interval=300.0, speed=MAX_SPEED)
    assert summary.produced == 5 * 4 * 7 * 288
    assert summary.devices == 5
    readings = sent(publisher, codec)
    assert NOW_US - 7 * 86_400_000_000 <= readings[0].time < readings[-1].time <= NOW_US
    energy = [
        reading.value
        for reading in readings
        if reading.device_id == "mock-hvac-001" and reading.metric == "energy"
    ]
    assert energy == sorted(energy)
    assert energy[-1] == pytest.approx(25 * 7 * 24, rel=0.5)


def test_the_number_of_devices_is_spread_over_the_groups(publisher, codec, clock):
    run(publisher, clock, devices=40, duration=10.0, interval=5.0)
    ids = {reading.device_id for reading in sent(publisher, codec)}
    assert len(ids) == 40
    assert {"hvac-001", "signal-001", "SENSOR_001"} <= ids


def test_a_resumed_history_is_the_undisturbed_one(publisher, codec, clock, tmp_path):
    options = {"duration": 3600.0, "speed": MAX_SPEED, "start": PAST, "interval": 5.0, "anomaly_rate": 0.01}
    run(publisher, clock, **options)
    whole = sent(publisher, codec)
    publisher.sent.clear()
    state = tmp_path / "state.npz"
    for looks in (4, 3, 100_000):
        run(publisher, clock, **options, resume=True, state=state, stop=StopAfter(looks))
    assert sent(publisher, codec) == whole
    assert len(whole) > 100_000


def test_a_drift_goes_on_where_it_was_before_a_resume(publisher, codec, clock, tmp_path):
    """Half an hour of drifting ovens in three parts: each part begins where the one before has ended."""
    kinds = {name: {"weight": 0} for name in load_catalogue().types["oven"].faults} | {
        "drift": {"weight": 1, "duration": "2h", "intensity": [40, 40]}
    }
    path, values = tmp_path / "fleet.yaml", []
    for name, faults in (("faulty", {"probability": 1.0, "kinds": kinds}), ("healthy", {"probability": 0})):
        group = {"type": "oven", "device_id": "x-{number}", "count": 20, "faults": faults}
        path.write_text(yaml.safe_dump({"groups": [group]}))
        options = {"fleet": str(path), "duration": 1800.0, "speed": MAX_SPEED, "start": PAST, "interval": 1.0}
        publisher.sent.clear()
        cuts = []
        for looks in (1, 1, 100_000):
            run(publisher, clock, **options, resume=True, state=tmp_path / name, stop=StopAfter(looks))
            cuts.append(
                sum(message.key == b"x-1" and message.topic == "readings" for message in publisher.sent)
            )
        values.append(np.array([r.value for r in sent(publisher, codec) if r.device_id == "x-1"]))
    assert 0 < cuts[0] < cuts[1] < cuts[2] == 1800
    drift = np.abs(values[0] - values[1])
    assert drift[-1] > drift[cuts[1]] > drift[cuts[0]] > 1.0
    assert np.abs(np.diff(drift)).max() < 0.5


def test_a_resumed_real_time_simulation_goes_on_now_with_its_counters(publisher, codec, clock, tmp_path):
    state = tmp_path / "state.npz"
    options = {"fleet": "energy", "duration": 600.0, "interval": 5.0, "resume": True, "state": state}
    run(publisher, clock, **options)
    before = {r.device_id: r for r in sent(publisher, codec) if r.metric == "energy"}
    publisher.sent.clear()
    clock.passed += 7200
    run(publisher, clock, **options)
    after = [r for r in sent(publisher, codec) if r.metric == "energy"]
    first = {r.device_id: r for r in reversed(after)}
    for device, reading in first.items():
        assert reading.time - before[device].time > 7_000_000_000
        grown = reading.value - before[device].value
        assert 0 < grown < 2 * 120 * 5 * 5 / 3600


def test_a_state_of_another_simulation_is_refused(publisher, clock, tmp_path):
    state = tmp_path / "state.npz"
    options = {"fleet": "energy", "duration": 60.0, "resume": True, "state": state}
    run(publisher, clock, **options)
    for other, message in (
        ({"seed": 9}, "another seed"),
        ({"interval": 7.0}, "another interval"),
        ({"shard": "1/2"}, "another shard"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(publisher, clock, **{**options, **other})
    state.write_bytes(b"")
    with pytest.raises(InputError, match="no state"):
        run(publisher, clock, **options)


def test_resume_takes_over_what_changed_in_the_fleet_file(publisher, codec, clock, tmp_path):
    path, state = tmp_path / "fleet.yaml", tmp_path / "state.npz"
    path.write_text(yaml.safe_dump({"groups": [{"type": "hvac", "count": 2}]}))
    run(publisher, clock, fleet=str(path), duration=60.0, resume=True, state=state)
    energy = {r.device_id: r.value for r in sent(publisher, codec) if r.metric == "energy"}
    publisher.sent.clear()
    path.write_text(yaml.safe_dump({"groups": [{"type": "hvac", "count": 3}]}))
    run(publisher, clock, fleet=str(path), duration=60.0, resume=True, state=state)
    readings = [r for r in sent(publisher, codec) if r.metric == "energy"]
    assert {r.device_id for r in readings} == {"hvac-001", "hvac-002", "hvac-003"}
    first = {r.device_id: r.value for r in reversed(readings)}
    assert first["hvac-001"] > energy["hvac-001"]
    assert first["hvac-003"] < 0.1


def test_a_changed_fleet_file_is_taken_over_while_it_runs(publisher, codec, clock, tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"type": "hvac", "count": 1}], "faults": {"probability": 0}}))
    texts = {
        20: yaml.safe_dump(
            {
                "groups": [{"type": "hvac", "count": 1, "parameters": {"base_power": 500}}],
                "faults": {"probability": 0},
            }
        ),
        40: "groups: [{type: hvak}]",
    }

    def change():
        for second in sorted(texts):
            if clock.passed >= second:
                path.write_text(texts.pop(second))

    clock.on_wait = change
    run(publisher, clock, fleet=str(path), duration=60.0)
    power = [(r.time - NOW_US) / 1e6 for r in sent(publisher, codec) if r.metric == "power" and r.value > 400]
    assert 20 <= min(power) <= 27
    assert max(power) > 58
    assert texts == {}


def test_shards_have_the_whole_between_them(publisher, codec, clock):
    options = {"devices": 30, "duration": 60.0, "start": PAST, "speed": MAX_SPEED}
    run(publisher, clock, **options)
    whole = sent(publisher, codec)
    publisher.sent.clear()
    parts = []
    for shard in ("1/3", "2/3", "3/3"):
        from producers.simulation.assembling import make_fleet  # noqa: PLC0415

        fleet = make_fleet(choose(SimulateOptions(**options, shard=shard)))
        batch = fleet.between(PAST, PAST + 60_000_000)
        parts += [
            (fleet.table.device_ids[s], fleet.table.metrics[s], t, v)
            for s, t, v in zip(batch.series, batch.time, batch.value, strict=True)
        ]
    assert sorted(parts) == sorted((r.device_id, r.metric, r.time, r.value) for r in whole)


def test_troubles_are_counted_by_what_the_decoder_makes_of_them(publisher, codec, clock):
    troubles = ("late=5%", "duplicated=5%", "dropped=5%", "malformed=5%")
    summary = run(publisher, clock, duration=60.0, devices=30, troubles=troubles)
    values = [message.value for message in publisher.sent if message.topic == "readings"]
    assert summary.produced == len(values)
    import numpy as np  # noqa: PLC0415

    columns = decode_readings(
        values, np.full(len(values), NOW_US // 1000 + 10_000, np.int64), codec, TimeBounds()
    )
    bad = int((columns.status != 0).sum())
    assert 0.03 * len(values) < bad < 0.08 * len(values)
    good = [value for value, status in zip(values, columns.status, strict=True) if status == 0]
    assert 0.03 * len(values) < len(good) - len(set(good)) < 0.08 * len(values)


def test_what_is_held_back_is_sent_at_the_end(publisher, codec, clock):
    run(publisher, clock, fleet="energy", duration=60.0)
    whole = {(r.device_id, r.metric, r.time) for r in sent(publisher, codec)}
    publisher.sent.clear()
    clock.passed = 0.0
    run(publisher, clock, fleet="energy", duration=60.0, troubles=("late=50%", "late.delay=10m-1h"))
    assert {(r.device_id, r.metric, r.time) for r in sent(publisher, codec)} == whole


def test_a_file_in_kafkas_place(clock, tmp_path):
    path = tmp_path / "week.csv"
    summary = run(None, clock, fleet="energy", duration=3600.0, interval=60.0, speed=MAX_SPEED, to=str(path))
    assert summary.produced == 5 * 4 * 60
    assert len(path.read_text().splitlines()) == 1 + summary.produced
    with pytest.raises(ConfigError, match="exists"):
        run(None, clock, fleet="energy", duration=60.0, speed=MAX_SPEED, to=str(path))
    with pytest.raises(ConfigError, match="malformed messages are no readings"):
        run(None, clock, duration=60.0, to=str(tmp_path / "b.csv"), troubles=("malformed",))
    late = run(None, clock, duration=60.0, to=str(tmp_path / "c.csv"), troubles=("late=10%", "duplicated=5%"))
    assert late.troubles["late"] > 0 < late.troubles["duplicates"]
    assert late.produced == late.troubles["messages"] > late.troubles["readings"]


def test_demo_faults_come_soon_and_are_the_same_each_time(publisher, codec, clock):
    found = []
    for _ in range(2):
        publisher.sent.clear()
        clock.passed = 0.0
        summary = run(publisher, clock, devices=20, anomaly_rate=0.0, duration=120.0, interval=1.0, demo=True)
        found.append([(r.device_id, r.fault, r.time) for r in sent(publisher, codec) if r.fault])
        assert 3 <= sum(summary.episodes.values()) <= 4
    assert found[0] == found[1]
    assert 19 <= (found[0][0][2] - NOW_US) / 1e6 <= 23


def test_sensor_log_generators_files_work_as_they_are(publisher, codec, clock, tmp_path):
    config, identity = tmp_path / "config.yaml", tmp_path / "identity.json"
    config.write_text(
        """
simulation: {readings_per_second: 2, run_time_seconds: 30}
replicas: {count: 3, prefix: LOAD, start_index: 5}
anomalies: {enabled: false}
normal_parameters: {temperature: {mean: 5.0, std_dev: 0.5, min: 0.0, max: 10.0}}
database: {path: data/sensor_data.db}
"""
    )
    identity.write_text(
        '{"id": "X", "location": "New York", "timezone": "America/New_York", "firmware_version": "v2"}'
    )
    run(publisher, clock, config=config, identity=identity)
    readings = sent(publisher, codec)
    assert len({r.device_id for r in readings}) == 3
    assert len(readings) == 3 * 4 * 2 * 30
    temperature = [r.value for r in readings if r.metric == "temperature"]
    assert 3.5 < sum(temperature) / len(temperature) < 6.5
    assert "database.path" in choose(SimulateOptions(config=config, identity=identity)).warning


def test_commands_reach_the_simulation_by_http(publisher, codec, tmp_path):
    """On the real clock: a fault is injected over the API, and virtual time stands while it is stopped."""
    import httpx  # noqa: PLC0415

    stop, ports, failures = threading.Event(), [], []
    settings = Settings(control=ControlSettings(enabled=True, port=0))

    def talk(port):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                answer = client.post(
                    "/trigger-anomaly",
                    json={"device_id": "mock-hvac-001", "anomaly_type": "power_spike", "duration": 5},
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["data"]["anomaly_type"] == "power_spike"
                assert client.get("/health").status_code == 200
                assert client.post("/api/v1/simulation/stop").status_code == 200
                assert client.get("/api/v1/simulation/status").json()["data"]["is_running"] is False
                assert client.post("/api/v1/simulation/start").status_code == 200
                deadline = threading.Event()
                while not any(r.fault for r in sent(publisher, codec)) and not deadline.wait(0.05):
                    pass
        except Exception as error:  # noqa: BLE001 - raised in the test's thread
            failures.append(error)
        finally:
            stop.set()

    def listening(port):
        ports.append(port)
        threading.Thread(target=talk, args=(port,), daemon=True).start()

    run_simulate(
        settings, SimulateOptions(fleet="energy", anomaly_rate=0.0, interval=0.1, duration=60.0),
        stop=stop, clock=SystemClock(), publisher=publisher, on_listening=listening,
    )  # fmt: skip
    assert failures == []
    faulty = [r for r in sent(publisher, codec) if r.fault]
    assert {r.device_id for r in faulty} == {"mock-hvac-001"}
    assert {r.fault for r in faulty} == {"power_spike"}


def test_a_saved_state_is_one_of_its_fleet(publisher, clock, tmp_path):
    state = tmp_path / "a" / "state.npz"
    run(publisher, clock, fleet="energy", duration=60.0, resume=True, state=state)
    fleet, saved, _ = snapshot.load(state, load_catalogue())
    assert fleet.position_us == NOW_US + 60_000_000
    assert saved["shard"] == "1/1"
    with pytest.raises(ConfigError, match="needs a file"):
        run(publisher, clock, fleet="energy", duration=60.0, resume=True)


def test_no_reload_where_it_is_switched_off(publisher, codec, clock, tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"type": "hvac"}]}))
    clock.on_wait = lambda: path.write_text(yaml.safe_dump({"groups": [{"type": "hvac", "count": 4}]}))
    run(
        publisher,
        clock,
        fleet=str(path),
        duration=30.0,
        settings=Settings(simulate=SimulateSettings(reload=0.0)),
    )
    assert {r.device_id for r in sent(publisher, codec)} == {"hvac-001"}
