"""The format of recorded topics, and bringing them back."""

import gzip
import io
import random
from threading import Event
from types import SimpleNamespace

import fastavro
import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from producers_fakes import FakeClock, FakePublisher

from producers import record
from producers.options import RecordOptions, option_help
from producers.record import _in_order, _Partition, _start_time_ms, record_topic
from producers.replay.recorded import is_recorded_topic, replay_recording
from schemas.errors import ConfigError, InputError, SigmawatchError, TopicError
from schemas.recording import (
    RecordedMessage,
    RecordingReader,
    RecordingWriter,
    TimestampType,
    is_recording,
)

BYTES = st.none() | st.binary(max_size=20)
LONGS = st.integers(-(2**63), 2**63 - 1)
MESSAGES = st.builds(
    RecordedMessage,
    st.sampled_from(["readings", "other"]),
    st.integers(0, 3),
    LONGS,
    LONGS,
    st.sampled_from(TimestampType),
    BYTES,
    BYTES,
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), BYTES), max_size=3),
)
CREATE = TimestampType.CREATE_TIME


def message(
    partition=0, offset=0, timestamp_ms=1000, kind=CREATE, key=b"k", value=b"v", headers=(), topic="readings"
):
    return RecordedMessage(topic, partition, offset, timestamp_ms, kind, key, value, list(headers))


def recording_bytes(messages, partitions):
    """A recording in memory."""
    file = io.BytesIO()
    writer = RecordingWriter(file, partitions)
    for each in messages:
        writer.write(each)
    writer.flush()
    return file.getvalue()


@pytest.fixture
def recording(tmp_path):
    def write(messages, partitions, name="r.avro"):
        path = tmp_path / name
        data = recording_bytes(messages, partitions)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@given(st.lists(MESSAGES, max_size=10), st.dictionaries(st.text(max_size=5), st.integers(1, 99)))
def test_messages_come_back_exactly(messages, partitions):
    reader = RecordingReader(io.BytesIO(recording_bytes(messages, partitions)), "r")
    assert reader.partitions == partitions
    assert list(reader) == messages


def test_any_avro_tool_reads_it():
    (record,) = fastavro.reader(
        io.BytesIO(recording_bytes([message(headers=[("a", None)])], {"readings": 1}))
    )
    assert isinstance(record, dict)
    assert record["timestamp_ms"].isoformat() == "1970-01-01T00:00:01+00:00"
    assert record["headers"] == [{"name": "a", "value": None}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_is_an_input_error(data):
    whole = recording_bytes([message(offset=i, value=bytes(1000)) for i in range(50)], {"readings": 1})
    cut = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(0, len(whole) - 1))
    broken = (
        whole[:cut]
        if data.draw(st.booleans())
        else whole[:flip] + bytes([whole[flip] ^ 0xFF]) + whole[flip + 1 :]
    )
    try:
        for item in RecordingReader(io.BytesIO(broken), "r"):
            assert isinstance(item, RecordedMessage)
    except InputError as error:
        assert str(error).startswith("r")  # noqa: PT017 - an error may come or not


