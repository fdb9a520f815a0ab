"""Three workers of one fleet over an exchange in memory: who does what, who answers, who is silent."""

import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from producers.clock import SystemClock
from producers.control.kafka_control import KafkaControl, drawn_order, raise_refused, with_exact_ids
from producers.control.merging import for_shard, merged, shards_for
from producers.control.messages import Refusal, Reply, Request, decode_reply, encode_request
from producers.control.responder import STALE
from producers.control.shards import Shard, shard_of
from producers.devices.fleet_spec import FaultChances, Group
from producers.simulation.commands import (
    SHOWN,
    ClearFaults,
    CommandError,
    CreateDevices,
    DeviceExistsError,
    InjectFault,
    ListDevices,
    Outcome,
    Selector,
    SetFaultChances,
    UnknownDeviceError,
    UpdateDevices,
    to_json,
)
from schemas.errors import SigmawatchError
from schemas.testing import ManualClock
from tests.support.running_fleet import GROUPS, RunningFleet, running_fleet
from tests.support.waiting import until

SHARDS = 3
ALL = sorted(
    [f"hvac-{n:03}" for n in (1, 2, 3)] + [f"oven-{n:03}" for n in (1, 2, 3)] + ["SENSOR_001", "SENSOR_002"]
)


class Hub:
    """Delivers every message to every worker, as two topics would."""

    def __init__(self):
        self.buses = []
        self.sent = []
        self.twice = False

    def bus(self):
        bus = MemoryBus(self)
        self.buses.append(bus)
        return bus

    def deliver(self, kind, value):
        self.sent.append((kind, value))
        for bus in self.buses:
            for _ in range(1 + self.twice):
                if handler := bus.handlers.get(kind):
                    handler(value)


class MemoryBus:
    def __init__(self, hub):
        self.hub = hub
        self.handlers = {}
        self.ready = True

    def start(self, on_command, on_reply):
        self.handlers = {"command": on_command, "reply": on_reply}

    def wait_until_ready(self, timeout):
        return self.ready

    def close(self):
        self.handlers = {}

    def send_command(self, value):
        self.hub.deliver("command", value)

    def send_replies(self, values):
        for value in values:
            self.hub.deliver("reply", value)


class Workers:
    def __init__(self, fleets, controls, hub):
        self.fleets: list[RunningFleet] = fleets
        self.controls: list[KafkaControl] = controls
        self.hub = hub

    def owner(self, device_id) -> RunningFleet:
        return self.fleets[shard_of(device_id, SHARDS) - 1]

    def ids_by_worker(self):
        return [[device.device_id for device in fleet.fleet.devices] for fleet in self.fleets]


@contextmanager
def three_workers(groups=GROUPS):
    hub = Hub()
    with ExitStack() as stack:
        shards = [Shard(number, SHARDS) for number in range(1, SHARDS + 1)]
        fleets = [stack.enter_context(running_fleet(groups, shard)) for shard in shards]
        controls = [
            stack.enter_context(KafkaControl(hub.bus(), shard, fleet.control))
            for shard, fleet in zip(shards, fleets, strict=True)
        ]
        yield Workers(fleets, controls, hub)


@pytest.fixture
def workers():
    with three_workers() as running:
        yield running


@pytest.fixture(params=range(SHARDS))
def through(request, workers):
    """Any worker's control."""
    return workers.controls[request.param]


def ids(outcome):
    return [view.device.device_id for view in outcome.devices]


def test_the_workers_share_the_fleet(workers):
    owned = workers.ids_by_worker()
    assert sorted(name for part in owned for name in part) == ALL
    assert all(owned)


def test_a_command_for_one_device_reaches_its_owner_alone(workers, through):
    for device_id in ("hvac-001", "hvac-002", "hvac-003"):
        before = [fleet.carried_out for fleet in workers.fleets]
        outcome = through.apply(UpdateDevices(Selector(device_id), parameters={"base_power": 33.0}))
        assert ids(outcome) == [device_id]
        assert outcome.devices[0].parameters["base_power"] == 33.0
        moved = [fleet for fleet, was in zip(workers.fleets, before, strict=True) if fleet.carried_out > was]
        assert moved == [workers.owner(device_id)]


