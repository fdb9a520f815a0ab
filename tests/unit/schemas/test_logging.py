"""The logs: two forms, one stream, foreign loggers included, no secrets."""

import io
import json
import logging
import re
import threading
import warnings

import pytest
import structlog
from pydantic import SecretStr

from schemas.logging import bind, configure_logging, unbind
from schemas.settings import MASK, DatabaseSettings, KafkaSettings, LogSettings


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def start(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)

    def start(stream=None, **settings):
        stream = stream or io.StringIO()
        configure_logging(LogSettings(**settings), stream)
        return stream

    return start


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines(start):
    stream = start(format="json")
    structlog.get_logger("sinks.x").info("stored", rows=3, where=("a", 1))
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"event": "stored", "level": "info", "logger": "sinks.x", "rows": 3, "where": ["a", 1]}


def test_console_lines_are_plain_unless_on_a_terminal(start, monkeypatch):
    for stream, coloured in ((io.StringIO(), False), (Terminal(), True)):
        start(stream)
        structlog.get_logger("x").info("stored", rows=3)
        assert ("\033[" in stream.getvalue()) == coloured
        assert "stored" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = start(Terminal())
    structlog.get_logger("x").info("stored", rows=3)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info *\] stored *\[x\] rows=3\n", stream.getvalue())


def test_stdlib_loggers_come_out_alike(start):
    stream = start(format="json")
    logging.getLogger("somebody").warning("%d left", 5, extra={"topic": "t"})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["topic"]) == (
        "5 left",
        "warning",
        "somebody",
        "t",
    )


@pytest.mark.parametrize(
    "name", ["faust.worker", "mode.supervisor", "aiokafka.consumer", "httpx", "librdkafka"]
)
def test_noisy_libraries_are_tamed(start, name):
    stream = start(format="json", level="debug")
    logging.getLogger(name).info("rebalancing, nothing to see")
    logging.getLogger(name).warning("something to see")
    assert [line["event"] for line in lines(stream)] == ["something to see"]


@pytest.mark.parametrize(
    ("level", "shown"), [("debug", "dwe"), ("info", "we"), ("warning", "we"), ("error", "e")]
)
def test_levels(start, level, shown):
    stream = start(format="json", level=level)
    for log in (structlog.get_logger("a"), logging.getLogger("b")):
        log.debug("d")
        log.warning("w")
        log.error("e")
    assert "".join(line["event"] for line in lines(stream)) == shown * 2


def test_what_is_bound_is_in_every_line_of_every_thread(start):
    stream = start(format="json")
    bind(part="sink")
    try:
        thread = threading.Thread(target=lambda: structlog.get_logger().info("from a thread"))
        thread.start()
        thread.join()
        logging.getLogger("b").error("foreign")
        assert [line["part"] for line in lines(stream)] == ["sink", "sink"]
    finally:
        unbind("part")
    structlog.get_logger().info("after")
    assert "part" not in lines(stream)[-1]


def test_a_second_configuration_replaces_the_first(start):
    first, second = start(format="json"), start(format="json")
    structlog.get_logger().info("once")
    assert not first.getvalue()
    assert len(lines(second)) == 1


def test_lines_go_to_what_stderr_is_by_then(start, monkeypatch):
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", first)
    configure_logging(LogSettings(format="json"))
    structlog.get_logger().info("before")
    monkeypatch.setattr("sys.stderr", second)
    first.close()  # as a capture or a live display that is over
    structlog.get_logger().info("after")
    assert [line["event"] for line in lines(second)] == ["after"]


def test_warnings_are_logged(start):
    stream = start(format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", stacklevel=1)
    assert "old habit" in lines(stream)[0]["event"]


SECRETS = {
    "options": {"sasl.password": "hush", "sasl.mechanism": "PLAIN", "nested": [{"ssl.key.password": "hush"}]},
    "database": "postgresql://user:hush@host/db",
    "password": "hush",
    "dsn": "host=h user=u password=hush dbname=d",
    "quoted": 'password="hush hush" x',
    "json": '{"basic.auth.user.info": "u:hush"}',
    "secret_str": SecretStr("hush"),
    "settings": DatabaseSettings(url="postgresql://u:hush@h/d"),
    "kafka": KafkaSettings(options={"sasl.password": "hush"}),
    "error": ValueError("connection to postgresql://u:hush@h/d failed"),
}


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked(start, form):
    stream = start(format=form)
    structlog.get_logger("x").info("connecting to postgresql://u:hush@h/d", **SECRETS)
    logging.getLogger("y").warning("password=%s", "hush")
    text = stream.getvalue()
    assert "hush" not in text
    assert text.count(MASK) >= len(SECRETS)
    assert "PLAIN" in text
    assert "host/db" in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_exceptions_have_a_traceback_without_local_variables(start, form):
    stream = start(format=form)

    def fail():
        hidden = "hush"
        raise RuntimeError("no route to postgresql://u:%s@h" % hidden)  # noqa: UP031

    for log in (structlog.get_logger("x"), logging.getLogger("y")):
        try:
            fail()
        except RuntimeError:
            log.exception("failed")
    text = stream.getvalue()
    assert text.count("Traceback") == 2
    assert "hush" not in text
    assert "hidden =" not in text
    assert "RuntimeError: no route to postgresql://u:" in text


def test_what_json_cannot_say_does_not_break_a_line(start):
    stream = start(format="json")
    structlog.get_logger().info("odd", raw=b"\xff", nothing=None, thing=object, deep={1: {2: {3}}})
    assert lines(stream)[0]["nothing"] is None
