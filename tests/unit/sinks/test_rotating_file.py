import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from sinks.rotating_file import RotatingFile


def opened(path: Path, rotate_bytes: int = 1 << 30, keep_files: int = 3) -> RotatingFile:
    return RotatingFile(path, rotate_bytes, keep_files)


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.jsonl"
    file = opened(path, rotate_bytes=8, keep_files=2)
    for number in range(10):
        file.append(b"line-%d\n" % number)  # 7 bytes: two lines a file
    assert list(file.lines_backwards()) == [b"line-%d" % n for n in range(9, 3, -1)]
    file.close()
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "a.jsonl",
        "a.jsonl.1",
        "a.jsonl.2",
        "a.jsonl.lock",
    ]
    assert (path.parent / "a.jsonl.1").read_bytes() == b"line-6\nline-7\n"


@given(
    st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=20), st.binary(max_size=40)
)
def test_a_torn_last_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "a"
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + torn.replace(b"\n", b""))
    file = opened(path)
    file.append(b"next\n")
    assert list(file.lines_backwards()) == [b"next", *(line for line in reversed(lines) if line)]
    file.close()
    assert path.read_bytes() == whole + b"next\n"


def test_lines_longer_than_a_block_are_read_whole(tmp_path: Path) -> None:
    lines = [bytes([65 + n]) * (700_000 + n) for n in range(6)]
    file = opened(tmp_path / "a")
    file.append(b"".join(line + b"\n" for line in lines))
    assert list(file.lines_backwards()) == lines[::-1]
    file.close()


def test_durable_on_rotation_sync_and_close(tmp_path: Path) -> None:
    synced: list[int] = []
    file = RotatingFile(tmp_path / "a", 4, 2, synced.append)
    file.sync()
    assert not synced  # nothing was written
    file.append(b"one\n")
    file.sync()
    assert len(synced) == 1
    file.append(b"two\n")  # rotates: the folder is made durable too; all lines of the old file are already
    assert len(synced) == 2
    file.close()
    assert len(synced) == 3


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = opened(tmp_path / "a")
    with pytest.raises(ConfigError, match="another process"):
        opened(tmp_path / "a")
    first.close()
    opened(tmp_path / "a").close()


def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*log_sink\.path"):
        opened(tmp_path / "file" / "a")


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(tmp_path / "a")
    file.append(b"one\n")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 6:
            return write(descriptor, data[:6])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append(b"two\nthree\n")
    file.reopen()
    file.append(b"four\n")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\nfour\n"
