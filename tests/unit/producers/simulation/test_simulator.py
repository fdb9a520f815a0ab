"""The simulator against a clock that only passes while it is waited for."""

import itertools
from threading import Event

import pytest
from producers_fakes import NOW_US

from producers.clock import MAX_SPEED, Pace, SystemClock, parse_speed
from producers.options import SimulateOptions, option_help
from producers.outputs.kafka import KafkaOutput
from producers.simulation.assembling import make_fleet, scheduling
from producers.simulation.choosing import choose, options_of
from producers.simulation.schedule import plan_schedule, time_bounds
from producers.simulation.simulator import Simulator
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError
from schemas.settings import Settings, SimulateSettings, TopicSettings


def simulator(publisher, codec, clock, chores=(), running=None, **given):
    """A simulation of devices with three metrics each, published to the fake publisher."""
    options = SimulateOptions(**{"fleet": "signal", "anomaly_rate": 0.0} | given)
    chosen = choose(options)
    fleet = make_fleet(chosen)
    output = KafkaOutput(publisher, codec, TopicSettings(), fleet.table)
    schedule = scheduling(fleet, options, TimeBounds(), [])
    return Simulator(fleet, output, schedule, clock, chores=chores, running=running)


def readings_of(publisher, codec):
    return [codec.decode_reading(message.value) for message in publisher.sent if message.topic == "readings"]


def test_devices_come_first_and_everything_is_acknowledged(publisher, codec, clock):
    summary = simulator(publisher, codec, clock, devices=3, duration=10.0).run(Event())
    assert [message.topic for message in publisher.sent[:4]] == ["devices", "devices", "devices", "readings"]
    device = codec.decode_device(publisher.sent[0].value)
    assert (device.device_id, publisher.sent[0].key) == ("signal-001", b"signal-001")
    assert summary.devices == 3
    assert summary.produced == 3 * 3 * 10
    assert publisher.acknowledged == len(publisher.sent) == 93
    counts = {part: count for (topic, part), (count, _) in publisher.delivered.items() if topic == "readings"}
    assert summary.by_partition == counts
    assert sum(summary.by_partition.values()) == 90
    assert summary.seconds == pytest.approx(10.0, abs=0.1)


def test_readings_are_sent_when_they_are_due(publisher, codec, clock):
    simulator(publisher, codec, clock, devices=4, duration=5.0).run(Event())
    for message in publisher.sent[4:]:
        reading = codec.decode_reading(message.value)
        assert message.key == reading.device_id.encode()
        assert 0 <= message.timestamp_ms * 1000 - reading.time + 1000 < 50_000
    assert len(clock.waits) < 5 * 110


def test_same_seed_same_readings_at_any_speed(publisher, codec, clock):
    found = []
    for speed, rate in ((1.0, None), (7.5, None), (MAX_SPEED, None), (MAX_SPEED, 30.0)):
        publisher.sent.clear()
        simulator(
            publisher, codec, clock, devices=10, duration=30.0, speed=speed, rate=rate, start=NOW_US - 60_000_000, seed=9,
            anomaly_rate=0.05,
        ).run(Event())  # fmt: skip
        found.append([message.value for message in publisher.sent if message.topic == "readings"])
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 900


def test_faults_are_counted(publisher, codec, clock):
    summary = simulator(
        publisher, codec, clock, devices=10, duration=60.0, speed=MAX_SPEED, anomaly_rate=0.1
    ).run(Event())
    faults = [reading.fault for reading in readings_of(publisher, codec)]
    assert summary.faults == len(faults) - faults.count(None) > 40
    assert "spike" in faults
    assert sum(summary.episodes.values()) > 40


def test_fast_time_ends_now(publisher, codec, clock):
    summary = simulator(publisher, codec, clock, devices=1, duration=3600.0, speed=MAX_SPEED).run(Event())
    assert summary.produced == 3 * 3600
    assert NOW_US - 3_600_000_000 <= summary.first_us < summary.last_us <= NOW_US
    assert summary.seconds == 0.0


