"""Replaying files of readings: columns, bad rows, pace, shift, and real input."""

import gzip
import io
import json
import os
import random
import re
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from producers_fakes import NOW_US, FakeClock, FakePublisher
from rich.console import Console

from producers.options import ReplayOptions, default_device, option_help
from producers.replay.files import MAX_LINE_BYTES
from producers.replay.readings import file_readings, replay_readings
from producers.replay.rows import BadRow
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError, InputError
from schemas.readings import Reading

DATA = Path(__file__).parents[4] / "shared" / "data" / "nab"
AMBIENT = DATA / "realKnownCause" / "ambient_temperature_system_failure.csv"


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def found(path, **options):
    return list(file_readings(path, ReplayOptions(**options), NOW_US))


@pytest.fixture
def replay(publisher, codec, clock):
    def run(path, stop=None, console=None, **options):
        return replay_readings(
            path, ReplayOptions(**options), publisher, codec, clock,
            topic="readings", bounds=TimeBounds(), stop=stop or Event(), console=console,
        )  # fmt: skip

    return run


def decoded(publisher, codec):
    return [codec.decode_reading(message.value) for message in publisher.sent]


# -- what is published


def test_publishes_in_order_with_key_and_time_of_production(tmp_path, replay, publisher, codec):
    path = write(tmp_path, "pump.csv", "time,value\n2020-01-01,1\n2020-01-02,2\n")
    summary = replay(path)
    assert decoded(publisher, codec) == [
        Reading("pump", "value", 1_577_836_800_000_000, 1.0),
        Reading("pump", "value", 1_577_923_200_000_000, 2.0),
    ]
    assert {message.key for message in publisher.sent} == {b"pump"}
    assert {message.timestamp_ms for message in publisher.sent} == {NOW_US // 1000}
    assert (summary.rows, summary.produced, summary.skipped, summary.stopped) == (2, 2, 0, False)
    assert sum(summary.by_partition.values()) == 2
    assert (summary.first_us, summary.last_us) == (1_577_836_800_000_000, 1_577_923_200_000_000)
    assert summary.notes == ["device: 'pump', the file's name", "metric: 'value', the value column's name"]


def test_stop_on_error_says_what_is_acknowledged(tmp_path, replay, publisher):
    path = write(tmp_path, "a.csv", "time,value\n2020-01-01,1\n2020-01-02,2\n2020-01-03,n/a\n2020-01-04,4\n")
    with pytest.raises(InputError) as error:
        replay(path)
    assert str(error.value) == (
        f"{path}, line 4, column value: 'n/a' is not a number; the 2 readings before it are published and "
        "acknowledged. Correct the row, or leave bad rows out with --on-error skip."
    )
    assert publisher.acknowledged == len(publisher.sent) == 2


def test_skip_counts_and_shows_the_first(tmp_path, replay, publisher):
    rows = "".join(f"2020-01-01,{'x' if i % 2 else i}\n" for i in range(20))
    summary = replay(write(tmp_path, "a.csv", "time,value\n" + rows), on_error="skip")
    assert (summary.produced, summary.skipped) == (10, 10)
    assert summary.first_errors == [
        f"line {line}, column value: 'x' is not a number" for line in (3, 5, 7, 9, 11)
    ]


def test_a_bad_cell_of_a_wide_file_leaves_the_others(tmp_path, replay, publisher, codec):
    path = write(tmp_path, "a.csv", "time,t,h\n2020-01-01,1,2\n2020-01-02,x,3\n")
    summary = replay(path, wide=True, on_error="skip")
    assert [(reading.metric, reading.value) for reading in decoded(publisher, codec)] == [
        ("t", 1),
        ("h", 2),
        ("h", 3),
    ]
    assert summary.first_errors == ["line 3, column t: 'x' is not a number"]
    with pytest.raises(InputError, match="the 2 readings before"):
        replay(path, wide=True)


def test_damaged_file_says_what_is_acknowledged(tmp_path, replay, publisher):
    rows = "".join(f"2020-01-01,{random.Random(i).random()}\n" for i in range(20_000))
    path = write(tmp_path, "a.csv.gz", gzip.compress(("time,value\n" + rows).encode())[:-2000])
    with pytest.raises(
        InputError, match=r"line \d+: the file is damaged from here on.*; the \d+ readings before"
    ) as error:
        replay(path, on_error="skip")
    count = int(re.search(r"the (\d+) readings", str(error.value))[1])
    assert 10_000 < count == publisher.acknowledged < 20_000


def test_stop_event_ends_it_acknowledged(tmp_path, replay, publisher, clock):
    rows = "".join(f"2020-01-01T00:00:{i:02},{i}\n" for i in range(60))
    stop = Event()
    clock.on_wait = lambda: stop.set() if clock.passed >= 10 else None
    summary = replay(write(tmp_path, "a.csv", "time,value\n" + rows), stop, speed=1.0)
    assert summary.stopped
    assert summary.produced == publisher.acknowledged == len(publisher.sent) == 10


def test_labels_become_faults(tmp_path):
    path = write(tmp_path, "a.csv", "time,value,label\n2020-01-01,1,\n2020-01-02,2,drift\n")
    assert [reading.fault for reading in found(path, fault="label", value=("value",))] == [None, "drift"]


# -- pace and shift


def test_speed(tmp_path, replay, publisher, codec, clock):
    path = write(
        tmp_path,
        "a.csv",
        "time,value\n2020-01-01T00:00,1\n2020-01-01T00:01,2\n2020-01-01T00:03,3\n2020-01-01T00:02,4\n",
    )
    replay(path, speed=60.0)
    assert [message.timestamp_ms - NOW_US // 1000 for message in publisher.sent] == [0, 1000, 3000, 3000]
    assert clock.passed == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("speed", "times"), [(1.0, [0, 60, 180]), (60.0, [-177, -117, 3]), (float("inf"), [-180, -120, 0])]
)
def test_shift_to_now(tmp_path, replay, publisher, codec, speed, times):
    """The last reading happens when it is sent: at speed 1 all do, at max the history ends now."""
    path = write(
        tmp_path, "a.csv", "time,value\n2020-01-01T00:00,1\n2020-01-01T00:01,2\nx,0\n2020-01-01T00:03,3\n"
    )
    summary = replay(path, speed=speed, shift_to_now=True, on_error="skip")
    assert [(reading.time - NOW_US) / 1e6 for reading in decoded(publisher, codec)] == times
    assert any("moved" in note for note in summary.notes)
    for message, reading in zip(publisher.sent, decoded(publisher, codec), strict=True):
        assert reading.time <= message.timestamp_ms * 1000 + 1000


def test_shift_of_nothing(tmp_path, replay):
    assert replay(write(tmp_path, "a.csv", "time,value\n"), shift_to_now=True).produced == 0


# -- guesses and choices


def test_guesses_are_said(tmp_path, replay):
    path = write(tmp_path, "a.csv", "Date;Station;kWh;Comment\n1700000000;s1;5;\n")
    assert replay(path).notes == [
        "delimiter: ';'",
        "time: column Date",
        "device: column Station",
        "value: column kWh",
        "metric: 'kWh', the value column's name",
        "times: epoch in s",
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {}, r"no column looks like a time; there are: a, b\. Give --time COLUMN"),
        ("time,a,b\n2020-01-01,1,2\n", {}, r"several could be: a, b\. Give --value COLUMN, or --wide"),
        ("time,a\n2020-01-01,x\n", {}, "not clear which column is the value"),
        ("time,value\n2020-01-01,1\n", {"value": ("valeu",)}, r"no column 'valeu'\. Did you mean value\?"),
        ("time,value\n2020-01-01,1\n", {"time": "date+time"}, "no column 'date'"),
        ("time,value\n2020-01-01,1\n", {"device": "="}, "without a text"),
        ("time,value\n2020-01-01,1\n", {"device": "dev"}, "--device: there is no column 'dev'"),
        ("time,value\n2020-01-01,1\n", {"fault": "f"}, "--fault: there is no column 'f'"),
        ("time,value\n2020-01-01,1\n", {"wide": True, "metric": "value"}, "--wide and --metric"),
        ("time,a,b\n2020-01-01,1,2\n", {"value": ("a", "b"), "metric": "=m"}, "several --value"),
        ("time,a\n2020-01-01,x\n", {"wide": True}, "no column is numeric"),
        ("time,value\n2020-01-01,1\n", {"delimiter": ",,"}, "delimiter ',,'"),
        ("time,value\n2020-01-01,1\n", {"format": "xml"}, "format 'xml'"),
        ("time,value\n2020-01-01,1\n", {"timezone": "Mars/Base"}, "time zone 'Mars/Base'"),
    ],
)
def test_unclear_or_wrong_columns(tmp_path, text, options, message):
    with pytest.raises(ConfigError, match=message):
        found(write(tmp_path, "a.csv", text), **options)


