"""The book that rules make: who gets which profile, how few there are, and what the engine makes of it."""

import random

import numpy as np
import pytest

from processors.detection.book import RuleBook
from processors.detection.directory import facts_of
from processors.detection.document import rules_document
from processors.detection.facts import UNKNOWN, DeviceFacts, Directory, DirectoryBehindError, KnownDevices
from processors.detection.rules import parse_rules
from processors.engine.book import OneProfile
from processors.engine.partition import PartitionEngine
from processors.engine.profile import PROFILE, Profile
from processors.engine.record import pack, unpack
from processors.engine.series_index import SeriesName
from schemas.readings import Reading
from schemas.testing import device
from tests.support.engines import SECOND, START, batch

RULES = """
rules:
  - {types: [oven, "heat*"], jump: {threshold: 8}}
  - {types: [oven], metrics: [temperature], jump: {threshold: 9}, kinds: {spike: overheating}}
  - {metrics: ["*_total"], meaning: {counter: true}}
  - {devices: ["oven-lab-*"], spike: {on: false}, kinds: {drop: cold}}
"""
DEVICES = KnownDevices(
    {
        "oven-1": DeviceFacts("oven"),
        "oven-2": DeviceFacts("oven"),
        "oven-lab-1": DeviceFacts("oven"),
        "heater-1": DeviceFacts("heater"),
        "Heater-2": DeviceFacts("Heater"),
    }
)


def noisy(count, *, device="d", outliers=()):
    """A reading a second about 50, the outliers 30 higher."""
    rng = random.Random(1)
    return [
        Reading(device, "m", START + i * SECOND, 50 + rng.gauss(0, 1) + (30 if i in outliers else 0))
        for i in range(count)
    ]


def rules_of(text):
    return parse_rules(rules_document(text.encode(), "plant.yaml")).rules


def book_of(text=RULES, devices=DEVICES):
    return RuleBook(Profile(), rules_of(text), devices)


def profile_of(book, device_id, metric="temperature"):
    return book.profile(book.number(SeriesName(device_id, metric)))


def test_later_rules_are_laid_over_earlier_ones():
    book = book_of()
    assert profile_of(book, "oven-1").jump.threshold == 9
    assert profile_of(book, "oven-1", "humidity").jump.threshold == 8
    assert profile_of(book, "heater-1").jump.threshold == 8
    assert profile_of(book, "Heater-2") == profile_of(book, "nobody") == Profile()
    lab = profile_of(book, "oven-lab-1")
    assert (lab.jump.threshold, lab.spike.on, lab.kinds) == (
        9,
        False,
        {"spike": "overheating", "drop": "cold"},
    )


def test_counters_are_known_by_their_metric_whatever_the_device():
    book = book_of()
    assert profile_of(book, "nobody", "wash_total").meaning.counter
    assert not profile_of(book, "nobody", "total").meaning.counter


def test_equal_series_share_a_profile_and_the_table_is_as_long_as_there_are_different_ones():
    book = book_of()
    names = [SeriesName(f"oven-{n}", "temperature") for n in range(1, 3)]
    assert len({book.number(name) for name in names}) == 1
    assert book.number(SeriesName("x", "y")) == 0
    assert len(book.table) == 2
    assert book.table.dtype == PROFILE
    assert book.table["jump"]["threshold"].tolist() == [Profile().jump.threshold, 9.0]
    assert book.kinds(book.number(names[0])) == {"spike": "overheating"}
    assert book.kinds(0) == {}


def test_a_row_that_was_given_out_stays_as_it_is():
    book = book_of()
    first = book.number(SeriesName("oven-1", "temperature"))
    before = book.table[first].copy()
    for n in range(50):
        book.number(SeriesName(f"oven-lab-{n}", f"{n}_total"))
    assert book.table[first] == before