@pytest.mark.parametrize("paused", [False, True])
def test_commands_do_not_wait_for_the_next_reading(publisher, codec, clock, paused):
    running, stop, looks = Event(), Event(), []
    if not paused:
        running.set()

    def look(_time_us):
        looks.append(clock.passed)
        if clock.passed > 60.0:
            stop.set()

    simulator(publisher, codec, clock, [look], running, devices=2, interval=30.0).run(stop)
    assert max(later - before for before, later in itertools.pairwise(looks)) < 0.06


def test_stop_ends_it_with_everything_acknowledged(publisher, codec, clock):
    stop = Event()
    clock.on_wait = lambda: stop.set() if clock.passed > 3.0 else None
    summary = simulator(publisher, codec, clock, devices=2).run(stop)
    assert 3 * 2 * 3 <= summary.produced <= 3 * 2 * 4
    assert publisher.acknowledged == len(publisher.sent)


def test_a_slow_broker_makes_it_late_and_loses_nothing(publisher, codec, clock):
    """Sending takes longer than the readings are apart: all are produced, and progress says how late it is."""
    seen = []
    send = publisher.send

    def slow(*arguments, **more):
        clock.passed += 0.02
        send(*arguments, **more)

    publisher.send = slow
    summary = simulator(publisher, codec, clock, devices=5, rate=150.0, duration=10.0).run(
        Event(), seen.append
    )
    assert summary.produced == 1500
    assert seen[-1].behind_s > 1.0
    assert summary.seconds > 19.0


def test_progress_counts(publisher, codec, clock):
    seen = []
    simulator(publisher, codec, clock, devices=5, duration=10.0).run(Event(), seen.append)
    assert len(seen) >= 10
    assert [step.sent for step in seen] == sorted(step.sent for step in seen)
    assert seen[-1].time_us > NOW_US
    assert max(step.behind_s for step in seen) < 0.1


def test_rate_sets_the_interval():
    assert make_fleet(choose(SimulateOptions(devices=50, rate=1000.0))).rate == pytest.approx(1000.0)
    assert make_fleet(
        choose(SimulateOptions(fleet="signal", devices=50, interval=0.5))
    ).rate == pytest.approx(300.0)


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 60.0},
        {"speed": MAX_SPEED},
        {"speed": 0.0},
        {"speed": float("nan")},
        {"duration": 0.0},
        {"duration": float("inf")},
        {"start": -1, "duration": 1.0},
        {"start": NOW_US + 2 * 86_400_000_000, "duration": 1.0},
        {"start": NOW_US, "duration": 1e6, "speed": MAX_SPEED},
    ],
)
def test_schedules_that_make_no_sense(options):
    with pytest.raises(ConfigError):
        plan_schedule(SimulateOptions(**options), NOW_US, TimeBounds())


@pytest.mark.parametrize(
    "options", [{"rate": 0.0}, {"rate": float("inf")}, {"interval": -1.0}, {"devices": 0}]
)
def test_fleets_that_make_no_sense(options):
    with pytest.raises(ConfigError):
        make_fleet(choose(SimulateOptions(**options)))


def test_settings_give_the_options():
    settings = Settings(simulate=SimulateSettings(devices=3, rate=5.0, seed=4, speed="max", duration="1m"))
    options = options_of(settings)
    assert (options.devices, options.rate, options.seed, options.speed, options.duration) == (
        3,
        5.0,
        4,
        MAX_SPEED,
        60.0,
    )
    assert options_of(Settings()) == SimulateOptions()
    assert time_bounds(settings) == TimeBounds()


def test_every_option_has_a_help_text():
    assert set(option_help(SimulateOptions)) == set(SimulateOptions.__dataclass_fields__)


@pytest.mark.parametrize(("text", "speed"), [("max", MAX_SPEED), ("1", 1.0), ("60x", 60.0), (" 0.5 ", 0.5)])
def test_speeds(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "inf", "nan"])
def test_no_speeds(text):
    with pytest.raises(ConfigError):
        parse_speed(text)


def test_system_clock_passes():
    clock, stop = SystemClock(), Event()
    before = clock.monotonic()
    clock.wait(0.01, stop)
    assert clock.monotonic() - before >= 0.009
    pace = Pace(0, 1e6, clock)
    clock.wait(0.001, stop)
    assert pace.due_us() >= 1e9 * 0.9
    assert clock.now_us() > 1_700_000_000_000_000