def test_other_files_are_told_apart(tmp_path, recording):
    other = tmp_path / "o.avro"
    schema = fastavro.parse_schema(
        {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    )
    with other.open("wb") as file:
        fastavro.writer(file, schema, [{"a": 1}])
    text = tmp_path / "t.csv"
    text.write_text("time,value\n")
    assert not is_recorded_topic(other)
    assert not is_recorded_topic(text)
    assert is_recorded_topic(recording([], {}))
    assert is_recorded_topic(recording([], {}, "r.avro.gz"))
    assert not is_recording(io.BytesIO(b""))
    with pytest.raises(InputError, match="records of Other"):
        RecordingReader(io.BytesIO(other.read_bytes()), "o")


# -- replay


@pytest.mark.parametrize("name", ["r.avro", "r.avro.gz"])
def test_everything_is_brought_back(recording, publisher, name):
    messages = [
        message(0, 5, 1000, key=None, value=None),
        message(2, 0, 2000, key=b"", value=b"", headers=[("a", None), ("a", b""), ("b", b"1")]),
        message(0, 7, 1500),
    ]
    summary = replay_recording(recording(messages, {"readings": 3}, name), publisher, {"readings": 3}.get)
    sent = [(m.topic, m.partition, m.key, m.value, m.headers or [], m.timestamp_ms) for m in publisher.sent]
    assert sent == [(m.topic, m.partition, m.key, m.value, m.headers, m.timestamp_ms) for m in messages]
    assert (summary.produced, summary.by_partition, summary.notes) == (3, {0: 2, 2: 1}, [])
    assert (summary.first_us, summary.last_us) == (1_000_000, 2_000_000)


def test_other_topic(recording, publisher):
    path = recording([message(1)], {"readings": 2})
    replay_recording(path, publisher, {"copy": 4}.get, topic="copy")
    assert [(m.topic, m.partition) for m in publisher.sent] == [("copy", 1)]


@pytest.mark.parametrize("partitions", [{"readings": 3}, {}])
def test_too_few_partitions_or_no_topic(recording, publisher, partitions):
    path = recording([message(2)], partitions)
    with pytest.raises(TopicError, match="has 2 partitions, the recorded topic 'readings' 3"):
        replay_recording(path, publisher, {"readings": 2}.get)
    with pytest.raises(TopicError, match="no topic 'readings'"):
        replay_recording(path, publisher, {}.get)
    assert publisher.sent == []


def test_what_cannot_be_exact_is_said(recording, publisher):
    messages = [
        message(timestamp_ms=-1, kind=TimestampType.NOT_AVAILABLE),
        message(timestamp_ms=0),
        message(timestamp_ms=7, kind=TimestampType.LOG_APPEND_TIME),
    ]
    summary = replay_recording(recording(messages, {"readings": 1}), publisher, {"readings": 1}.get)
    assert [m.timestamp_ms for m in publisher.sent] == [0, 0, 7]
    assert summary.notes[0].startswith("2 messages had no timestamp")
    assert summary.notes[1].startswith("1 messages had their timestamps from the broker")


def test_pace_is_that_of_the_recorded_timestamps(recording):
    messages = [message(offset=i, timestamp_ms=10_000 + ms) for i, ms in enumerate([0, 500, 400, 2000])]
    publisher, clock = FakePublisher(), FakeClock()
    replay_recording(
        recording(messages, {"readings": 1}), publisher, {"readings": 1}.get, speed=2.0, clock=clock
    )
    assert clock.waits == pytest.approx([0.25, 0.75])


def test_damaged_recording_says_what_is_acknowledged(tmp_path, publisher):
    whole = recording_bytes(
        [message(value=random.Random(i).randbytes(1000)) for i in range(2000)], {"readings": 1}
    )
    path = tmp_path / "r.avro"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        InputError, match=r"damaged from here on: .*; the \d+ messages before it are published"
    ) as error:
        replay_recording(path, publisher, {"readings": 1}.get)
    assert f"the {publisher.acknowledged} messages" in str(error.value)
    assert publisher.acknowledged > 500


def test_stop(recording, publisher, clock):
    stop = Event()
    clock.on_wait = lambda: stop.set() if clock.passed > 2 else None
    path = recording([message(offset=i, timestamp_ms=1 + i * 1000) for i in range(10)], {"readings": 1})
    summary = replay_recording(path, publisher, {"readings": 1}.get, speed=1.0, clock=clock, stop=stop)
    assert summary.stopped
    assert summary.produced == 3


# -- recording


def test_existing_file_and_senseless_options(tmp_path):
    path = tmp_path / "r.avro"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="--overwrite"):
        record_topic({}, "readings", path)
    with pytest.raises(ConfigError, match="--follow"):
        record_topic({}, "readings", tmp_path / "s.avro", RecordOptions(start="end"))
    assert path.read_text() == "precious"