def test_columns_as_said(tmp_path):
    path = write(tmp_path, "a.tsv", "when\twho\twhat\thow much\n2020-01-01\td\tm\t1\n")
    given = {"time": "when", "device": "who", "metric": "what", "value": ("how much",)}
    assert (
        found(path, **given)
        == found(path, delimiter="\\t", **given)
        == [Reading("d", "m", 1_577_836_800_000_000, 1.0)]
    )
    assert found(path, **(given | {"device": "=x", "metric": "=y"})) == [
        Reading("x", "y", 1_577_836_800_000_000, 1.0)
    ]


def test_several_values_make_it_wide(tmp_path):
    path = write(tmp_path, "a.csv", "time,a,b,c\n2020-01-01,1,2,3\n")
    assert [(reading.metric, reading.value) for reading in found(path, value=("c", "a"))] == [
        ("c", 3.0),
        ("a", 1.0),
    ]


@pytest.mark.parametrize(
    ("name", "device"),
    [("a.csv", "a"), ("a.csv.gz", "a"), ("a.b.jsonl", "a.b"), (".csv", ".csv"), ("a", "a"), ("A.CSV", "A")],
)
def test_default_device(name, device):
    assert default_device(Path(name)) == device


# -- files


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", "time,value\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"time,time\n1,2\n", "two columns 'time'"),
        ("a.csv", b"time,\xffvalue\n1,2\n", "line 1: byte 6 of the line is not UTF-8"),
        ("a.avro", b"time,value\n", "not an Avro container"),
        ("a.avro", b"Obj\x01rubbish", "not a readable Avro container"),
        ("a.json", b'[{"time": 1}]', "JSON array"),
        ("a.csv.gz", b"\x1f\x8brubbish", "cannot be unpacked"),
    ],
)
def test_unusable_files(tmp_path, name, data, message):
    with pytest.raises(InputError, match=message):
        found(write(tmp_path, name, data))


