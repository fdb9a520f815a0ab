"""Requests and replies as JSON: whole ways, parts, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.control.messages import (
    MAX_MESSAGE_BYTES,
    MalformedMessageError,
    Parts,
    Refusal,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from producers.devices.fleet_spec import FaultChances, Group, Place
from producers.simulation.commands import (
    ClearFaults,
    CreateDevices,
    DeleteDevices,
    DeviceView,
    FaultView,
    InjectFault,
    ListDevices,
    Outcome,
    Selector,
    SetFaultChances,
    UpdateDevices,
    command_of,
    to_json,
)
from producers.simulation.control import SimulationStatus
from schemas.readings import Device, Location

COMMANDS = [
    InjectFault(Selector(type="oven", city="Den*"), random_one=True, fault="drift", seconds=900.0, onset=0.5),
    InjectFault(readings=3, intensity=2.5),
    InjectFault(until_cleared=True),
    ClearFaults(Selector("hvac-001")),
    UpdateDevices(
        Selector("x"), name="Ärger", parameters={"base_power": 3.5}, attributes={"a": "b"}, online=False
    ),
    CreateDevices(
        Group(
            type="hvac",
            count=3,
            device_id="a-{number}",
            locations=(Place(name="Roof", latitude=1.5),),
            faults=FaultChances(
                probability=0.1, kinds={"power_spike": {"weight": 2, "duration": "3-5 readings"}}
            ),
            metrics={"power": {"noise": {"uniform": "5 %"}}},
        ),
        exact=True,
    ),
    DeleteDevices(Selector("load-*")),
    SetFaultChances(FaultChances(probability=0.5), "oven"),
    ListDevices(Selector(place="*"), limit=5, faulty=True, after="b", offset=2, newest=True),
]
STATUS = SimulationStatus(
    True, 1, 2, 5.0, 3, 2, 3, 1, 100, 99, 7, {"drift": 2}, 0.5, mqtt_connected=False, shard=2, shards=3
)


def request(**changes):
    made = Request("r1", "worker-a", "apply", 1_790_000_000_000_000, 10.0, 3, (1, 2), to_json(ListDevices()))
    return replace(made, **changes)


def view(number, filler=""):
    device = Device(
        f"hvac-{number:05}", "hvac", f"Roof {number}", Location("Roof", 1.0, 2.0, "Europe/Berlin"),
        "Trane", "M", "1.0", "SN", {"power": "kW"}, {"filler": filler},
    )  # fmt: skip
    fault = FaultView("drift", 2.5, 10, None, None, injected=True) if number % 2 else None
    return DeviceView(device, True, False, "heating", {"base_power": 25.0}, {"power": 25.3}, 7, fault)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_crosses_whole(command):
    got = decode_request(encode_request(request(command=to_json(command))))
    assert command_of(got.command) == command


@pytest.mark.parametrize(
    "reply",
    [
        Reply("r1", "a", "w", 1, outcome=Outcome(2, [view(1), view(2)])),
        Reply("r1", "a", "w", 1, status=STATUS),
        Reply("r1", "a", "w", 1, refusal=Refusal("CommandError", "no", "do")),
        Reply("r1", "a", "w", 1),
    ],
    ids=["outcome", "status", "refusal", "nothing"],
)
def test_a_reply_crosses_whole(reply):
    (value,) = encode_reply(reply)
    assert decode_reply(value) == reply


@given(st.integers(1, 40), st.integers(1, 60_000), st.randoms(use_true_random=False))
def test_a_large_reply_goes_in_parts_that_may_come_in_any_order_and_twice(count, length, random):
    reply = Reply(
        "r1", "a", "w", 1, outcome=Outcome(count + 100, [view(n, "x" * length) for n in range(count)])
    )
    values = encode_reply(reply)
    assert all(len(value) < MAX_MESSAGE_BYTES for value in values)
    assert len(values) > 1 or count * length < MAX_MESSAGE_BYTES
    values += random.sample(values, len(values) // 2)
    random.shuffle(values)
    parts = Parts()
    whole = [got for value in values if (got := parts.add(decode_reply(value))) is not None]
    assert whole[0] == reply


def test_a_request_of_an_age_to_come_may_have_more_fields():
    value = json.loads(encode_request(request()))
    assert decode_request(json.dumps({**value, "colour": "blue"}).encode()) == request()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no value"),
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "an object"),
        (b"[" * 100_000, "Invalid JSON"),
        (b" " * (2 * MAX_MESSAGE_BYTES + 1), "too many"),
        (json.dumps({"version": 1}).encode(), "request_id"),
    ],
    ids=["tombstone", "empty", "no text", "a list", "deep", "large", "incomplete"],
)
def test_what_is_no_message_is_said_so(value, said):
    for decode in (decode_request, decode_reply):
        with pytest.raises(MalformedMessageError, match=said):
            decode(value)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"what": "explode"}, {"timeout": 0}, {"timeout": 1e9}, {"shards": 0}, {"to": [0]},
        {"request_id": ""}, {"request_id": "x" * 201}, {"sent_us": "soon"}, {"command": 7},
    ],
    ids=str,
)  # fmt: skip
def test_a_request_with_a_field_that_makes_no_sense(change):
    value = json.loads(encode_request(request()))
    with pytest.raises(MalformedMessageError):
        decode_request(json.dumps({**value, **change}).encode())


def test_a_command_that_is_too_large_is_not_sent():
    huge = to_json(UpdateDevices(Selector("x"), attributes={"a": "x" * MAX_MESSAGE_BYTES}))
    with pytest.raises(ValueError, match="524,288 are allowed"):
        encode_request(request(command=huge))
