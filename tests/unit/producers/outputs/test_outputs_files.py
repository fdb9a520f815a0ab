"""Outputs and the operating system: unfinished files, what is there already, full disks, closed pipes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from producers.batches import ReadingBatch, SeriesTable
from producers.options import ReplayOptions
from producers.outputs import open_output
from producers.outputs.devices import devices_path, read_devices
from producers.outputs.output import format_of
from producers.replay.readings import file_readings
from schemas.errors import ConfigError, InputError
from schemas.readings import Device, Location

START_US = 1_700_000_000_000_000


def a_batch(table, count=10, value=1.5):
    series = table.series("pump-1", "pressure")
    return ReadingBatch.of(
        [series] * count, [START_US + i for i in range(count)], [value] * count, [-1] * count
    )


def readings(path):
    return list(file_readings(path, ReplayOptions(), START_US * 2))


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz", "out.avro"])
def test_a_file_has_its_name_when_it_is_complete(tmp_path, name):
    table, path = SeriesTable(), tmp_path / name
    output = open_output(path, table)
    output.publish(a_batch(table), 0)
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"{name}.devices.jsonl.part", tmp_path / f"{name}.part"]
    output.close()
    output.close()
    assert len(readings(path)) == 10
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz", "out.avro"])
def test_an_error_leaves_the_unfinished_file_readable(tmp_path, name):
    table, path = SeriesTable(), tmp_path / name
    with pytest.raises(RuntimeError, match="stop") as caught, open_output(path, table) as output:  # noqa: PT012
        output.announce([Device("pump-1", "pump")])
        output.publish(a_batch(table), 0)
        raise RuntimeError("stop")
    part = tmp_path / f"{name}.part"
    assert caught.value.__notes__ == [f"What came before is in {part}."]
    assert not path.exists()
    assert len(readings(part.rename(path))) == 10


def test_our_errors_say_what_is_left(tmp_path):
    table, path = SeriesTable(), tmp_path / "out.csv"
    with pytest.raises(InputError) as caught, open_output(path, table) as output:  # noqa: PT012
        output.publish(a_batch(table), 0)
        output.publish(a_batch(table, value=float("nan")), 0)
    assert str(caught.value) == (
        "pump-1, pressure: the value nan is no number. Files hold finite values only. "
        f"What came before is in {path}.part."
    )


def test_an_error_before_the_first_reading_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError) as caught, open_output(tmp_path / "out.csv", SeriesTable()):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(caught.value, "__notes__")


def test_nothing_is_replaced_unasked(tmp_path):
    table, path = SeriesTable(), tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        open_output(path, table)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
    with open_output(path, table, overwrite=True) as output:
        output.publish(a_batch(table), 0)
        assert path.read_text() == "mine"
    assert len(readings(path)) == 10


def test_device_records_of_others_are_not_replaced_unasked(tmp_path):
    path = tmp_path / "out.csv"
    devices_path(path).write_text("mine")
    with pytest.raises(ConfigError, match=r"devices\.jsonl exists"):
        open_output(path, SeriesTable())
    assert list(tmp_path.iterdir()) == [devices_path(path)]


def test_an_empty_output_is_a_file(tmp_path):
    for name in ("out.csv", "out.jsonl", "out.avro"):
        with open_output(tmp_path / name, SeriesTable()):
            pass
    assert (tmp_path / "out.csv").read_text() == "device_id,metric,time,value,fault\n"
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert readings(tmp_path / "out.avro") == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.ndjson", "jsonl"),
        ("a.json.gz", "jsonl"),
        ("a.b.avro", "avro"),
    ],
)
def test_the_suffix_decides(name, found):
    assert format_of(Path(name)) == found


def test_what_does_not_fit_is_refused(tmp_path):
    table = SeriesTable()
    for path, form, what in [
        (tmp_path / "out.dat", None, "not clear from its name"),
        (tmp_path / "out", None, "not clear from its name"),
        (tmp_path / "out.avro.gz", None, "packed inside"),
        (tmp_path / "out.gz", "avro", "packed inside"),
        (tmp_path / "out.csv", "parquet", "format 'parquet'"),
        ("-", "avro", "standard output"),
    ]:
        with pytest.raises(ConfigError, match=what):
            open_output(path, table, format=form)
    with pytest.raises(InputError, match="No such file"):
        open_output(tmp_path / "missing" / "out.csv", table)
    assert list(tmp_path.iterdir()) == []


def test_the_format_can_be_said(tmp_path):
    table, path = SeriesTable(), tmp_path / "out.dat"
    with open_output(path, table, format="jsonl") as output:
        output.publish(a_batch(table, 1), 0)
    assert json.loads(path.read_text())["device_id"] == "pump-1"


@pytest.mark.parametrize("name", ["", " pump", "pump\t", "a\0b", "x" * 256])
def test_names_that_would_not_read_back_are_refused(tmp_path, name):
    for form in ("csv", "avro"):
        for names, fault in [((name, "m"), None), (("d", name), None), (("d", "m"), name)]:
            table = SeriesTable()
            batch = ReadingBatch.of([table.series(*names)], [START_US], [1.0], [table.fault(fault)])
            with pytest.raises(ConfigError), open_output(tmp_path / f"out.{form}", table) as output:
                output.publish(batch, 0)


def test_times_without_a_text_are_refused(tmp_path):
    table = SeriesTable()
    batch = ReadingBatch.of([table.series("d", "m")], [2**62], [1.0], [-1])
    with (
        pytest.raises(InputError, match="years 1 to 9999"),
        open_output(tmp_path / "out.csv", table) as output,
    ):
        output.publish(batch, 0)


def test_devices_stand_beside_the_file(tmp_path):
    path = tmp_path / "out.avro"
    first = Device(
        "pump-1", "pump", location=Location("Hall\u2028 \n1", 1.5, None), units={"pressure": "bar"}
    )
    second = Device("pump-2", "pump", attributes={"a": "b"})
    newer = Device("pump-1", "pump", firmware="2.0")
    assert read_devices(path) == []
    with open_output(path, SeriesTable()) as output:
        output.announce([first, second])
        output.announce([newer])
    assert read_devices(path) == [newer, second]
    assert json.loads(devices_path(path).read_text().split("\n")[0])["location"]["latitude"] == 1.5


def test_broken_device_records_are_named(tmp_path):
    path = tmp_path / "out.csv"
    devices_path(path).write_text('{"device_id": "a", "type": "b"}\n{"device_id": 1, "type": "b"}\n')
    with pytest.raises(InputError, match="line 2, field device_id"):
        read_devices(path)


def test_a_full_disk_is_an_error_for_people(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    table = SeriesTable()
    (tmp_path / "out.csv.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"out\.csv cannot be written: No space left on device"):
        open_output(tmp_path / "out.csv", table)
    (tmp_path / "out.jsonl.part").symlink_to("/dev/full")
    with (
        pytest.raises(InputError, match=r"out\.jsonl cannot be written: No space left on device"),
        open_output(tmp_path / "out.jsonl", table) as output,
    ):
        output.publish(a_batch(table), 0)
    (tmp_path / "out.csv.gz.part").symlink_to("/dev/full")
    with (
        pytest.raises(InputError, match="No space left on device"),
        open_output(tmp_path / "out.csv.gz", table) as output,
    ):
        output.publish(a_batch(table, 100_000), 0)
    with (
        pytest.raises(InputError, match="/dev/full cannot be written: No space"),
        open_output(Path("/dev/full"), table, format="avro") as output,
    ):
        output.publish(a_batch(table, 100_000), 0)


def test_what_is_no_regular_file_is_written_as_it_is():
    table = SeriesTable()
    with open_output(Path("/dev/null"), table, format="csv") as output:
        output.announce([Device("pump-1", "pump")])
        output.publish(a_batch(table), 0)
    assert not Path("/dev/null.devices.jsonl").exists()


TO_STDOUT = """
import sys
from producers.batches import ReadingBatch, SeriesTable
from producers.outputs import open_output
from schemas.errors import SigmawatchError
table = SeriesTable()
series = table.series("pump-1", "pressure")
batch = ReadingBatch.of([series] * 1000, list(range(1000)), [1.5] * 1000, [-1] * 1000)
print("before")
try:
    with open_output("-", table, format=sys.argv[1]) as output:
        output.announce([])
        for _ in range(int(sys.argv[2])):
            output.publish(batch, 0)
except SigmawatchError as error:
    print(type(error).__name__, error, file=sys.stderr)
"""


def to_stdout(form, batches):
    return [sys.executable, "-c", TO_STDOUT, form, str(batches)]


def test_standard_output():
    done = subprocess.run(to_stdout("csv", 2), capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "before",
        "device_id,metric,time,value,fault",
        "pump-1,pressure,1970-01-01T00:00:00.000000Z,1.5,",
    ]
    assert len(lines) == 2002
    assert done.stderr == ""


def test_standard_output_in_memory(capsys):
    table = SeriesTable()
    with open_output("-", table) as output:
        output.publish(a_batch(table, 2), 0)
    sys.stdout.write("still open")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["value"] for line in lines[:2]] == [1.5, 1.5]
    assert lines[2] == "still open"


def test_a_reader_that_goes_away():
    with subprocess.Popen(
        to_stdout("jsonl", 1000), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert errors == "OutputClosedError standard output: nobody reads it any more\n"


def test_standard_output_on_a_full_disk():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("wb") as full:
        code = "import sys; sys.stdout.reconfigure(write_through=True)\n" + TO_STDOUT.replace(
            'print("before")\n', ""
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "jsonl", "1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stderr == "InputError standard output cannot be written: No space left on device\n"