def test_missing_file_and_unknown_format(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        found(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a regular file"):
        found(tmp_path)
    with pytest.raises(ConfigError, match="Give --format"):
        found(write(tmp_path, "a.xyz", "time,value\n"))
    assert found(write(tmp_path, "a.xyz", "time,value\n2020-01-01,1\n"), format="csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a regular file"):
        found(tmp_path / "pipe.csv")


def test_lines_without_end_do_not_fill_the_memory(tmp_path):
    path = write(
        tmp_path, "a.csv", b"time,value\n2020-01-01,1\n" + b"x" * (MAX_LINE_BYTES + 5) + b"\n2020-01-02,2\n"
    )
    first, bad, last = found(path)
    assert (first.value, last.value) == (1.0, 2.0)
    assert bad == BadRow(3, "", "the line is longer than 8 MiB")


# -- every malformed row is named

GOOD = "2020-01-01T00:00:00,dev,m,1.5"
BROKEN_CELLS = {
    "time": ["", "x", "2020-13-01", "99999999999999999999999", "2200-01-01", "1969-12-31"],
    "device_id": ["", " ", "d" * 256, "a\0b"],
    "metric": ["", "m" * 256],
    "value": ["", "abc", "nan", "-inf", "1e999", "1_000", "0x10", "1,5", "NULL", "\u0661"],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [None, *[(column, cell) for column, cells in BROKEN_CELLS.items() for cell in cells]]
        ),
        max_size=12,
    )
)
def test_bad_cells_are_named_by_line_and_column(tmp_path, rows):
    names = ["time", "device_id", "metric", "value"]
    lines, expected = [], []
    for number, broken in enumerate(rows, 2):
        cells = GOOD.split(",")
        if broken is not None:
            column, cell = broken
            cells[names.index(column)] = f'"{cell}"'
            expected.append((number, column))
        lines.append(",".join(cells))
    path = write(tmp_path, "a.csv", "\n".join([",".join(names), GOOD, *lines]))
    items = found(path)
    bad = [item for item in items if isinstance(item, BadRow)]
    assert [(item.place - 1, item.column) for item in bad] == expected
    assert all(item.reason for item in bad)
    assert len(items) == len(rows) + 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.jsonl", "a.avro", "a.csv.gz"]))
