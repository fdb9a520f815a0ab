"""Which originals a redrive puts back: pure, over letters made by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.letters.history import (
    Attempt,
    Ledger,
    OriginalId,
    pack_attempts,
    parse_original,
    unpack_attempts,
    waiting_consumers,
)
from deploy.letters.letter import Letter, Place, letter_of, parse_place
from deploy.letters.plan import Gathering, Held, Selection
from deploy.letters.rendering import Listing, group_json, letter_json
from schemas.dead_letters import (
    DeadLetterReason,
    dead_letter_headers,
    is_meant_for,
    redrive_headers,
    without_our_headers,
)

TOPICS = {"readings", "devices"}


def letter(offset, origin=5, consumer="sink", *, topic="readings", value=b"v", key=b"k", **more):
    place = None if origin is None else Place(topic, 0, origin)
    values = {
        "place": Place("readings.dlq" if topic not in TOPICS else f"{topic}.dlq", 0, offset),
        "origin": place,
        "reason": "BAD_MAGIC",
        "message": "why",
        "consumer": consumer,
        "stage": "VALUE_CONVERTER",
        "key": key,
        "value": value,
        "headers": [],
        "timestamp_ms": offset * 1000,
    }
    return Letter(**values | more)


def ledger_of(*records):
    """A ledger that had each (letter of the original, attempts) written to it."""
    ledger = Ledger()
    for one, attempts in records:
        ledger.take(str(OriginalId(one.origin, one.content)).encode(), pack_attempts(attempts))
    return ledger


def planned(letters, ledger=None, selection=None, readable=lambda _: True, newest=None, **options):
    gathering = Gathering(ledger or Ledger(), selection or Selection(), readable, {"devices"})
    for one in letters:
        gathering.take(one)
    return gathering.plan(TOPICS, newest or (lambda *_: None), **options)


def test_two_letters_of_one_message_are_one_task():
    plan = planned([letter(0), letter(1, consumer="processor"), letter(2, origin=3)])
    assert [(task.original.place.offset, task.consumers) for task in plan.tasks] == [
        (3, frozenset({"sink"})),
        (5, frozenset({"sink", "processor"})),
    ]
    assert (plan.letters, sum(plan.held.values())) == (3, 0)


def test_the_same_place_with_other_bytes_is_another_message():
    # The topic was deleted and made again.
    assert len(planned([letter(0), letter(1, value=b"w")]).tasks) == 2


def test_what_was_put_back_is_not_put_back_again():
    ledger = ledger_of((letter(0), [Attempt(0, 9, "t", ("sink",))]))
    assert planned([letter(0)], ledger).held == {Held.DONE: 1}


def test_a_consumer_that_was_late_to_give_up_gets_its_own_attempt():
    ledger = ledger_of((letter(0), [Attempt(0, 9, "t", ("processor",))]))
    (task,) = planned([letter(0, consumer="processor"), letter(1, consumer="sink")], ledger).tasks
    assert task.consumers == {"sink"}
    # The copy at 9 it gave up as well: that is still one message.
    again = [letter(1, consumer="sink"), letter(2, origin=9, consumer="sink")]
    (task,) = planned(again, ledger).tasks
    assert (task.consumers, task.original.place.offset, len(task.attempts)) == ({"sink"}, 5, 1)


def test_a_copy_that_failed_belongs_to_its_ancestor():
    attempts = [Attempt(0, 9, "t", ("sink",)), Attempt(0, 12, "u", ("sink",))]
    ledger = ledger_of((letter(0), attempts))
    last = letter(4, origin=12)
    assert str(ledger.original_of(last).place) == "readings/0@5"
    assert ledger.number_of(ledger.original_of(last), last.origin) == 2
    assert planned([letter(0), letter(1, origin=9)], ledger).held == {Held.DONE: 1}
    letters = [letter(0), letter(1, origin=9), last]
    assert len(planned(letters, ledger).tasks[0].attempts) == 2
    assert planned(letters, ledger, max_times=2).held == {Held.TIMES: 1}


def test_what_came_from_elsewhere_stays():
    letters = [
        letter(0, origin=None),
        letter(1, origin=-1, topic="plant/boiler"),  # from the MQTT bridge
        letter(2, topic="other"),
        letter(3, topic="gone", place=Place("gone.dlq", 0, 3)),
    ]
    assert planned(letters).held == {Held.NOT_OURS: 3, Held.NO_TOPIC: 1}


def test_what_would_fail_again_stays_unless_it_is_asked_for():
    assert planned([letter(0)], readable=lambda _: False).held == {Held.FAILS: 1}
    assert len(planned([letter(0)], readable=lambda _: False, unreadable_too=True).tasks) == 1


def test_a_device_is_not_put_behind_a_newer_one_of_its_key():
    letters = [letter(0, topic="devices"), letter(1, topic="devices", origin=7, key=b"other")]
    newest = {("devices", 0, b"k"): 6, ("devices", 0, b"other"): 7}
    plan = planned(letters, newest=lambda *key: newest.get(key))
    assert [task.original.place.offset for task in plan.tasks] == [7]
    assert plan.held == {Held.NEWER: 1}
    # A copy of its own is not newer.
    ledger = ledger_of((letters[0], [Attempt(0, 6, "t", ("other",))]))
    assert len(planned(letters, ledger, newest=lambda *key: newest.get(key)).tasks) == 2


@pytest.mark.parametrize(
    ("selection", "offsets"),
    [
        (Selection(reasons=frozenset({"UNDECODABLE"})), {1}),
        (Selection(consumers=frozenset({"processor"})), {2}),
        (Selection(since_ms=1000, until_ms=2000), {1}),
        (Selection(first=1), {1, 2}),
        (Selection(last=0), {0}),
        (Selection(reasons=frozenset({"X"})), set()),
    ],
)
def test_a_selection_takes_what_it_says(selection, offsets):
    letters = [letter(0), letter(1, reason="UNDECODABLE"), letter(2, consumer="processor")]
    assert {one.place.offset for one in letters if selection.has(one)} == offsets


def test_a_selection_of_one_consumer_still_puts_back_once_for_all():
    letters = [letter(0, consumer="sink"), letter(1, consumer="processor")]
    (task,) = planned(letters, selection=Selection(consumers=frozenset({"sink"}))).tasks
    assert task.consumers == {"sink", "processor"}


ATTEMPTS = st.lists(
    st.builds(Attempt, st.integers(0, 9), st.integers(0, 10**12), st.text(), st.lists(st.text()).map(tuple)),
    max_size=4,
)


@given(ATTEMPTS)
def test_records_of_the_ledger_read_back(attempts):
    assert unpack_attempts(pack_attempts(attempts)) == tuple(attempts)


@given(st.none() | st.binary(), st.none() | st.binary())
def test_a_ledger_takes_any_bytes(key, value):
    ledger = Ledger()
    ledger.take(key, value)
    assert not ledger.attempts


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_a_ledger_takes_any_json(value):
    key = str(OriginalId(Place("readings", 0, 1), "c")).encode()
    ledger = Ledger()
    for content in (value, {"attempts": value}, {"attempts": [value]}):
        ledger.take(key, json.dumps(content).encode())
    assert not ledger.attempts


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 4), min_size=1), st.integers(1, 4))
def test_after_an_attempt_for_all_nobody_waits(given_up, more):
    last = max(given_up.values())
    attempts = [Attempt(0, number, "t", ()) for number in range(last)]
    attempts.append(Attempt(0, last, "t", tuple(waiting_consumers(given_up, attempts))))
    attempts += [Attempt(0, last + number, "t", ()) for number in range(more)]
    assert waiting_consumers(given_up, attempts) == frozenset()


def test_places_and_ids_read_back():
    place = Place("readings.v2", 3, 1234)
    assert parse_place(str(place)) == place
    assert parse_original(f"{place}#abc") == OriginalId(place, "abc")
    assert [parse_place(text) for text in ("readings", "readings/x@1", "a/1@-1", "", "a b/1@1")] == [None] * 5
    assert parse_original("rubbish") is None


class FakeMessage:
    def __init__(self, headers, value=b"v", key=b"k", timestamp=(1, 7)):
        self._all = headers, value, key, timestamp

    def headers(self):
        return self._all[0]

    def value(self):
        return self._all[1]

    def key(self):
        return self._all[2]

    def timestamp(self):
        return self._all[3]

    def topic(self):
        return "readings.dlq"

    def partition(self):
        return 0

    def offset(self):
        return 17


def test_a_letter_is_read_from_its_headers():
    ours = dead_letter_headers(
        "readings",
        3,
        9,
        DeadLetterReason.BAD_MAGIC,
        stage="VALUE_CONVERTER",
        consumer="g",
        detail="first byte 1",
    )
    marks = redrive_headers("id", 2, ["g", "f"])
    read = letter_of(FakeMessage([("origin", b"plc"), *marks, *ours]))
    assert (str(read.origin), read.reason, read.consumer) == ("readings/3@9", "BAD_MAGIC", "g")
    assert "first byte 1" in read.message
    assert read.original_headers == [("origin", b"plc")]
    assert read.can_go_back


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(
                    f"__connect.errors.{name}"
                    for name in ("topic", "partition", "offset", "exception.message")
                ),
                "x",
            ]
        ),
        st.none() | st.binary(max_size=30) | st.text(max_size=8),
    ),
    max_size=6,
)


@given(st.none() | HEADERS, st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=9))
def test_whatever_the_headers_say_it_is_a_letter(headers, value, key):
    read = letter_of(FakeMessage(headers, value, key, (0, -1)))
    json.dumps(letter_json(read), allow_nan=False)
    listing = Listing(3)
    listing.take(read, waits=True)
    json.dumps([group_json(group) for group in listing.sorted_groups], allow_nan=False)
    Gathering(Ledger(), Selection(), lambda _: True).take(read)


def test_a_message_that_was_put_back_says_for_whom():
    marks = redrive_headers("id", 1, ["sink", "processor"])
    assert [is_meant_for(marks, name) for name in ("sink", "processor", "log")] == [True, True, False]
    assert is_meant_for(None, "log")
    assert is_meant_for([("origin", b"x")], "log")
    assert is_meant_for(redrive_headers("id", 1, ["", "sink"]), "log"), (
        "one that gave it up did not say its name"
    )
    assert without_our_headers([("a", b"b"), *marks]) == [("a", b"b")]


def test_a_listing_keeps_the_newest_and_counts_all():
    listing = Listing(2)
    for number in range(500):
        listing.take(letter(number, consumer=f"c{number % 2}"), waits=number % 2 == 0)
    assert [one.place.offset for one in listing.newest] == [499, 498]
    assert len(listing.letters) < 200
    assert [(group.consumer, group.count, group.waiting) for group in listing.sorted_groups] == [
        ("c0", 250, 250),
        ("c1", 250, 0),
    ]
