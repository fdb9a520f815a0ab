"""The server for people in a stack: its port, its control API, and that the run does without it."""

import socket
import sys

import pytest

from deploy.stack import parts
from deploy.stack.web import ControlAddress, WebPart, choose_port, control_address
from schemas.errors import ConfigError
from schemas.settings import ApiSettings, ControlSettings, Settings
from tests.support.waiting import until

TOKEN = "correct-horse-battery"


@pytest.fixture
def taken():
    """A port that somebody listens on, with a free one behind it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    pass
            except OSError:
                continue
            yield port
            return


def default_port(port, **more):
    """Settings whose usual port is this one, as if nobody had named it."""
    return Settings(api=ApiSettings.model_construct(_fields_set=set(), port=port, host="127.0.0.1"), **more)


def test_a_port_that_was_asked_for_is_that_one_or_none(taken):
    with pytest.raises(ConfigError, match=f"port {taken} is taken"):
        choose_port(Settings(api=ApiSettings(port=taken)))
    assert choose_port(Settings(api=ApiSettings(port=taken + 1))) == taken + 1
    assert choose_port(Settings(api=ApiSettings(port=0))) > 0


def test_the_usual_port_or_the_next_free_one(taken):
    assert choose_port(default_port(taken)) > taken
    assert choose_port(default_port(taken + 1)) == taken + 1
    control = ControlSettings(enabled=True, port=taken + 1)
    assert choose_port(default_port(taken + 1, control=control)) > taken + 1


def test_the_simulators_control_has_a_token_of_its_own_or_the_users():
    first, second = control_address(Settings()), control_address(Settings())
    assert first.token != second.token
    assert len(first.token) >= 16
    users = Settings(control=ControlSettings(enabled=True, port=9123, token=TOKEN))
    assert control_address(users) == ControlAddress(9123, TOKEN)
    assert control_address(users).environment == {
        "SIGMAWATCH_CONTROL__ENABLED": "true",
        "SIGMAWATCH_CONTROL__HOST": "127.0.0.1",
        "SIGMAWATCH_CONTROL__PORT": "9123",
        "SIGMAWATCH_CONTROL__TOKEN": TOKEN,
    }


def test_a_server_that_refuses_its_settings_is_told_and_done_without(tmp_path, monkeypatch):
    program = "import sys; print('error: cannot listen on 127.0.0.1:1', file=sys.stderr); sys.exit(2)"
    monkeypatch.setattr(parts, "command_line", lambda _: [sys.executable, "-c", program])
    told = []
    web = WebPart(Settings(), 1, {}, [6066], ControlAddress(2, TOKEN), tmp_path / "serve.log", told.append)
    assert web.address == "http://127.0.0.1:1/"
    web.start()

    def given_up():
        web.check()
        return web.given_up

    until(given_up)
    assert told == ["without dashboard and API: serve: cannot listen on 127.0.0.1:1"]
    assert not web.starting
    web.stop()