def test_a_command_for_our_own_device_does_not_leave_the_process(workers):
    for number, control in enumerate(workers.controls, 1):
        mine = next(name for name in ALL if shard_of(name, SHARDS) == number)
        assert ids(control.apply(ListDevices(Selector(mine)))) == [mine]
    assert workers.hub.sent == []


def test_lists_are_merged_by_id_and_paged(workers, through):
    assert ids(through.apply(ListDevices())) == ALL
    first = through.apply(ListDevices(limit=3))
    assert (first.count, ids(first)) == (len(ALL), ALL[:3])
    assert ids(through.apply(ListDevices(Selector(type="oven")))) == ["oven-001", "oven-002", "oven-003"]
    assert through.apply(ListDevices(limit=0)) == Outcome(len(ALL), [])


def test_a_pattern_that_only_one_shard_knows(workers, through):
    outcome = through.apply(UpdateDevices(Selector("hvac-*1"), online=False))
    assert ids(outcome) == ["hvac-001"]


def test_a_device_that_nobody_has(workers, through):
    for name in ("nobody", "no*body"):
        with pytest.raises(UnknownDeviceError, match="there is no device no"):
            through.apply(UpdateDevices(Selector(name), online=False))


def test_faults_on_all_and_on_one_of_all(workers, through):
    assert (
        through.apply(InjectFault(Selector(type="hvac"), fault="power_spike", until_cleared=True)).count == 3
    )
    assert ids(through.apply(ListDevices(faulty=True))) == ["hvac-001", "hvac-002", "hvac-003"]
    assert through.apply(ClearFaults()).count == 3
    assert through.apply(ListDevices(faulty=True)).count == 0
    outcome = through.apply(InjectFault(random_one=True, until_cleared=True))
    assert outcome.count == len(outcome.devices) == 1
    assert ids(through.apply(ListDevices(faulty=True))) == ids(outcome)


def test_one_of_all_is_found_where_the_fault_is_known(workers, through):
    outcome = through.apply(InjectFault(Selector(type="environmental"), random_one=True, fault="trend"))
    assert outcome.devices[0].device.type == "environmental"


def test_a_group_is_created_each_shard_its_own(workers, through):
    outcome = through.apply(
        CreateDevices(Group(type="lamp", count=30, places=("factory",), device_id="lamp-{number:03}"))
    )
    assert ids(outcome) == [f"lamp-{number:03}" for number in range(1, 31)]
    for fleet, names in zip(workers.fleets, workers.ids_by_worker(), strict=True):
        assert sum(name.startswith("lamp-") for name in names) > 0
        assert all(fleet.shard.owns(name) for name in names)


def test_a_group_without_ids_gets_the_same_in_all_shards(workers, through):
    for _ in range(2):
        assert through.apply(CreateDevices(Group(type="hvac", count=20))).count == 20
        assert through.apply(CreateDevices(Group(type="hvac"))).count == 1
    assert through.apply(ListDevices(Selector(type="hvac"))).count == 3 + 42


def test_a_device_that_is_there_already(workers, through):
    with pytest.raises(DeviceExistsError, match="hvac-002"):
        through.apply(CreateDevices(Group(type="hvac", device_id="hvac-002")))


def test_what_a_shard_refuses_is_raised(workers, through):
    with pytest.raises(CommandError, match="speed"):
        through.apply(UpdateDevices(Selector(type="hvac"), parameters={"speed": 1.0}))
    with pytest.raises(CommandError, match="sped"):
        through.apply(CreateDevices(Group(type="sped", count=2)))


def test_chances_are_set_in_all_shards(workers, through):
    assert through.apply(SetFaultChances(FaultChances(probability=1.0), "hvac")).count == 3
    until(lambda: through.apply(ListDevices(Selector(type="hvac"), faulty=True)).count == 3)