def test_the_rules_of_a_series_are_told():
    assert [rule.place for rule in book_of().rules_of(SeriesName("oven-lab-1", "temperature"))] == [
        f"plant.yaml, line {line}" for line in (3, 4, 6)
    ]


class TestOrigin:
    RESET = "rules: [{types: [oven], reset_on: [firmware]}, {metrics: [speed], reset_on: [type, firmware]}, {metrics: [no], reset_on: []}]"

    def origin(self, facts, metric="temperature"):
        return book_of(self.RESET, KnownDevices({"d": facts})).origin(SeriesName("d", metric))

    def test_it_follows_what_the_last_rule_names(self):
        assert self.origin(DeviceFacts("oven", firmware="1")) != self.origin(
            DeviceFacts("oven", firmware="2")
        )
        assert self.origin(DeviceFacts("oven", "a", "b", "1")) == self.origin(
            DeviceFacts("oven", "c", "d", "1")
        )
        assert self.origin(DeviceFacts("fan", firmware="1"), "speed") != self.origin(
            DeviceFacts("pump", firmware="1"), "speed"
        )

    def test_it_is_nought_where_nobody_asks_or_nothing_is_known(self):
        assert self.origin(DeviceFacts("fan", firmware="1")) == 0
        assert self.origin(DeviceFacts("oven", firmware="1"), "no") == 0
        assert self.origin(UNKNOWN, "speed") == 0
        assert book_of().origin(SeriesName("oven-1", "temperature")) == 0


class TestDirectory:
    def test_it_knows_what_it_took_and_nothing_of_others(self):
        directory = Directory()
        directory.take("d", facts_of(device("d", type="oven", firmware="7")))
        assert directory.facts("d").type == "oven"
        assert directory.facts("d").firmware == "7"
        assert directory.facts("e") == UNKNOWN
        assert len(directory) == 1

    def test_new_devices_are_no_change_but_those_somebody_asked_for_are(self):
        directory = Directory()
        directory.take("a", DeviceFacts("oven"))
        assert not directory.has_changes
        directory.facts("b")
        directory.take("b", DeviceFacts("fan"))
        directory.take("a", DeviceFacts("oven"))
        assert directory.take_changes() == {"b"}
        directory.take("a", DeviceFacts("oven", firmware="2"))
        directory.take("b", None)
        assert directory.take_changes() == {"a", "b"}
        assert not directory.has_changes
        assert directory.facts("b") == UNKNOWN

    def test_only_complete_knowledge_is_asked_for_once_a_device(self):
        directory = Directory()
        with directory.complete_only(), pytest.raises(DirectoryBehindError):
            directory.facts("d")
        assert directory.facts("d") == UNKNOWN
        with directory.complete_only():
            assert directory.facts("d") == UNKNOWN
        directory.take("d", DeviceFacts("oven"))
        directory.take("d", None)
        with directory.complete_only(), pytest.raises(DirectoryBehindError):
            directory.facts("d")