def test_where_to_start():
    assert [_start_time_ms(start) for start in ("beginning", "end", "17")] == [None] * 3
    assert _start_time_ms("1970-01-01T00:00:01Z") == 1000
    with pytest.raises(ConfigError, match="--from"):
        _start_time_ms("monday")


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=4), st.data())
def test_partitions_are_merged_by_time_and_keep_their_order(stamps, data):
    parts = [_Partition(number, 0, 0, len(column), None) for number, column in enumerate(stamps)]
    waiting = [(number, offset) for number, column in enumerate(stamps) for offset in range(len(column))]
    out = []
    while not all(part.finished for part in parts):
        for part in parts:
            for _ in range(data.draw(st.integers(1, 5))):
                left = [place for place in waiting if place[0] == part.number]
                if not left:
                    part.finished = True
                    break
                waiting.remove(left[0])
                part.buffer.append(message(part.number, left[0][1], stamps[part.number][left[0][1]]))
        out += _in_order(parts)
    out += _in_order(parts)
    assert len(out) == sum(map(len, stamps))
    for number, column in enumerate(stamps):
        assert [m.timestamp_ms for m in out if m.partition == number] == column
    if all(column == sorted(column) for column in stamps):
        assert [m.timestamp_ms for m in out] == sorted(m.timestamp_ms for m in out)


def test_every_option_has_a_help_text():
    assert set(option_help(RecordOptions)) == set(RecordOptions.__dataclass_fields__)


# -- a broker that fails


class FakeError:
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def retriable(self):
        return False


class FakeMessage:
    def __init__(self, offset=0, error=None):
        self._offset, self._error = offset, error

    def __getattr__(self, name):
        values = {
            "error": self._error, "topic": "readings", "partition": 0, "offset": self._offset,
            "timestamp": (1, 1000 + self._offset), "key": None, "value": b"v", "headers": None,
        }  # fmt: skip
        return lambda: values[name]


class FakeConsumer:
    """One partition with ten messages of which `answers` are given; then nothing, and time passes."""

    def __init__(self, clock, answers):
        self._clock, self._answers, self.closed = clock, answers, False

    def list_topics(self, timeout):
        return SimpleNamespace(topics={"readings": SimpleNamespace(partitions={0: None})})

    def get_watermark_offsets(self, partition, timeout=None, cached=False):
        return 0, 10

    def assign(self, partitions):
        assert [(part.topic, part.partition, part.offset) for part in partitions] == [("readings", 0, 0)]

    def consume(self, count, timeout):
        self._clock.passed += timeout
        answers, self._answers = self._answers, []
        return answers

    def pause(self, partitions):
        assert len(partitions) == 1

    def close(self):
        self.closed = True


@pytest.fixture
def failing(monkeypatch, clock, tmp_path):
    def run(answers):
        consumer = FakeConsumer(clock, answers)
        monkeypatch.setattr(record, "new_client", lambda kind, config: consumer)
        try:
            record_topic({}, "readings", tmp_path / "r.avro", clock=clock)
        finally:
            assert consumer.closed

    return run


def test_a_silent_broker_ends_it_and_what_was_read_is_kept(failing, tmp_path):
    with pytest.raises(
        SigmawatchError, match=r"sent nothing .* for 30 s, .*\? The 4 messages before are in .*r.avro.part"
    ):
        failing([FakeMessage(offset) for offset in range(4)])
    assert not (tmp_path / "r.avro").exists()
    with (tmp_path / "r.avro.part").open("rb") as file:
        assert [m.offset for m in RecordingReader(file, "r")] == [0, 1, 2, 3]


def test_retention_that_overtakes_is_said(failing, tmp_path):
    with pytest.raises(TopicError, match="partition 0 were deleted while it was recorded"):
        failing([FakeMessage(error=FakeError(KafkaError._AUTO_OFFSET_RESET))])
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_broker_are_said(failing):
    with pytest.raises(SigmawatchError, match="'readings' cannot be recorded"):
        failing([FakeMessage(error=FakeError(KafkaError.TOPIC_AUTHORIZATION_FAILED))])


def test_passing_errors_are_passed_over(failing, tmp_path):
    failing(
        [FakeMessage(error=FakeError(KafkaError._TRANSPORT)), *[FakeMessage(offset) for offset in range(10)]]
    )
    assert (tmp_path / "r.avro").exists()
