"""Three workers of one fleet on a real broker: commands through any of them, by Kafka and by HTTP."""

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from producers.clock import SystemClock
from producers.control.app import controlled
from producers.control.bus import Bus
from producers.control.kafka_control import KafkaControl
from producers.control.messages import Request, encode_request
from producers.control.shards import Shard, shard_of
from producers.devices.fleet_spec import Group
from producers.simulation.commands import (
    ClearFaults,
    CreateDevices,
    DeleteDevices,
    InjectFault,
    ListDevices,
    Selector,
    UnknownDeviceError,
    UpdateDevices,
    to_json,
)
from schemas.errors import TopicError
from schemas.kafka import Publisher, client_config, new_client
from schemas.settings import ControlSettings, KafkaSettings, Settings, TopicSettings
from schemas.topics import create_topics, topic_specs
from tests.support.running_fleet import GROUPS, device_types, running_fleet
from tests.support.waiting import until

pytestmark = pytest.mark.integration
logging.getLogger("librdkafka").setLevel(logging.CRITICAL)

SHARDS = 3


@pytest.fixture
def settings(broker):
    """Settings with topics of this test's own, which are there."""
    name = uuid4().hex[:8]
    made = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        topics=TopicSettings(commands=f"commands-{name}", replies=f"replies-{name}"),
        control=ControlSettings(enabled=True, port=0),
    )
    specs = [spec for spec in topic_specs(made) if name in spec.name]
    create_topics(new_client(AdminClient, client_config(made.kafka)), specs)
    return made


@contextmanager
def worker(settings, number, groups=GROUPS):
    """One worker: its fleet and its control of all."""
    shard = Shard(number, SHARDS)
    with (
        running_fleet(groups, shard) as fleet,
        KafkaControl(Bus.of(settings), shard, fleet.control) as control,
    ):
        control.wait_until_ready(90)
        yield fleet, control


@pytest.fixture
def workers(settings):
    with ExitStack() as stack:
        yield [stack.enter_context(worker(settings, number)) for number in range(1, SHARDS + 1)]


def ids(outcome):
    return [view.device.device_id for view in outcome.devices]


def put_on_topic(settings, *values):
    with Publisher(client_config(settings.kafka)) as publisher:
        for value in values:
            publisher.send(settings.topics.commands, None, value, partition=0)


def test_commands_through_any_worker(workers):
    everybody = ids(workers[0][1].apply(ListDevices()))
    assert len(everybody) == 8
    for _, control in workers:
        assert ids(control.apply(ListDevices())) == everybody
        for name in everybody:
            assert ids(control.apply(UpdateDevices(Selector(name), name=f"{name} here"))) == [name]
        assert control.apply(InjectFault(Selector(type="hvac"), until_cleared=True)).count == 3
        assert (
            control.apply(InjectFault(Selector(type="oven"), random_one=True, until_cleared=True)).count == 1
        )
        assert control.apply(ListDevices(faulty=True)).count == 4
        assert control.apply(ClearFaults()).count == 4
        assert control.apply(CreateDevices(Group(type="lamp", count=12))).count == 12
        assert control.apply(DeleteDevices(Selector("lamp-*"))).count == 12
        with pytest.raises(UnknownDeviceError):
            control.apply(DeleteDevices(Selector("nobody")))
        control.stop()
        assert [status.running for status in control.status()] == [False] * SHARDS
        control.start()
        assert [(status.shard, status.running) for status in control.status()] == [
            (1, True),
            (2, True),
            (3, True),
        ]
    for fleet, control in workers:
        assert [device.name for device in fleet.fleet.devices] == [
            f"{name} here" for name in everybody if shard_of(name, SHARDS) == fleet.shard.number
        ]
        assert fleet.control is not control


@pytest.mark.most_real
def test_a_long_answer_comes_whole(workers):
    control = workers[0][1]
    created = control.apply(CreateDevices(Group(type="fan", count=3000)), 60)
    assert created.count == 3000
    assert len(created.devices) == 1000
    found = control.apply(ListDevices(Selector(type="fan")), 60)
    assert len(found.devices) == 3000
    assert ids(found) == sorted(ids(found))


