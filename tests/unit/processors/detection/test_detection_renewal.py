"""Rules and devices that change: a look at the file, and what the handler does with the news."""

import asyncio
import os
from types import SimpleNamespace

import pytest
from faust.types import TP
from structlog.testing import capture_logs

from processors.batches.consumer import Batch, Start
from processors.batches.records import from_records
from processors.detection.facts import DeviceFacts, Directory
from processors.detection.renewal import OwnRules, Renewal, RulesFile
from processors.engine.series_index import SeriesName
from processors.handler import ProcessorHandler
from processors.metrics import Metrics
from processors.profiles import profile_book, profile_renewal, rule_book
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError
from schemas.settings import ProcessorSettings, Settings
from schemas.testing import readings

CODEC = Codec(Catalogue())
OURS = TP("readings", 0)
SERIES = SeriesName("device-1", "temperature")
FIRST = "rules: [{kinds: {spike: first}}]"
SECOND = "rules: [{kinds: {spike: second}}]"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(FIRST)
    return file


class TestRulesFile:
    def test_a_changed_content_is_a_change_and_a_touched_file_is_none(self, path):
        file = RulesFile(path)
        assert not file.changed()
        os.utime(path)
        assert not file.changed()
        path.write_text(SECOND)
        assert file.changed()
        assert file.rules.rules[0].kinds == {"spike": "second"}
        assert not file.changed()

    def test_a_change_of_the_same_length_at_the_same_time_is_seen(self, path):
        file, stamp = RulesFile(path), path.stat()
        path.write_text(FIRST.replace("first", "frist"))
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert file.changed()

    @pytest.mark.parametrize("meanwhile", [lambda path: path.unlink(), lambda path: path.write_text("")])
    def test_one_that_is_gone_or_empty_for_a_moment_is_no_change(self, path, meanwhile):
        file = RulesFile(path)
        meanwhile(path)
        assert not file.changed()
        path.write_text(FIRST)
        assert not file.changed()

    def test_a_faulty_one_is_refused_once_and_the_old_rules_stay(self, path):
        file = RulesFile(path)
        path.write_text("rules: [{jumb: {}}]")
        with pytest.raises(ConfigError, match="jumb"):
            file.changed()
        assert not file.changed()
        assert file.rules.rules[0].kinds == {"spike": "first"}

    def test_a_faulty_one_at_the_start_is_an_error(self, path):
        path.write_text("rules: [{jumb: {}}]")
        with pytest.raises(ConfigError, match="jumb"):
            RulesFile(path)
        with pytest.raises(ConfigError, match="jumb"):
            profile_renewal(Settings(processor=ProcessorSettings(rules=path)), Metrics())


def renewal_of(path, directory=None, settings=None):
    settings = settings or Settings()
    directory = Directory() if directory is None else directory
    file = RulesFile(path)

    def make(own):
        return rule_book(settings, own, directory)

    return Renewal(make(file.rules), OwnRules(file, make), directory, metrics=Metrics())


def kinds_of(book):
    return book.kinds(book.number(SERIES))


def count(renewal, outcome):
    return renewal._metrics.rules_changes.labels(outcome)._value.get()


class TestRenewal:
    def test_changed_rules_wait_until_they_are_adopted(self, path):
        renewal = renewal_of(path)
        path.write_text(SECOND)
        with capture_logs() as logs:
            renewal.look()
        assert renewal.has_news
        assert kinds_of(renewal.book) == {"spike": "first"}
        news = renewal.adopt()
        assert news.devices is None
        assert kinds_of(news.book) == kinds_of(renewal.book) == {"spike": "second"}
        assert not renewal.has_news
        assert logs[0]["added"] == [f"{path}, line 1"]
        assert (logs[0]["rules"], logs[0]["removed"]) == (1, 1)
        assert (count(renewal, "in_force"), count(renewal, "refused")) == (1, 0)

    def test_a_faulty_file_is_logged_counted_and_not_adopted(self, path):
        renewal = renewal_of(path)
        path.write_text("rules: [{jump: {threshold: -1}}]")
        with capture_logs() as logs:
            renewal.look()
            renewal.look()
        assert not renewal.has_news
        (said,) = logs
        assert said["log_level"] == "error"
        assert "line 1: rules[0].jump.threshold is -1" in said["reason"]
        assert count(renewal, "refused") == 1

    def test_rules_are_not_looked_at_where_that_is_not_wanted(self, path):
        renewal = renewal_of(path)
        path.write_text(SECOND)
        renewal.look(rules=False)
        assert not renewal.has_news

    def test_changed_devices_are_news_of_their_series_alone(self, path):
        directory = Directory()
        renewal = renewal_of(path, directory)
        directory.facts("d")
        directory.take("d", DeviceFacts("oven"))
        assert renewal.has_news
        news = renewal.adopt()
        assert (news.book, news.devices) == (renewal.book, {"d"})

    def test_the_preset_of_the_file_goes_before_that_of_the_settings(self, path):
        settings = Settings(processor=ProcessorSettings(preset="moving-average", k=5, rules=path))
        book = profile_book(settings)
        profile = book.profile(book.number(SeriesName("d", "energy")))
        assert (profile.window.on, profile.window.k, profile.jump.on) == (True, 5, False)
        assert not profile.meaning.counter, "the shipped rules are about the other channels"
        assert profile.kinds == {"spike": "first"}
        path.write_text(f"preset: standard\n{FIRST}")
        book = profile_book(settings)
        profile = book.profile(book.number(SeriesName("d", "energy")))
        assert (profile.window.on, profile.jump.on, profile.meaning.counter) == (False, True, True)


