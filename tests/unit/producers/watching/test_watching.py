"""Which changes of files are seen."""

import os

import pytest

from producers.watching import FileWatch
from schemas.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text("one")
    return path


@pytest.fixture
def watch(file, clock):
    return FileWatch([file], 5.0, clock)


def look(watch, clock):
    clock.advance(5.0)
    return watch.changed()


def test_a_change_is_told_once(watch, clock, file):
    assert look(watch, clock) == ()
    file.write_text("two")
    assert look(watch, clock) == (file,)
    assert look(watch, clock) == ()


def test_nothing_is_told_before_the_interval_is_over(watch, clock, file):
    file.write_text("two")
    clock.advance(4.9)
    assert watch.changed() == ()
    clock.advance(0.1)
    assert watch.changed() == (file,)


def test_a_rename_over_the_file_is_a_change(watch, clock, file, tmp_path):
    new = tmp_path / ".fleet.yaml.swp"
    new.write_text("two")
    new.replace(file)
    assert look(watch, clock) == (file,)


def test_a_link_to_another_file_is_a_change(clock, tmp_path):
    """As configuration maps are mounted: the folder behind a link is exchanged."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fleet.yaml").write_text(name)
    data, file = tmp_path / "data", tmp_path / "fleet.yaml"
    data.symlink_to(tmp_path / "a")
    file.symlink_to(data / "fleet.yaml")
    watch = FileWatch([file], 5.0, clock)
    (tmp_path / "new").symlink_to(tmp_path / "b")
    (tmp_path / "new").replace(data)
    assert look(watch, clock) == (file,)


def test_a_touched_file_is_no_change(watch, clock, file):
    os.utime(file, ns=(1, 1))
    assert look(watch, clock) == ()
    file.write_text("one")
    assert look(watch, clock) == ()


@pytest.mark.parametrize("moment", ["missing", "empty", "folder"])
def test_a_file_that_is_not_there_for_a_moment_is_no_change(watch, clock, file, moment):
    file.unlink()
    if moment == "empty":
        file.touch()
    elif moment == "folder":
        file.mkdir()
    assert look(watch, clock) == ()
    if moment == "folder":
        file.rmdir()
    file.write_text("one")
    assert look(watch, clock) == ()
    file.write_text("two")
    assert look(watch, clock) == (file,)


def test_a_file_that_comes_is_a_change(clock, tmp_path):
    late = tmp_path / "late.yaml"
    watch = FileWatch([late], 5.0, clock)
    assert look(watch, clock) == ()
    late.write_text("here")
    assert look(watch, clock) == (late,)


def test_a_second_write_within_a_tick_of_the_file_system_is_seen(watch, clock, file):
    """Same size, same times, same inode: only the content tells."""
    file.write_text("two")
    assert look(watch, clock) == (file,)
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"six")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(watch, clock) == (file,)


def test_each_of_several_files_is_told(clock, tmp_path, file):
    other = tmp_path / "types.yaml"
    other.write_text("types")
    watch = FileWatch([file, other], 5.0, clock)
    other.write_text("more types")
    assert look(watch, clock) == (other,)
    file.write_text("two")
    other.write_text("types")
    assert look(watch, clock) == (file, other)


def test_files_can_be_added_and_left_out(watch, clock, file, tmp_path):
    other = tmp_path / "types.yaml"
    other.write_text("types")
    file.write_text("two")
    watch.watch([file, other])
    assert watch.paths == (file, other)
    assert look(watch, clock) == (file,)
    watch.watch([other])
    file.write_text("three")
    other.write_text("more types")
    assert look(watch, clock) == (other,)