@pytest.mark.most_real
def test_a_worker_that_is_away_is_named_and_hears_nothing_of_it_later(settings, workers):
    with ExitStack() as stack:
        control = workers[0][1]
        workers[1][1].__exit__(None, None, None)
        names = [f"hvac-{number:03}" for number in (1, 2, 3)] + [f"oven-{number:03}" for number in (1, 2, 3)]
        away = next(name for name in names if shard_of(name, SHARDS) == 2)
        with pytest.raises(
            TimeoutError,
            match=r"shard 2 of 3 did not answer within 3 s\. Does `sigmawatch simulate --shard 2/3` run",
        ):
            control.apply(UpdateDevices(Selector(away), name="late"), 3.0)
        with pytest.raises(TimeoutError, match="the others have done it"):
            control.apply(ClearFaults(), 3.0)
        fleet, _ = stack.enter_context(worker(settings, 2))
        assert ids(control.apply(ListDevices(Selector(away)))) == [away]
        assert fleet.fleet.population.member(fleet.fleet.population.number_of(away)).spec.name != "late"
        assert len(ids(control.apply(ListDevices()))) == 8


def test_what_comes_twice_too_late_or_broken(settings, workers):
    now = SystemClock().now_us()
    once = Request(
        "one",
        "tester",
        "apply",
        now,
        60.0,
        SHARDS,
        (1, 2, 3),
        to_json(CreateDevices(Group(type="pm", device_id="pm-new"), exact=True)),
    )
    stale = replace(
        once, request_id="two", sent_us=now - 61_000_000, command=to_json(DeleteDevices(Selector("*")))
    )
    with capture_logs() as logs:
        put_on_topic(
            settings, b"nonsense", encode_request(once), encode_request(stale), encode_request(once), None
        )
        until(lambda: sum("passed over" in log["event"] for log in logs) == 2 * SHARDS)
        until(lambda: sum("too late" in log["event"] for log in logs) == SHARDS)
    control = workers[2][1]
    assert len(ids(control.apply(ListDevices()))) == 9
    assert sum(fleet.fleet.counts.devices for fleet, _ in workers) == 9


def test_an_outage_of_the_broker_is_survived(broker, workers):
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be stopped for a moment")
    control = workers[0][1]
    ours, away = (
        next(name for name in ids(control.apply(ListDevices())) if shard_of(name, SHARDS) == n)
        for n in (1, 2)
    )
    broker.pause()
    try:
        with pytest.raises(TimeoutError, match="shard 2 of 3"):
            control.apply(UpdateDevices(Selector(away), name="late"), 0.5)
        # Our own device is reached all the same.
        assert ids(control.apply(UpdateDevices(Selector(ours), name="here"))) == [ours]
    finally:
        broker.resume()
    until(lambda: answers(control), 120)
    (view,) = control.apply(ListDevices(Selector(away))).devices
    assert view.device.name != "late"


def answers(control):
    try:
        return control.apply(ListDevices(limit=1), 5.0).count == 8
    except TimeoutError:
        return False


@pytest.mark.most_real
def test_by_http(settings):
    """Each worker serves the API, and any of them controls all."""
    with ExitStack() as stack:
        ports = []
        for number in range(1, SHARDS + 1):
            fleet = stack.enter_context(running_fleet(GROUPS, Shard(number, SHARDS)))
            stack.enter_context(controlled(settings, fleet.control, device_types, fleet.shard, ports.append))
        until(lambda: len(ports) == SHARDS)
        for port in ports:
            url = f"http://127.0.0.1:{port}"
            # Topics that were just made: a worker that cannot read them yet is answered for with 504.
            until(lambda url=url: httpx.get(f"{url}/api/v1/devices", timeout=30).is_success, 120.0)
            devices = httpx.get(f"{url}/api/v1/devices", timeout=30).json()["data"]
            assert len(devices) == 8
            for device in devices:
                changed = httpx.put(
                    f"{url}/api/v1/devices/{device['id']}", json={"online": False}, timeout=30
                )
                assert changed.json()["data"]["status"] == "offline"
            status = httpx.get(f"{url}/api/v1/simulation/status", timeout=30).json()["data"]
            assert status["total_devices"] == 8
            assert [one["shard"] for one in status["workers"]] == ["1/3", "2/3", "3/3"]
            httpx.post(f"{url}/trigger-anomaly", json={"duration": 5}, timeout=30).raise_for_status()
            assert httpx.get(f"{url}/health", timeout=30).json()["active_devices"] < 8


@pytest.mark.most_real
def test_missing_topics_are_said_at_the_beginning(broker):
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        topics=TopicSettings(commands="not-there", replies="nor-this"),
    )
    with (
        running_fleet(GROUPS, Shard(1, 2)) as fleet,
        pytest.raises(TopicError, match=r"no topic not-there and no topic nor-this.*topics create"),
    ):
        KafkaControl(Bus.of(settings), Shard(1, 2), fleet.control).__enter__()


def test_without_a_broker():
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with (
        running_fleet(GROUPS, Shard(1, 2)) as fleet,
        pytest.raises(TopicError, match="Is the broker reachable"),
    ):
        KafkaControl(Bus.of(settings), Shard(1, 2), fleet.control).__enter__()
