import logging

import pytest

from schemas.repeated_logs import RepeatedLines


class Clock:
    now = 1000.0


@pytest.fixture
def said(monkeypatch):
    """Lines that pass, and a clock for them."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    clock = Clock()
    make = logging.getLogRecordFactory()

    def record(*args, **kwargs):
        made = make(*args, **kwargs)
        made.created = clock.now
        return made

    logging.setLogRecordFactory(record)
    handler = Keep()
    handler.addFilter(RepeatedLines(["aiokafka", "librdkafka"]))
    logger = logging.getLogger("aiokafka.conn")
    loggers = logger, logging.getLogger("librdkafka"), logging.getLogger("ours")
    for each in loggers:
        each.addHandler(handler)
    yield lines, clock, logger
    logging.setLogRecordFactory(make)
    for each in loggers:
        each.removeHandler(handler)


def test_what_repeats_is_held_back_and_counted(said):
    lines, clock, logger = said
    for number in range(50):
        logger.error("no connection to %d", number)
    assert lines == [f"no connection to {number}" for number in range(3)]
    clock.now += 11
    logger.error("no connection to %d", 50)
    logger.error("no connection to %d", 51)
    assert lines[3:] == ["no connection to 50 (47 lines like this one left out)", "no connection to 51"]


def test_every_kind_of_line_by_itself(said):
    lines, _, logger = said
    for _ in range(5):
        logger.error("one")
        logger.warning("one")
        logging.getLogger("librdkafka").error("%s [%s]", "FAIL", "a")
        logging.getLogger("librdkafka").error("%s [%s]", "ALLDOWN", "a")
    assert len(lines) == 4 * 3


def test_seldom_lines_all_pass(said):
    lines, clock, logger = said
    for number in range(30):
        clock.now += 4
        logger.error("now and then %d", number)
    assert lines == [f"now and then {number}" for number in range(30)]


def test_ours_and_tracebacks_always_pass(said):
    lines, _, logger = said
    for _ in range(10):
        logging.getLogger("ours").error("each counts")
        logger.error("with its traceback", exc_info=OSError("gone"))
    assert lines.count("each counts") == lines.count("with its traceback") == 10


def test_what_it_remembers_does_not_grow(said):
    _, _, logger = said
    kept = logger.handlers[0].filters[0]
    for number in range(3000):
        logger.error(f"text {number}")  # noqa: G004 - every text another
    assert len(kept._heard) <= 1000
