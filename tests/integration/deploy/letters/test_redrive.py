"""Dead letters put back: on real brokers, with the real sinks and processor."""

import os
import subprocess
import sys
from hashlib import sha256
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.cli import letters
from deploy.letters import redrive
from deploy.letters.letter import Letter, Place
from deploy.letters.plan import Held
from deploy.letters.planning import Wish, make_plan
from deploy.letters.reading import Letterbox, ranges_of
from deploy.letters.redrive import Redriver
from deploy.reading import read_range
from schemas.dead_letters import DeadLetterReason, TimeBounds, dead_letter_headers
from schemas.errors import SigmawatchError
from schemas.kafka import Publisher
from schemas.readings import Device
from schemas.settings import load_settings
from sinks.anomaly_log import AnomalyLog, AnomalyLogOptions
from sinks.dead_letters import dead_letter_office
from sinks.kafka import consumer_defaults
from tests.support.letters import BOTH, ahead, dlq, letters_in, message_counts, overrides_on, settings_on
from tests.support.processing import Pipeline, Processor, totals, until_applied
from tests.support.sinks import (
    CODEC,
    SHORT_SESSION,
    Database,
    Topics,
    anomaly,
    make_worker,
    readings_of,
    running,
)
from tests.support.waiting import until

pytestmark = pytest.mark.integration

FIXED = TimeBounds(max_ahead_us=72 * 3_600_000_000)
ROOT = Path(__file__).parents[4]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def stored(database: Database) -> int:
    return int(database.query("SELECT count(*) FROM readings")[0][0])


def give_up(topics: Topics, database: Database, bad: int) -> None:
    """Let the sink read its topics, and give `bad` messages up."""
    with running(make_worker(topics, database.url)) as worker:
        until(lambda: sum(c.dead_letters for c in worker.stats().counts.values()) == bad, what="dead letters")


def write_letters(topics: Topics, consumer: str, topic: str, reason: DeadLetterReason) -> list[Any]:
    """Letters of all messages of a topic that have none by this consumer, as the consumer would write them."""
    settings = settings_on(topics)
    told = {one.origin for one in letters_in(settings, f"{topic}.dlq") if one.consumer == consumer}
    ranges = ranges_of(settings, [topic])
    found = [message for batch in read_range(settings, ranges) for message in batch]
    new = [one for one in found if Place(one.topic(), one.partition(), one.offset()) not in told]
    with Publisher({"bootstrap.servers": topics.bootstrap_servers}) as publisher:
        for one in new:
            place = (topic, one.partition(), one.offset())
            headers = dead_letter_headers(*place, reason, stage="VALUE_CONVERTER", consumer=consumer)
            publisher.send(
                f"{topic}.dlq",
                one.key(),
                one.value(),
                headers=[*(one.headers() or []), *headers],
                timestamp_ms=one.timestamp()[1],
            )
    return new


def test_after_a_fix_every_reading_is_stored_once(topics: Topics, database: Database) -> None:
    good, late = readings_of(5, 20), ahead(5, 12)
    topics.send_readings([*good, *late])
    give_up(topics, database, len(late))
    assert stored(database) == len(good)
    settings = settings_on(topics)
    letters = letters_in(settings, f"{topics.readings}.dlq")
    with Publisher({"bootstrap.servers": topics.bootstrap_servers}) as publisher:
        for one in letters:  # the other consumer of the same topic gave up the same messages
            place = (topics.readings, one.origin.partition, one.origin.offset)
            reason = DeadLetterReason.TIME_OUT_OF_BOUNDS
            headers = dead_letter_headers(*place, reason, stage="VALUE_CONVERTER", consumer="another-group")
            publisher.send(f"{topics.readings}.dlq", one.key, one.value, headers=headers, timestamp_ms=1)

    (dry,) = dlq(topics, "redrive", topics.readings, "--dry-run", processor__max_ahead=BOTH)
    assert (dry["put_back"], dry["topics"][f"{topics.readings}.dlq"]["to_put_back"]) == (0, 60)
    (done,) = dlq(topics, "redrive", topics.readings, processor__max_ahead=BOTH)
    assert (done["put_back"], done["refused"]) == (60, [])
    assert_copies(topics, letters)
    with running(make_worker(topics, database.url, bounds=FIXED)) as worker:
        until(
            lambda: sum(c.messages for c in worker.stats().counts.values()) == len(late), what="all counted"
        )
    assert stored(database) == len(good) + len(late)
    assert database.totals()[topics.readings] == (len(good) + len(late), 0, 0, len(late))