def test_status_start_and_stop(workers, through):
    assert [(status.shard, status.shards) for status in through.status()] == [(1, 3), (2, 3), (3, 3)]
    assert sum(status.devices for status in through.status()) == len(ALL)
    through.stop()
    assert [status.running for status in through.status()] == [False] * 3
    through.apply(ListDevices())  # each shard answers between two steps: the one that was under way is over
    stood = [status.time_us for status in through.status()]
    through.apply(UpdateDevices(Selector("hvac-001"), online=False))
    assert [status.time_us for status in through.status()] == stood
    through.start()
    assert [status.running for status in through.status()] == [True] * 3


def test_who_is_silent_is_named(workers):
    workers.fleets[1].frozen.set()
    with pytest.raises(
        TimeoutError, match=r"shard 2 of 3.* did not answer within 0\.\d+ s; the others have done it"
    ):
        workers.controls[0].apply(ListDevices(), 0.9)
    workers.controls[2].__exit__(None, None, None)
    workers.controls[1].__exit__(None, None, None)
    with pytest.raises(TimeoutError, match=r"shards 2, 3 of 3 .*Does `sigmawatch simulate --shard 2/3` run"):
        workers.controls[0].apply(ClearFaults(), 0.9)


def test_a_simulation_that_does_not_answer_its_own_worker(workers):
    workers.fleets[0].frozen.set()
    mine = next(name for name in ALL if shard_of(name, SHARDS) == 1)
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.\d+ s"):
        workers.controls[0].apply(ListDevices(Selector(mine)), 0.2)
    workers.fleets[0].frozen.clear()
    until(lambda: workers.controls[0].apply(ListDevices(Selector(mine))).count == 1)


def test_without_a_broker_it_is_said_at_once(workers):
    workers.hub.buses[0].ready = False
    with pytest.raises(TimeoutError, match="the broker did not answer"):
        workers.controls[0].apply(ListDevices())


def test_a_command_delivered_twice_is_carried_out_once(workers):
    workers.hub.twice = True
    created = workers.controls[0].apply(CreateDevices(Group(type="fan", count=9)))
    assert created.count == 9
    before = [fleet.carried_out for fleet in workers.fleets]
    assert workers.controls[0].apply(InjectFault(Selector(type="fan"), fault="stall", readings=5)).count == 9
    assert workers.controls[1].apply(ListDevices(limit=1)).count == len(ALL) + 9
    assert [fleet.carried_out - was for fleet, was in zip(workers.fleets, before, strict=True)] == [2, 2, 2]


def request(clock_us, **changes):
    made = Request("id-1", "somebody", "apply", clock_us, 10.0, SHARDS, (1, 2, 3), to_json(ClearFaults()))
    return replace(made, **changes)


def replies_to(workers, value):
    """What the workers answer to a message that appears on the topic."""
    seen = len(workers.hub.sent)
    workers.hub.deliver("command", value)
    until(lambda: len(workers.hub.sent) >= seen + 1 + SHARDS)
    return sorted(
        (decode_reply(value) for _, value in workers.hub.sent[seen + 1 :]), key=lambda reply: reply.shard
    )


def test_a_command_older_than_its_timeout_is_not_carried_out(workers):
    now = SystemClock().now_us()
    carried_out = [fleet.carried_out for fleet in workers.fleets]
    replies = replies_to(workers, encode_request(request(now - 11_000_000)))
    assert [reply.refusal.error for reply in replies] == [STALE] * 3
    assert "after 11.0 s" in replies[0].refusal.message
    assert [fleet.carried_out for fleet in workers.fleets] == carried_out
    # From a clock that goes ahead it is carried out.
    replies = replies_to(workers, encode_request(request(now + 60_000_000, request_id="id-2")))
    assert [reply.outcome for reply in replies] == [Outcome(0, [])] * 3


