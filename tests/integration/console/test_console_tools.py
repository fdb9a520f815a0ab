"""Kafka's own console tools, and kcat, read what we write: keys, headers, partitions, groups."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from deploy.embedded import cache_folder
from deploy.embedded.kafka_jars import find_kafka
from schemas.kafka import partition_for_key
from tests.integration.console.conftest import BAD, PARTITIONS
from tests.support import servers

pytestmark = pytest.mark.integration

PROCESSOR, SINK = "sigmawatch-processor", "sigmawatch-sink-timescale"


def run(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kafka_tool(name, *args):
    """What one of Kafka's tools prints."""
    if reason := servers.why_not("kafka"):
        pytest.skip(f"Kafka's tools are not here: {reason}")
    return run(find_kafka(cache_folder(), lambda _: None).console_tool(name, *args))


def kcat(pipeline, *args):
    """What kcat prints."""
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed (apt-get install kcat)")
    if pipeline.broker.name == "tansu":
        pytest.skip("the librdkafka 2.0 of Debian's kcat does not understand Tansu's answer to ApiVersions")
    return run(["kcat", "-b", pipeline.servers, "-q", *args])


def consumed(pipeline, topic, count):
    """Lines of the console consumer, as lists: partition, offset, headers, key."""
    shown = ("partition", "offset", "headers", "key")
    properties = [word for name in shown for word in ("--formatter-property", f"print.{name}=true")]
    text = kafka_tool(
        "kafka-console-consumer",
        *("--bootstrap-server", pipeline.servers, "--topic", topic, "--from-beginning"),
        *("--max-messages", str(count), "--timeout-ms", "30000"),
        *properties,
        *("--command-property", "session.timeout.ms=1000", "--command-property", "heartbeat.interval.ms=300"),
        *("--formatter-property", "print.value=false"),
    )
    return [line.split("\t") for line in text.splitlines()]


def test_the_console_consumer_shows_the_readings_keys_where_java_puts_them(finished):
    rows = consumed(finished, "readings", finished.count)
    assert len(rows) == finished.count
    counted = Counter(key for *_, key in rows)
    assert counted == Counter([r.device_id for r in finished.sent] + [key.decode() for key in BAD])
    for partition, _, headers, key in rows:
        assert partition == f"Partition:{partition_for_key(key.encode(), PARTITIONS)}"
        assert headers == "NO_HEADERS"
    places = {(partition, offset) for partition, offset, *_ in rows}
    assert len(places) == finished.count


def test_the_console_consumer_shows_anomalies_in_the_partition_of_their_device(finished):
    rows = consumed(finished, "anomalies", len(finished.expected))
    assert len(rows) == len(finished.expected) > 20
    for partition, _, _, key in rows:
        assert partition == f"Partition:{partition_for_key(key.encode(), PARTITIONS)}"


def test_the_console_consumer_shows_why_a_letter_is_dead(finished):
    rows = consumed(finished, "readings.dlq", 2 * len(BAD))  # one of the processor, one of the sink
    consumers = Counter()
    for _, _, text, key in rows:
        assert key.encode() in BAD
        headers = dict(pair.split(":", 1) for pair in text.split(",__connect.errors."))
        assert headers["__connect.errors.topic"] == "readings"
        assert headers["partition"] == str(partition_for_key(key.encode(), PARTITIONS))
        assert headers["exception.class.name"] in {"UNDECODABLE", "BAD_MAGIC"}
        consumers[headers["connector.name"]] += 1
    assert consumers == {PROCESSOR: len(BAD), SINK: len(BAD)}


def described(pipeline, group):
    """Rows of `kafka-consumer-groups --describe` by (topic, partition)."""
    text = kafka_tool(
        "kafka-consumer-groups", "--bootstrap-server", pipeline.servers, "--describe", "--group", group
    )
    lines = [line.split() for line in text.splitlines() if line.strip()]
    head = next(line for line in lines if line[0] == "GROUP")
    rows = [dict(zip(head, line, strict=False)) for line in lines if line[0] == group]
    return {(row["TOPIC"], int(row["PARTITION"])): row for row in rows}


@pytest.mark.parametrize("group", [PROCESSOR, SINK])
def test_consumer_groups_shows_the_groups_at_the_end(finished, group):
    listed = kafka_tool("kafka-consumer-groups", "--bootstrap-server", finished.servers, "--list")
    assert group in listed.split()
    rows = described(finished, group)
    ends = {n: messages[-1].offset() + 1 for n, messages in finished.read("readings").items()}
    for number, end in ends.items():
        row = rows["readings", number]
        assert int(row["CURRENT-OFFSET"]) == end
        if finished.broker.name != "tansu":  # it answers the last batch's base offset + 1
            assert (int(row["LOG-END-OFFSET"]), row["LAG"]) == (end, "0")


def test_kcat_lists_the_topics(finished):
    text = kcat(finished, "-L")
    for topic, partitions in {
        "readings": PARTITIONS,
        "anomalies": PARTITIONS,
        "devices": PARTITIONS,
        "readings.dlq": 1,
        "sigmawatch-processor-series-changelog": PARTITIONS,
    }.items():
        assert f'topic "{topic}" with {partitions} partitions' in text


def test_kcat_reads_keys_and_sizes(finished):
    lines = kcat(
        finished, "-C", "-t", "readings", "-o", "beginning", "-e", "-f", r"%p %o %k %S\n"
    ).splitlines()
    rows = [line.split(" ") for line in lines]
    assert Counter(key for _, _, key, _ in rows) == Counter(
        [r.device_id for r in finished.sent] + [key.decode() for key in BAD]
    )
    assert all(int(partition) == partition_for_key(key.encode(), PARTITIONS) for partition, _, key, _ in rows)
    assert all(int(size) > 0 for *_, size in rows)


def test_kcat_reads_dead_letters_headers(finished):
    lines = kcat(finished, "-C", "-t", "readings.dlq", "-o", "beginning", "-e", "-f", r"%k|%h\n").splitlines()
    assert len(lines) == 2 * len(BAD)
    for line in lines:
        key, _, headers = line.partition("|")
        assert key.encode() in BAD
        assert "__connect.errors.topic=readings," in headers
        assert "__connect.errors.exception.message=" in headers


def test_kcat_shows_the_changelogs_keys_and_markers(finished):
    topic = "sigmawatch-processor-series-changelog"
    lines = kcat(finished, "-C", "-t", topic, "-o", "beginning", "-e", "-f", r"%k %S\n").splitlines()
    kinds = Counter(line[:2] for line in lines)
    assert kinds["m:"] >= PARTITIONS
    assert kinds["s:"] >= 20
    assert set(kinds) == {"m:", "s:"}


def test_segments_can_be_dumped(finished):
    if finished.broker.name != "kafka":
        pytest.skip(f"{finished.broker.name} has no segments to look at from here")
    folder = Path(finished.broker.data)
    files = ",".join(str(path) for path in folder.glob("readings-*/*.log"))
    text = kafka_tool("kafka-dump-log", "--print-data-log", "--files", files)
    assert text.count("key: device-") == len(finished.sent)
    assert text.count("isvalid: true") == text.count("baseOffset:")
    assert "compresscodec: lz4" in text
    assert "producerId: -1 " not in text, "a batch without idempotence"