def assert_copies(topics: Topics, letters: list[Letter]) -> None:
    """Each original is on its topic once more, as it was but for the mark."""
    settings = settings_on(topics)
    originals = {(one.origin.partition, one.origin.offset): one for one in letters}
    ranges = ranges_of(settings, [topics.readings])
    found = [message for batch in read_range(settings, ranges) for message in batch]
    marked = [one for one in found if any(name == "sigmawatch.redrive.letter" for name, _ in one.headers())]
    assert len(marked) == len(originals)
    for copy in marked:
        headers = dict(copy.headers())
        place = headers["sigmawatch.redrive.letter"].decode().partition("#")[0]
        partition, _, offset = place.rpartition("/")[2].partition("@")
        original = originals.pop((int(partition), int(offset)))
        assert (copy.key(), copy.value(), copy.partition()) == (original.key, original.value, int(partition))
        assert copy.timestamp()[1] == original.timestamp_ms
        ours = {f"sigmawatch.redrive.{name}" for name in ("letter", "times", "for")}
        assert set(headers) == {"origin", *ours}
        assert headers["sigmawatch.redrive.for"] == f"another-group,{topics.group}".encode()
    assert not originals


@pytest.mark.most_real
def test_letters_are_counted_and_nothing_is_put_back_twice(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.send_readings(ahead(2, 3))
    for consumer in ("a-group", "another-group"):
        write_letters(topics, consumer, topics.readings, DeadLetterReason.TIME_OUT_OF_BOUNDS)

    (listed,) = dlq(topics, "list")
    groups = {group["consumer"]: group for group in listed["groups"]}
    assert {name: (group["letters"], group["waiting"]) for name, group in groups.items()} == {
        "a-group": (6, 6),
        "another-group": (6, 6),
    }
    assert {group["reason"] for group in groups.values()} == {"TIME_OUT_OF_BOUNDS"}
    assert len(listed["newest"]) == 5
    (unfixed,) = dlq(topics, "redrive", topics.readings)
    assert unfixed["put_back"] == 0
    assert list(unfixed["topics"][f"{topics.readings}.dlq"]["held_back"].values()) == [6]
    with monkeypatch.context() as at_a_terminal:
        at_a_terminal.setattr(letters, "sys", SimpleNamespace(stdin=Terminal(), stderr=Terminal()))
        at_a_terminal.setattr(sys, "stdin", Terminal("n\n"))
        assert dlq(topics, "redrive", topics.readings, code=130, processor__max_ahead=BOTH) == []
    (some,) = dlq(topics, "redrive", topics.readings, "--offsets", "-1", processor__max_ahead=BOTH)
    (rest,) = dlq(topics, "redrive", topics.readings, processor__max_ahead=BOTH)
    assert (some["put_back"], rest["put_back"]) == (2, 4)
    assert rest["topics"][f"{topics.readings}.dlq"]["held_back"] == {"put back before": 2}
    assert set(message_counts(settings_on(topics), topics.readings).values()) == {2}
    assert {group["waiting"] for group in dlq(topics, "list", topics.readings)[0]["groups"]} == {0}


def test_a_crash_before_a_commit_loses_nothing(
    topics: Topics, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(topics, broker, monkeypatch, "redrive.after_messages")


@pytest.mark.most_real
def test_a_crash_behind_a_commit_doubles_nothing(
    topics: Topics, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(topics, broker, monkeypatch, "redrive.after_commit")


def crash(topics: Topics, broker: Any, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """A redrive ends in the middle, and another one does the rest."""
    late = ahead(4, 5)
    topics.send_readings(late)
    write_letters(topics, "a-group", topics.readings, DeadLetterReason.TIME_OUT_OF_BOUNDS)
    settings = settings_on(topics, **{"processor.max_ahead": BOTH})
    box = Letterbox(topics.readings)
    ranges = ranges_of(settings, [box.letters])
    monkeypatch.setattr(redrive, "_BATCH_LETTERS", 8)  # three transactions; the second one is cut off

    class CrashedError(Exception):
        pass

    passed = []

    def die(name: str) -> None:
        passed.append(name)
        if passed.count(point) == 2:
            raise CrashedError

    with monkeypatch.context() as dying:
        dying.setattr(redrive, "fail_point", die)
        crashed = Redriver(settings, box)
        with pytest.raises(CrashedError):
            crashed.put_back(make_plan(settings, box, ranges, Wish()))
    with Redriver(settings, box) as following:
        done = following.put_back(make_plan(settings, box, ranges, Wish()))
    counts = message_counts(settings, topics.readings)
    assert len(counts) == len(late)
    assert min(counts.values()) == 2, "nothing is lost"
    if broker.name != "tansu":  # which shows to all what was not committed
        kept = {"redrive.after_commit": 16}.get(point, 8)
        assert done.put_back == len(late) - kept
        assert max(counts.values()) == 2, "nothing is doubled"


@pytest.mark.most_real
def test_of_two_redrives_the_later_one_goes_on(topics: Topics) -> None:
    topics.send_readings(ahead(2, 2))
    write_letters(topics, "a-group", topics.readings, DeadLetterReason.TIME_OUT_OF_BOUNDS)
    settings = settings_on(topics, **{"processor.max_ahead": BOTH})
    box = Letterbox(topics.readings)
    ranges = ranges_of(settings, [box.letters])
    with Redriver(settings, box) as first, Redriver(settings, box) as second:
        with pytest.raises(SigmawatchError, match="another redrive"):
            first.put_back(make_plan(settings, box, ranges, Wish()))
        assert second.put_back(make_plan(settings, box, ranges, Wish())).put_back == 4
    assert set(message_counts(settings, topics.readings).values()) == {2}


@pytest.mark.most_real
def test_a_redrive_that_is_killed_is_finished_by_the_next(topics: Topics) -> None:
    late = ahead(2, 5)
    topics.send_readings(late)
    write_letters(topics, "a-group", topics.readings, DeadLetterReason.TIME_OUT_OF_BOUNDS)
    assigned = [part for pair in overrides_on(topics).items() for part in ("--set", "=".join(pair))]
    command = [sys.executable, "-m", "deploy.cli", "dlq", "redrive", topics.readings, "--json", *assigned]
    killed = subprocess.run(
        [*command, "--set", f"processor.max_ahead={BOTH}"],
        cwd=ROOT,
        env={**os.environ, "SIGMAWATCH_FAILPOINT": "redrive.after_records"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    (done,) = dlq(topics, "redrive", topics.readings, processor__max_ahead=BOTH)
    assert done["put_back"] == len(late)
    assert set(message_counts(settings_on(topics), topics.readings).values()) == {2}


@pytest.mark.most_real
def test_a_letter_that_fails_again_knows_its_ancestor_and_is_not_tried_for_ever(topics: Topics) -> None:
    topics.send(topics.readings, [(b"device-1", b"rubbish")])
    settings, box = settings_on(topics), Letterbox(topics.readings)
    wish = Wish(unreadable_too=True, max_times=2)
    for _ in range(2):
        write_letters(topics, "a-group", topics.readings, DeadLetterReason.BAD_MAGIC)
        with Redriver(settings, box) as redriver:
            plan = make_plan(settings, box, ranges_of(settings, [box.letters]), wish)
            assert redriver.put_back(plan).put_back == 1
    (copy,) = write_letters(topics, "a-group", topics.readings, DeadLetterReason.BAD_MAGIC)
    plan = make_plan(settings, box, ranges_of(settings, [box.letters]), wish)
    assert (plan.tasks, plan.held) == ([], {Held.TIMES: 1}), "three letters are of one message"
    (shown,) = dlq(topics, "show", f"{topics.readings}/{copy.partition()}@{copy.offset()}")
    assert shown["attempt"] == 2
    assert len(shown["put_back"]) == 2
    assert shown["original"] != shown["origin"]
    assert (shown["now"], shown["fault"]["at"]) == ("BAD_MAGIC", 0)


@pytest.mark.most_real
def test_the_processor_takes_what_is_put_back_once(
    topics: Topics, database: Database, tmp_path: Path
) -> None:
    pipeline = Pipeline(
        topics.bootstrap_servers, name=topics.readings.removeprefix("readings-"), partitions=3
    )
    pipeline.create_topics()
    good, late = readings_of(3, 30), ahead(3, 10)
    topics.send_readings([*good, *late])
    worker = Processor(pipeline, tmp_path / "before.log")
    try:
        until_applied([worker], len(good) + len(late))
        assert totals([worker])["readings"] == len(good)
        worker.stop()
    finally:
        worker.kill()
    settings = load_settings(None, pipeline.overrides(), {})
    letters = letters_in(settings, f"{topics.readings}.dlq")
    assert {one.consumer for one in letters} == {pipeline.group}
    assert all(one.timestamp_ms is not None and one.timestamp_ms < 1_900_000_000_000 for one in letters)
    (done,) = dlq(topics, "redrive", topics.readings, processor__max_ahead=BOTH)
    assert done["put_back"] == len(late)
    worker = Processor(pipeline, tmp_path / "after.log", max_ahead=BOTH)
    try:
        until(lambda: totals([worker]).get("readings") == len(good) + len(late), what="readings put back")
        found = totals([worker])
    finally:
        worker.kill()
    assert (found["repeated"], found["dead_letters"]) == (0, len(late))


@pytest.mark.most_real
def test_what_the_broker_refuses_is_named_and_the_rest_goes(topics: Topics) -> None:
    small = [(b"device-%d" % n, CODEC.encode_reading(one)) for n, one in enumerate(readings_of(6, 1))]
    topics.send(
        topics.readings,
        [*small[:3], (b"large", b"".join(sha256(b"%d" % n).digest() for n in range(200))), *small[3:]],
        partition=0,
    )
    write_letters(topics, "a-group", topics.readings, DeadLetterReason.REFUSED_BY_DATABASE)
    entry = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topics.readings, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()
    (done,) = dlq(topics, "redrive", topics.readings, "--all", code=1)
    assert done["put_back"] == len(small)
    ((named),) = done["refused"]
    assert named["original"].startswith(f"{topics.readings}/0@3#")
    assert "too large" in named["why"].lower()
    counts = message_counts(settings_on(topics), topics.readings)
    assert {counts[one] for one in small} == {2}


@pytest.mark.most_real
def test_a_device_is_not_set_back_to_what_it_was(topics: Topics) -> None:
    def device(name: str) -> bytes:
        return CODEC.encode_device(Device("pump-1", "pump", name))

    topics.send(topics.devices, [(b"pump-1", device("old")), (b"pump-2", device("only"))], partition=0)
    write_letters(topics, "a-group", topics.devices, DeadLetterReason.REFUSED_BY_DATABASE)
    topics.send(topics.devices, [(b"pump-1", device("new"))], partition=0)
    (done,) = dlq(topics, "redrive", topics.devices)
    assert done["put_back"] == 1
    (why,) = done["topics"][f"{topics.devices}.dlq"]["held_back"]
    assert "newer message" in why
    counts = message_counts(settings_on(topics), topics.devices)
    assert (counts[b"pump-1", device("old")], counts[b"pump-2", device("only")]) == (1, 2)


@pytest.mark.most_real
def test_the_anomaly_log_writes_no_line_twice(topics: Topics, tmp_path: Path) -> None:
    path = tmp_path / "anomalies.jsonl"
    address = {"bootstrap.servers": topics.bootstrap_servers}
    log = AnomalyLog(
        AnomalyLogOptions(
            topics.group, address | consumer_defaults(topics.group) | SHORT_SESSION, path, topics.anomalies
        ),
        CODEC,
        dead_letter_office(lambda: Publisher(address), topics.group),
    )
    topics.send_anomalies([anomaly(1)])
    with running(log):
        until(lambda: log.counts.stored == 1, what="a line")
        write_letters(topics, "the-database", topics.anomalies, DeadLetterReason.REFUSED_BY_DATABASE)
        (done,) = dlq(topics, "redrive", topics.anomalies)
        assert done["put_back"] == 1
        until(lambda: log.counts.duplicates == 1, what="the copy is passed over")
    assert len(path.read_text().splitlines()) == 1