def test_a_command_of_a_fleet_of_another_size_is_refused(workers):
    replies = replies_to(workers, encode_request(request(SystemClock().now_us(), shards=4)))
    assert "shard 2/3, the command is for a fleet of 4" in replies[1].refusal.message


def test_nonsense_on_the_topics_is_logged_and_passed_over(workers):
    with capture_logs() as logs:
        for value in (None, b"", b"{}", b'{"version": 9}', b"\x00" * 50):
            workers.hub.deliver("command", value)
            workers.hub.deliver("reply", value)
    assert {entry["log_level"] for entry in logs} == {"warning"}
    assert len(logs) == 2 * 5 * SHARDS
    assert ids(workers.controls[0].apply(ListDevices())) == ALL


def test_a_command_that_is_none_is_refused(workers):
    replies = replies_to(
        workers, encode_request(request(SystemClock().now_us(), command={"command": "Explode"}))
    )
    assert {reply.refusal.error for reply in replies} == {"CommandError"}
    assert "'Explode' is no command" in replies[0].refusal.message


def test_two_workers_with_one_shard_are_noticed(workers):
    with (
        running_fleet(GROUPS, Shard(2, SHARDS)) as fleet,
        KafkaControl(workers.hub.bus(), Shard(2, SHARDS), fleet.control),
        capture_logs() as logs,
    ):
        until(
            lambda: (
                workers.controls[0].apply(ListDevices()).count
                and any("one shard" in log["event"] for log in logs)
            )
        )
    assert {log["shard"] for log in logs if "one shard" in log["event"]} == {"2/3"}


def test_a_shard_that_fails_in_a_way_nobody_thought_of(workers, monkeypatch):
    monkeypatch.setattr(workers.fleets[1].control, "apply", lambda *_: 1 / 0)
    with (
        capture_logs() as logs,
        pytest.raises(SigmawatchError, match=r"failed with ZeroDivisionError \(shard 2; 2 of 3"),
    ):
        workers.controls[0].apply(ClearFaults())
    assert [log["event"] for log in logs] == ["a command failed"]