class TestEngine:
    def test_a_book_that_is_behind_leaves_the_engine_as_if_it_had_never_been_asked(self):
        directory = Directory()
        rules = "rules: [{types: [loud], spike: {threshold: 1000}, jump: {threshold: 1000}}]"
        behind, whole = (PartitionEngine(book_of(rules, directory)) for _ in range(2))
        first, second = noisy(200, device="a"), noisy(200, device="b", outliers={150})
        whole.apply(batch(first)), behind.apply(batch(first))
        with directory.complete_only(), pytest.raises(DirectoryBehindError):
            behind.apply(batch(second, 200))
        assert behind.counts()["readings"] == 200
        directory.take("b", DeviceFacts("loud"))
        told = behind.apply(batch(second, 200))
        assert told.anomalies == whole.apply(batch(second, 200)).anomalies
        assert states_of(behind) == states_of(whole)

    def test_another_book_counts_from_the_next_reading_on(self):
        quiet = "rules: [{spike: {on: false}, jump: {on: false}, range: {on: false}, rare: {on: false}, energy: {on: false}}]"
        readings = noisy(600, outliers={300, 550})
        engine = PartitionEngine(book_of("rules: []"))
        opened = engine.apply(batch(readings[:400])).anomalies
        engine.use(book_of(quiet))
        later = engine.apply(batch(readings[400:], 400)).anomalies
        assert [a.opened_at for a in opened if a.state == "OPENED"] == [START + 300_000_000]
        assert later == []

    def test_a_device_that_becomes_known_is_judged_by_its_type_once_the_engine_is_told(self):
        directory = Directory()
        engine = PartitionEngine(book_of("rules: [{types: [oven], kinds: {spike: overheating}}]", directory))
        engine.apply(batch(noisy(300, device="o")))
        directory.take("o", DeviceFacts("oven"))
        engine.use(engine.book, directory.take_changes())
        (opened,) = [
            a
            for a in engine.apply(batch(noisy(400, device="o", outliers={390})[300:], 300)).anomalies
            if a.state == "OPENED"
        ]
        assert opened.kind == "overheating"

    def test_a_series_of_another_firmware_is_begun_anew_and_keeps_its_counts(self):
        directory = Directory()
        directory.take("d", DeviceFacts("oven", firmware="1"))
        engine = PartitionEngine(book_of("rules: [{reset_on: [firmware]}]", directory))
        engine.apply(batch(noisy(300)))
        before = engine.view(SeriesName("d", "m"))
        engine.clear_changed()
        engine.use(engine.book)
        assert engine.changed().tolist() == []
        directory.take("d", DeviceFacts("oven", firmware="2"))
        engine.use(engine.book, directory.take_changes())
        after = engine.view(SeriesName("d", "m"))
        assert engine.changed().tolist() == [0]
        assert (after.readings, after.last_time, after.last_value) == (
            300,
            before.last_time,
            before.last_value,
        )
        assert after.window_readings == 0
        assert engine.states["judged"][0] == 0
        more = engine.apply(batch(noisy(300)[295:], 295))  # what came before comes again
        assert more.anomalies == []
        assert engine.counts()["readings"] == 300

    def test_a_reset_that_was_missed_is_made_up_for_after_a_restart(self):
        directory = Directory()
        directory.take("d", DeviceFacts("oven", firmware="1"))
        rules = "rules: [{reset_on: [firmware]}]"
        engine = PartitionEngine(book_of(rules, directory))
        engine.apply(batch(noisy(300)))
        record = pack(engine.states, np.array([0]), {})[0]
        directory.take("d", DeviceFacts("oven", firmware="2"))
        again = PartitionEngine(book_of(rules, directory))
        again.restore(SeriesName("d", "m"), *unpack(record))
        assert again.states["judged"][0] > 0
        again.use(again.book)
        assert again.states["judged"][0] == 0
        again.use(again.book)
        assert again.counts()["readings"] == 300

    def test_an_open_episode_outlives_a_reset_and_is_cleared(self):
        engine = PartitionEngine(OneProfile())
        readings = noisy(330, outliers=set(range(320, 330)))
        opened = engine.apply(batch(readings)).anomalies
        assert [a.state for a in opened] == ["OPENED"]
        engine.reset(SeriesName("d", "m"))
        assert engine.view(SeriesName("d", "m")).open_anomalies[0].anomaly_id == opened[0].anomaly_id
        cleared = engine.apply(batch(noisy(400)[330:], 330)).anomalies
        assert [(a.state, a.anomaly_id) for a in cleared] == [("CLEARED", opened[0].anomaly_id)]

    def test_a_series_that_is_not_there_is_not_begun(self):
        engine = PartitionEngine(OneProfile())
        engine.reset(SeriesName("d", "m"))
        assert len(engine) == 0


def states_of(engine):
    return {name: engine.states[number].tobytes() for number, name in enumerate(engine.index.names)}