def test_any_bytes_give_readings_or_named_errors(tmp_path, data, name):
    prefix = {"a.csv": b"time,value\n2020-01-01,1\n", "a.jsonl": b'{"time": 1, "value": 1}\n'}.get(name, b"")
    for wide in (False, True):
        try:
            for item in found(write(tmp_path, name, prefix + data), wide=wide):
                assert isinstance(item, BadRow | Reading)
        except (InputError, ConfigError) as error:
            assert str(error)  # noqa: PT017 - an error may come or not


JSON_CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.none(), max_size=1)
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["time", "device_id", "metric", "value", "fault"], JSON_CELLS)
        ),
        max_size=8,
    )
)
def test_any_json_gives_a_reading_or_a_named_row(tmp_path, rows):
    first = {"time": 1_700_000_000, "device_id": "d", "metric": "m", "value": 1}
    path = write(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in [first, *rows]))
    items = found(path)
    assert len(items) == len(rows) + 1
    for number, (row, item) in enumerate(zip(rows, items[1:], strict=True), 2):
        if isinstance(item, BadRow):
            assert item.place == number
            assert item.column in ("time", "device_id", "metric", "value", "fault")
            assert item.reason
        else:
            assert (item.value, item.fault) == (
                row["value"],
                (str(row["fault"]).strip() or None) if row.get("fault") is not None else None,
            )


def test_quoted_line_ends_keep_the_numbering(tmp_path):
    path = write(
        tmp_path, "a.csv", 'time,device,value\n2020-01-01,"a\nb",1\n2020-01-02,c,x\n2020-01-02,"c,2\n'
    )
    _, second, third = found(path)
    assert second.place == 4
    assert third == BadRow(5, "", "a quoted cell is not closed before the file ends")


# -- progress


def test_progress_bar_on_a_terminal_only(tmp_path, replay):
    path = write(tmp_path, "a.csv", "time,value\n" + "2020-01-01,1\n" * 3000)
    for terminal in (True, False):
        out = io.StringIO()
        replay(path, console=Console(file=out, force_terminal=terminal))
        assert ("a.csv" in out.getvalue()) == terminal
        if not terminal:
            assert out.getvalue() == ""


def test_every_option_has_a_help_text():
    assert set(option_help(ReplayOptions)) == set(ReplayOptions.__dataclass_fields__)


# -- real input


@pytest.mark.skipif(not AMBIENT.exists(), reason="../shared/data/nab is not on this machine")
def test_ambient_temperature(replay, publisher, codec):
    summary = replay(AMBIENT)
    assert (summary.rows, summary.produced, summary.skipped) == (7267, 7267, 0)
    readings = decoded(publisher, codec)
    assert len({(reading.device_id, reading.metric, reading.time) for reading in readings}) == 7267
    assert readings[0] == Reading(
        "ambient_temperature_system_failure", "value", 1_372_896_000_000_000, 69.88083514
    )


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data/nab is not on this machine")
def test_all_of_nab_needs_no_option():
    files = sorted(DATA.glob("*/*.csv"))
    assert len(files) == 29
    for path in files:
        items = found(path)
        assert len(items) == len(path.read_text().splitlines()) - 1
        assert all(isinstance(item, Reading) for item in items)


def test_options_can_be_replaced():
    assert replace(ReplayOptions(), wide=True).wide
    assert FakePublisher().delivered == {}
    assert FakeClock().now_us() == NOW_US