class Publisher:
    def __init__(self):
        self.sent = []

    def send(self, topic, key, value, **_more):
        self.sent.append((topic, key, value))

    def flush(self, timeout=None):
        pass


class Consumer:
    def __init__(self):
        self.accepts, self.commits = True, []

    async def commit_checkpoint(self, offsets):
        self.commits.append(offsets)
        return self.accepts

    def log_end(self, tp):
        return None

    def rewind(self, tp, offset, epoch):
        raise AssertionError("every batch continues the last one")


class Reader:
    """The topic of devices: what `read_on` finds there."""

    def __init__(self, directory):
        self.directory, self.records, self.reads = directory, {}, 0
        self.meanwhile = lambda: None

    def read_on(self):
        self.reads += 1
        for device_id, facts in self.records.items():
            self.directory.take(device_id, facts)
        self.meanwhile()

    def follow(self):
        pass


def handler_of(renewal):
    made = ProcessorHandler(
        topic="readings",
        anomalies_topic="anomalies",
        changelog_topic="changelog",
        group="group",
        renewal=renewal,
        bounds=TimeBounds(),
        checkpoint_readings=1000,
        codec=CODEC,
        publisher=Publisher(),
        restorer=lambda partition: [],
        metrics=Metrics(),
    )
    made.attach(Consumer())
    made.begin(1, {OURS: Start(0, None)})
    return made


def batch_of(values, first=0):
    rows = [
        SimpleNamespace(key=b"d", value=value, offset=first + i, timestamp=1_700_000_000_000)
        for i, value in enumerate(values)
    ]
    return Batch(OURS, 1, from_records(rows, first, first + len(rows)))


VALUES = [CODEC.encode_reading(reading) for reading in readings([20.0, 21.0, 22.0, 23.0, 24.0])]


def judged_as(handler):
    """What the tests' own rules call a spike of the first series: nothing of the package's rules."""
    engine = handler.partitions[0].engine
    kinds = engine.book.kinds(int(engine._profile_of[0]))
    return {kind: name for kind, name in kinds.items() if kind == "spike"}


class TestHandler:
    def test_news_come_into_force_behind_a_checkpoint_which_is_made_for_them(self, path):
        handler = handler_of(renewal_of(path))

        async def run():
            await handler.on_batch(batch_of(VALUES))
            path.write_text(SECOND)
            await handler.renew(rules=True)

        asyncio.run(run())
        assert judged_as(handler) == {"spike": "second"}
        assert handler._consumer.commits == [{OURS: 5}]

    def test_without_a_committed_checkpoint_nothing_comes_into_force(self, path):
        handler = handler_of(renewal_of(path))
        handler._consumer.accepts = False

        async def run():
            await handler.on_batch(batch_of(VALUES))
            path.write_text(SECOND)
            await handler.renew(rules=True)
            assert judged_as(handler) == {"spike": "first"}
            handler._consumer.accepts = True
            await handler.checkpoint()

        asyncio.run(run())
        assert judged_as(handler) == {"spike": "second"}

    def test_where_nothing_moved_news_come_into_force_at_once(self, path):
        handler = handler_of(renewal_of(path))
        path.write_text(SECOND)
        asyncio.run(handler.renew(rules=True))
        asyncio.run(handler.on_batch(batch_of(VALUES)))
        assert judged_as(handler) == {"spike": "second"}

    def of_type(self, path):
        path.write_text("rules: [{types: [oven], kinds: {spike: hot}}]")
        directory = Directory()
        renewal = renewal_of(path, directory)
        renewal._reader = Reader(directory)
        return handler_of(renewal), renewal._reader

    def test_a_new_device_is_looked_up_before_its_first_reading_is_judged(self, path):
        handler, reader = self.of_type(path)

        async def run():
            await handler.on_batch(batch_of([]))
            reader.records["device-1"] = DeviceFacts("oven")
            await handler.on_batch(batch_of(VALUES))

        asyncio.run(run())
        assert judged_as(handler) == {"spike": "hot"}
        assert reader.reads == 2, "once before the first batch, once for the new device"
        assert handler.partitions[0].engine.counts()["readings"] == 5

    def test_a_device_that_nobody_announced_is_asked_for_once(self, path):
        handler, reader = self.of_type(path)

        async def run():
            for first in (0, 5, 10):
                await handler.on_batch(batch_of(VALUES, first))

        asyncio.run(run())
        assert judged_as(handler) == {}
        assert reader.reads == 2

    def test_a_rebalance_while_devices_are_read_drops_the_batch(self, path):
        handler, reader = self.of_type(path)

        async def run():
            await handler.on_batch(batch_of([]))
            reader.meanwhile = handler.end
            await handler.on_batch(batch_of(VALUES))

        asyncio.run(run())
        assert handler.partitions[0].next_offset == 0
        assert handler.partitions[0].engine.counts()["readings"] == 0

    def test_what_was_restored_is_judged_by_what_is_known_at_the_first_batch(self, path):
        handler, reader = self.of_type(path)
        asyncio.run(handler.on_batch(batch_of(VALUES)))
        asyncio.run(handler.checkpoint())
        records = [(key, value) for topic, key, value in handler._publisher.sent if topic == "changelog"]
        again, reader = self.of_type(path)
        again.restore(SimpleNamespace(partition=0, key=key, value=value) for key, value in records)
        again.begin(1, {OURS: Start(5, 5)})
        assert judged_as(again) == {}
        reader.records["device-1"] = DeviceFacts("oven")
        asyncio.run(again.on_batch(batch_of(VALUES, 5)))
        assert judged_as(again) == {"spike": "hot"}
