"""Control of the simulation in this process, and what starts and ends it."""

import socket
import threading
import time

import httpx
import pytest

from producers.control.app import controlled
from producers.control.local import LocalControl
from producers.simulation.commands import ClearFaults, CommandError, ListDevices, Outcome, UnknownDeviceError
from producers.simulation.control import CommandQueue
from schemas.errors import ConfigError
from schemas.settings import ControlSettings, Settings
from tests.support.running_fleet import device_types, running_fleet
from tests.support.waiting import until


@pytest.fixture
def queue():
    return CommandQueue()


@pytest.fixture
def control(queue):
    return LocalControl(queue, lambda: None)


def in_background(call):
    """What a call gave, or raised, once it is done."""
    results = []

    def run():
        try:
            results.append(call())
        except (CommandError, TimeoutError) as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def test_a_command_waits_for_the_simulation(queue, control):
    thread, results = in_background(lambda: control.apply(ClearFaults(), 10))
    until(lambda: queue.carry_out(lambda _: Outcome(7)) == 1)
    thread.join()
    assert results == [Outcome(7)]


def test_an_error_is_the_askers(queue, control):
    def refuse(_):
        raise UnknownDeviceError("nobody")

    thread, results = in_background(lambda: control.apply(ClearFaults(), 10))
    until(lambda: queue.carry_out(refuse) == 1)
    thread.join()
    assert isinstance(results[0], UnknownDeviceError)


def test_what_was_not_begun_in_time_is_never_carried_out(queue, control):
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s"):
        control.apply(ClearFaults(), 0.01)
    carried_out = []
    queue.carry_out(lambda command: carried_out.append(command) or Outcome(0))
    assert carried_out == []


def test_what_is_under_way_when_the_time_is_up(queue, control):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(_):
        begun.set()
        go_on.wait(60)
        return Outcome(1)

    thread, results = in_background(lambda: control.apply(ClearFaults(), 1.0))
    until(lambda: not queue._waiting.empty())
    simulator = threading.Thread(target=queue.carry_out, args=(slowly,), daemon=True)
    simulator.start()
    assert begun.wait(60)
    thread.join()
    go_on.set()
    simulator.join()
    assert "may still be carried out" in str(results[0])


def test_after_the_end_nobody_waits(queue, control):
    thread, results = in_background(lambda: control.apply(ClearFaults(), 60))
    until(lambda: not queue._waiting.empty())
    control.close()
    thread.join(60)
    assert "the simulation has ended" in str(results[0])
    with pytest.raises(CommandError, match="the simulation has ended"):
        control.apply(ListDevices(), 60)


def test_start_and_stop(control):
    assert control.running.is_set()
    control.stop()
    assert not control.running.is_set()
    control.start()
    assert control.running.is_set()


def settings(**control):
    return Settings(control=ControlSettings(**control))


def test_http_is_served_while_the_block_runs_if_it_is_asked_for():
    ports = []
    with running_fleet() as fleet:
        with controlled(
            settings(enabled=True, port=0), fleet.control, device_types, on_listening=ports.append
        ) as control:
            assert control is fleet.control
            assert httpx.get(f"http://127.0.0.1:{ports[0]}/healthz").json() == {"status": "healthy"}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{ports[0]}/healthz")
    with running_fleet() as fleet:
        with controlled(settings(), fleet.control, device_types, on_listening=ports.append) as control:
            assert control.apply(ListDevices(limit=0)).count == 8
        assert len(ports) == 1


def test_the_end_keeps_no_request_waiting():
    ports = []
    with running_fleet() as fleet:
        fleet.frozen.set()
        patient = settings(enabled=True, port=0, timeout=240.0)
        with controlled(patient, fleet.control, device_types, on_listening=ports.append):
            answers = []

            def ask():
                answers.append(httpx.get(f"http://127.0.0.1:{ports[0]}/api/v1/devices", timeout=240))

            thread = threading.Thread(target=ask)
            thread.start()
            until(lambda: not fleet.queue._waiting.empty())
            began = time.monotonic()
        thread.join()
        assert time.monotonic() - began < 60
        assert "the simulation has ended" in answers[0].json()["message"]


def test_an_address_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, running_fleet() as fleet:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            controlled(settings(enabled=True, port=port), fleet.control, device_types).__enter__()


def test_off_loopback_without_a_token():
    with running_fleet() as fleet, pytest.raises(ConfigError, match="no token is set"):
        controlled(settings(enabled=True, port=0, host="0.0.0.0"), fleet.control, device_types).__enter__()