def test_many_callers_at_once(workers):
    outcomes = []

    def ask(control, number):
        name = ALL[number % len(ALL)]
        outcomes.append((name, ids(control.apply(ListDevices(Selector(name))))))
        outcomes.append((None, ids(control.apply(ListDevices(limit=2)))))

    threads = [
        threading.Thread(target=ask, args=(workers.controls[number % SHARDS], number)) for number in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 60
    assert all(found == ([name] if name else ALL[:2]) for name, found in outcomes)


# The parts that decide


def test_which_shards_a_command_concerns():
    everyone = frozenset({1, 2, 3})
    owner = frozenset({shard_of("hvac-001", 3)})
    assert shards_for(ListDevices(), 3) == everyone
    assert shards_for(ListDevices(Selector("hvac-001", type="oven")), 3) == owner
    assert shards_for(ClearFaults(Selector("hvac-?")), 3) == everyone
    assert shards_for(CreateDevices(Group(type="hvac", device_id="hvac-001")), 3) == owner
    assert shards_for(CreateDevices(Group(type="hvac", device_id="hvac-{number}")), 3) == everyone
    assert shards_for(CreateDevices(Group(type="hvac")), 3) == everyone
    assert shards_for(SetFaultChances(FaultChances()), 3) == everyone


def test_a_page_in_the_middle_is_cut_from_the_merged_list(workers):
    whole = workers.controls[0].apply(ListDevices())
    parts = {
        number: Outcome(len(views), views)
        for number in (1, 2, 3)
        if (views := [view for view in whole.devices if shard_of(view.device.device_id, 3) == number])
    }
    command = ListDevices(limit=3, offset=2)
    assert for_shard(command) == ListDevices(limit=5)
    assert for_shard(ListDevices(offset=2)) == ListDevices()
    page = merged(command, parts)
    assert (page.count, ids(page)) == (len(ALL), ALL[2:5])


def test_the_newest_of_all_shards(workers):
    for fleet in workers.fleets:
        fleet.wait_for_readings()
    views = workers.controls[0].apply(ListDevices()).devices
    newest = merged(ListDevices(newest=True, limit=3), {1: Outcome(4, views[:4]), 2: Outcome(4, views[4:])})
    assert [view.time_us for view in newest.devices] == sorted(
        (view.time_us for view in views), reverse=True
    )[:3]


def test_the_outcome_of_a_change_shows_the_first(workers):
    (view,) = workers.controls[0].apply(ListDevices(Selector("hvac-001"))).devices
    many = merged(ClearFaults(), {1: Outcome(SHOWN, [view] * SHOWN), 2: Outcome(SHOWN, [view] * SHOWN)})
    assert (many.count, len(many.devices)) == (2 * SHOWN, SHOWN)


def test_a_shard_is_drawn_in_proportion():
    firsts = Counter(drawn_order({1: 10, 2: 0, 3: 30}, draw)[0] for draw in range(4000))
    assert firsts == {1: 1000, 3: 3000}
    assert drawn_order({1: 10, 2: 0, 3: 30}, 12) == [3, 1]
    assert drawn_order({1: 0, 2: 0}, 12) == [1]


def test_new_ids_are_exact():
    command = with_exact_ids(CreateDevices(Group(type="hvac")))
    assert command.exact
    assert command.group.device_id.startswith("hvac-")
    assert with_exact_ids(CreateDevices(Group(type="hvac", count=2))).group.device_id.endswith("-{number:03}")
    assert with_exact_ids(CreateDevices(Group(type="hvac", device_id="x"))).group.device_id == "x"


def refusal(error, message="m", remedy=""):
    return Reply("r", "a", "w", 1, refusal=Refusal(error, message, remedy))


DONE = Reply("r", "a", "w", 1, outcome=Outcome(1, []))


@pytest.mark.parametrize(
    ("replies", "error", "said"),
    [
        ({1: refusal("UnknownDeviceError"), 2: refusal("UnknownDeviceError")}, UnknownDeviceError, "^m$"),
        ({1: refusal("UnknownDeviceError"), 2: refusal("CommandError", "bad")}, CommandError, "^bad$"),
        (
            {1: DONE, 2: refusal("DeviceExistsError")},
            DeviceExistsError,
            r"m \(shard 2; 1 of 2 shards have done it\)",
        ),
        ({1: refusal("ConfigError", "m", "Do it.")}, CommandError, r"m\. Do it\."),
        ({1: DONE, 2: refusal(STALE, "late")}, TimeoutError, "shard 2 of 2: late"),
        ({1: refusal("TimeoutError", "slow")}, TimeoutError, "shard 1 of 2: slow"),
        ({1: refusal("Error", "bug")}, SigmawatchError, "bug"),
    ],
)
def test_refusals_become_errors(replies, error, said):
    with pytest.raises(error, match=said):
        raise_refused(replies, 2)


def test_a_device_that_some_shards_do_not_know_is_no_error():
    raise_refused({1: DONE, 2: refusal("UnknownDeviceError")}, 2)
    raise_refused({}, 2)


def test_a_worker_whose_clock_goes_wrong_says_so():
    wrong = ManualClock(SystemClock().now_us() + 60_000_000)
    hub = Hub()
    with (
        running_fleet(GROUPS, Shard(1, 2)) as one,
        running_fleet(GROUPS, Shard(2, 2)) as two,
        KafkaControl(hub.bus(), Shard(1, 2), one.control) as first,
        KafkaControl(hub.bus(), Shard(2, 2), two.control, wrong) as second,
    ):
        with pytest.raises(TimeoutError, match=r"shard 2 of 2: the command came after .* Are the clocks"):
            first.apply(ListDevices())
        # The other way round it does no harm.
        assert second.apply(ListDevices(Selector("hvac-*"), limit=1)).count == 3
