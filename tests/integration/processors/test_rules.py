"""Rules by device type on real brokers: what is known of devices, and rules that change while a worker runs."""

import random
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from processors.detection.directory import DirectoryReader
from processors.detection.facts import UNKNOWN, Directory
from schemas.readings import Reading
from schemas.testing import device
from tests.support.chaos import CODEC
from tests.support.processing import (
    SECOND_US,
    START_US,
    Pipeline,
    Processor,
    all_committed,
    announce,
    processors,
    rules_changes,
    until_applied,
)
from tests.support.waiting import until

pytestmark = pytest.mark.integration


class TestDirectory:
    @pytest.fixture
    def pipeline(self, broker):
        return Pipeline(broker.bootstrap_servers, partitions=3)

    @pytest.fixture
    def directory(self, pipeline):
        directory = Directory()
        reader = DirectoryReader(pipeline.settings, CODEC, directory)
        directory.reader = reader
        yield directory
        reader.close()

    def test_it_reads_to_the_end_and_on(self, pipeline, directory):
        pipeline.create_topics()
        announce(pipeline, [device(f"d-{n}", type="oven", firmware="1") for n in range(12)])
        directory.reader.read_on()
        assert len(directory) == 12
        for n in range(12, 18):
            announce(pipeline, [device(f"d-{n}", type="fan")])
            directory.reader.read_on()
            assert directory.facts(f"d-{n}").type == "fan"

    def test_records_that_are_none_are_passed_over_and_deleted_devices_are_unknown(self, pipeline, directory):
        pipeline.create_topics()
        bad = [(b"d-1", b"\0\0\0\0\2junk"), (b"d-1", b""), (b"\xff", None)]
        announce(pipeline, [device("d-1", type="oven"), device("d-2", type="oven")], [*bad, (b"d-2", None)])
        announce(pipeline, [device("d-3", type="oven")])
        directory.reader.read_on()
        assert [directory.facts(f"d-{n}").type for n in (1, 2, 3)] == ["oven", "", "oven"]

    def test_it_follows_what_changes(self, pipeline, directory):
        pipeline.create_topics()
        first = device("d-1", type="oven", firmware="1")
        announce(pipeline, [first])
        directory.reader.follow()
        assert len(directory) == 0, "nothing before the first reading to the end"
        directory.reader.read_on()
        announce(pipeline, [replace(first, firmware="2")])

        def followed():
            directory.reader.follow()
            return directory.has_changes

        until(followed, 120, "the change was seen", pause=0.1)
        assert directory.take_changes() == {"d-1"}
        assert directory.facts("d-1").firmware == "2"

    def test_a_topic_that_is_not_there_is_like_an_empty_one_until_it_comes(self, pipeline, directory):
        directory.reader.read_on()
        assert directory.facts("d-1") == UNKNOWN
        directory.reader.follow()
        admin = AdminClient({"bootstrap.servers": pipeline.servers})
        (made,) = admin.create_topics([NewTopic(pipeline.settings.topics.devices, 2, 1)]).values()
        made.result(30)
        announce(pipeline, [device("d-1", type="oven")])
        until(lambda: (directory.reader.read_on(), directory.has_changes)[1], 120, "the topic was read")
        assert directory.facts("d-1").type == "oven"

    def test_giving_up_ends_a_wait_for_a_broker_that_is_away(self):
        directory = Directory()
        reader = DirectoryReader(Pipeline("127.0.0.1:1").settings, CODEC, directory)
        reader.give_up()
        reader.read_on()
        assert len(directory) == 0
        reader.close()


CHANNELS = ("spike", "jump", "range", "rare", "energy", "pattern", "shift", "stuck", "gap")
OFF = ", ".join(
    f"{name}: {{on: false}}"
    for name in ["spike", "jump", "range", "rare", "energy", "pattern", "shift", "stuck", "gap"]
)
RULES = """
rules:
  - {{types: [{silent}], {off}}}
  - {{types: [{loud}], kinds: {{spike: {kind}}}}}
"""


def rules(silent, loud, kind):
    return RULES.format(silent=silent, loud=loud, kind=kind, off=OFF)


def stretch(number, height):
    """200 seconds of an oven and a heater, the 150th reading of each far off."""
    rng = random.Random(number)
    return [
        Reading(
            name,
            "temperature",
            START_US + (200 * number + tick) * SECOND_US,
            50 + rng.gauss(0, 1) + (height if tick == 150 else 0),
        )
        for tick in range(200)
        for name in ("oven-1", "heater-1")
    ]


def test_rules_by_type_change_what_alarms_also_while_a_worker_runs(broker, tmp_path):
    pipeline = Pipeline(broker.bootstrap_servers, partitions=2).create_topics()
    file = tmp_path / "rules.yaml"
    file.write_text(rules("heater", "oven", "overheating"))
    with processors(pipeline, tmp_path, 0) as workers:
        workers.append(
            Processor(pipeline, tmp_path / "worker.log", preset="standard", rules=str(file), reload=0.2)
        )
        (worker,) = workers

        def opened(number, height):
            """What the stretch of readings raises: device -> kind."""
            nonlocal sent
            sent += pipeline.send(stretch(number, height))
            until_applied(workers, sent)
            until(lambda: all_committed(worker), 120, "a checkpoint has flushed the anomalies", pause=0.1)
            begin = START_US + 200 * number * SECOND_US
            anomalies = [CODEC.decode_anomaly(value) for value in pipeline.anomalies_found().values()]
            return {(a.device_id, a.kind) for a in anomalies if a.opened_at >= begin}

        sent = 0
        # The worker runs, and has never heard of the devices: it reads of them before it judges them.
        until(lambda: len(worker.partitions()) == 2, 120, "the worker has its partitions", pause=0.2)
        announce(pipeline, [device("oven-1", type="oven"), device("heater-1", type="heater")])
        assert opened(0, 30) == {("oven-1", "overheating")}

        file.write_text(rules("oven", "heater", "chilblain"))
        until(
            lambda: rules_changes(worker, "in_force") == 1, 120, "the changed rules are in force", pause=0.1
        )
        assert opened(1, 300) == {("heater-1", "chilblain")}

        file.write_text("rules: [{jump: {treshold: 3}}]")
        until(lambda: rules_changes(worker, "refused") == 1, 120, "the faulty rules are refused", pause=0.1)
        assert opened(2, 3000) == {("heater-1", "chilblain")}
        assert rules_changes(worker, "in_force") == 1
        assert "rules[0].jump.treshold: no such key. Did you mean threshold?" in worker.log.read_text()

        announce(pipeline, [device("oven-1", type="heater")])  # by now it is one
        later = ((number, 3000 * 10 ** (number - 2)) for number in range(3, 8))
        until(
            lambda: ("oven-1", "chilblain") in opened(*next(later)), 300, "the device's new type is in force"
        )
        assert "sigmawatch_processor_devices_count 2.0" in worker.get("/metrics").text
        worker.stop()


@pytest.mark.most_real
def test_a_faulty_file_at_the_start_ends_the_worker_with_the_reason(broker, tmp_path):
    pipeline = Pipeline(broker.bootstrap_servers, partitions=1).create_topics()
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{jump: {treshold: 3}}]")
    with processors(pipeline, tmp_path, 0) as workers:
        workers.append(Processor(pipeline, tmp_path / "worker.log", rules=str(file)))
        assert workers[0].process.wait(120) != 0
        assert "no such key. Did you mean threshold?" in workers[0].log.read_text()
