"""Folders, ports, locks, and building once."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.embedded.errors import EmbeddedError, FolderInUseError
from deploy.embedded.paths import (
    FolderLock,
    build_once,
    free_port,
    port_answers,
    without_credentials,
)
from deploy.folders import cache_folder, state_folder

HOLDER = """
import sys, time
from pathlib import Path
from deploy.embedded.paths import FolderLock
lock = FolderLock(Path(sys.argv[1]), "database").acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SIGMAWATCH_CACHE_DIR": "/ours", "XDG_CACHE_HOME": "/xdg"}, Path("/ours")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/sigmawatch")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/sigmawatch"),
        ({}, Path.home() / ".cache/sigmawatch"),
    ],
)
def test_cache_folder(environ: dict[str, str], expected: Path) -> None:
    assert cache_folder(environ=environ) == expected
    assert cache_folder("/argument", environ=environ) == Path("/argument")


def test_state_folder() -> None:
    assert state_folder(environ={}) == Path.home() / ".local/state/sigmawatch"
    assert state_folder(environ={"SIGMAWATCH_STATE_DIR": "~/s"}) == Path.home() / "s"
    assert state_folder(environ={"XDG_STATE_HOME": "/x"}) == Path("/x/sigmawatch")


def test_a_free_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert not port_answers(port)
    with socket.create_server(("127.0.0.1", port)):
        assert port_answers(port)


def test_the_second_holder_hears_the_first_ones_pid(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock = FolderLock(tmp_path, "database")
        assert lock.holder() == holder.pid
        with pytest.raises(FolderInUseError, match=f"in use by process {holder.pid}") as caught:
            lock.acquire()
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert lock.holder() is None
    with lock:
        assert lock.holder() == os.getpid()
    assert lock.holder() is None


def test_a_lock_waits_for_one_that_is_let_go(tmp_path: Path) -> None:
    first = FolderLock(tmp_path, "x").acquire()
    timer = threading.Timer(0.2, first.release)
    timer.start()
    with FolderLock(tmp_path, "x").acquire(wait_seconds=60):
        pass
    timer.join()


def test_a_folder_is_built_once(tmp_path: Path) -> None:
    built = []
    target = tmp_path / "cache" / "thing"

    def build(folder: Path) -> None:
        built.append(folder)
        time.sleep(0.1)
        (folder / "file").write_text("whole")

    threads = [threading.Thread(target=build_once, args=(target, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (target / "file").read_text() == "whole"
    assert not build_once(target, build)


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "thing"

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError):
        build_once(target, fail)
    assert not target.exists()
    (tmp_path / ".thing.new-interrupted").mkdir()
    build_once(target, lambda folder: (folder / "file").touch())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".thing.building", "thing"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="cannot write to"):
        FolderLock(tmp_path / "file" / "below", "x").acquire()


def test_credentials_are_taken_out_of_addresses() -> None:
    said = "Failed to fetch https://me:word@mirror.example/debian/x@1 and http://plain.example/a"
    assert without_credentials(said) == (
        "Failed to fetch https://mirror.example/debian/x@1 and http://plain.example/a"
    )
