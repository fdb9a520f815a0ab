"""Programs start, are watched, and end: by order, with their children, and with us."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded.errors import StartError
from deploy.embedded.process import Identity, ManagedProcess, user_namespaces_work
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

# Starts a program that starts another in a session of its own, as PostgreSQL does, and says both ids.
STARTER = """
import sys, time, signal
from pathlib import Path
from deploy.embedded.process import ManagedProcess
folder = Path(sys.argv[1])
program = ["/bin/sh", "-c", "setsid sleep 600 & echo $! > child; echo up; wait"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
process = ManagedProcess(program, name="sleeper", cwd=folder, log_file=folder / "log", grace_seconds=2)
process.start()
process.wait_ready(lambda: "up" in process.log_tail(), 60)
try:
    print(process.pid, flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("alive" if process.alive else "dead", flush=True)
"""


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-c", code, *args]


def test_it_starts_and_stops(tmp_path: Path) -> None:
    process = ManagedProcess(["sleep", "600"], name="sleeper", log_file=tmp_path / "log")
    assert not process.alive
    assert process.returncode is None
    with process:
        assert process.alive
        assert process.pid is not None
        assert runs(process.pid)
        assert process.returncode is None
        assert process.memory_bytes
    assert not process.alive
    assert process.returncode == -signal.SIGTERM
    with process:
        assert process.alive


def test_the_exit_status_is_the_programs() -> None:
    process = ManagedProcess(["/bin/sh", "-c", "exit 7"], name="seven").start()
    assert process.wait(60) == 7
    assert process.stop() == 7


def test_waiting_has_an_end() -> None:
    with ManagedProcess(["sleep", "600"], name="sleeper") as process:
        assert process.wait(0.05) is None
        assert process.alive


def test_environment_is_added_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "1")
    argv = ["/bin/sh", "-c", 'echo "${ADDED}-${TAKEN:-none}"; pwd']
    env = {"ADDED": "yes", "TAKEN": None}
    process = ManagedProcess(argv, name="env", env=env, cwd=tmp_path, log_file=tmp_path / "log").start()
    process.wait(60)
    assert process.log_tail() == f"yes-none\n{tmp_path}"


def test_a_program_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of a former run\n")
    argv = ["/bin/sh", "-c", "echo cannot bind; exit 3"]
    process = ManagedProcess(argv, name="the broker", log_file=tmp_path / "log").start()
    with pytest.raises(StartError, match=r"the broker ended with status 3(?s:.*)cannot bind") as caught:
        process.wait_ready(lambda: False, 60)
    assert "former run" not in str(caught.value)


def test_a_program_that_never_gets_ready() -> None:
    with (
        ManagedProcess(["sleep", "600"], name="sleeper") as process,
        pytest.raises(StartError, match="not ready"),
    ):
        process.wait_ready(lambda: False, 0.1)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(StartError, match="/no/such/program"):
        ManagedProcess(["/no/such/program"], name="nothing").start()


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done"]
    process = ManagedProcess(argv, name="deaf", log_file=tmp_path / "log").start()
    process.wait_ready(lambda: "up" in process.log_tail(), 60)
    assert process.stop(grace_seconds=0.2) == -signal.SIGKILL


def test_a_paused_one_can_be_resumed_and_stopped() -> None:
    def state() -> str:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    with ManagedProcess(["sleep", "600"], name="sleeper") as process:
        process.pause()
        until(lambda: state() == "T")
        assert process.alive
        process.resume()
        until(lambda: state() == "S")
        process.pause()
        until(lambda: state() == "T")
    assert process.returncode == -signal.SIGTERM


def test_it_takes_its_children_along(tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "setsid sleep 600 & echo $! > child; exec sleep 600"]
    with ManagedProcess(argv, name="family", cwd=tmp_path, log_file=tmp_path / "log"):
        until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        child = int((tmp_path / "child").read_text())
        assert runs(child)
    assert not runs(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_us_however_we_end(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        python(STARTER, str(tmp_path)), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        program = int(starter.stdout.readline())
        child = int((tmp_path / "child").read_text())
        assert runs(program)
        assert runs(child)
        starter.send_signal(number)
        starter.wait()
    until(lambda: not runs(program) and not runs(child))


def test_it_ends_with_a_kill_of_its_guard(tmp_path: Path) -> None:
    with ManagedProcess(["sleep", "600"], name="sleeper") as process:
        assert process.pid is not None
        guard = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        until(lambda: not runs(process.pid or 0))


def test_ctrl_c_reaches_us_and_not_the_program(tmp_path: Path) -> None:
    with subprocess.Popen(
        python(STARTER, str(tmp_path)), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        program = int(starter.stdout.readline())
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.stdout.readline() == "alive\n"
        assert starter.wait(60) == 0
    assert not runs(program)  # stopped at the interpreter's exit


def test_secrets_do_not_show_in_process_lists(tmp_path: Path) -> None:
    with ManagedProcess(["sleep", "600"], name="sleeper", env={"SECRET": "hidden-word"}) as process:
        guard = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert b"hidden-word" not in Path(f"/proc/{guard}/cmdline").read_bytes()
        assert b"hidden-word" in Path(f"/proc/{process.pid}/environ").read_bytes()


@pytest.mark.skipif(not user_namespaces_work(65534), reason="this machine allows no user namespaces")
def test_in_a_user_namespace_files_stay_ours(tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "id -u; touch made; chmod 600 made"]
    identity = Identity(65534, 65534, namespace=True)
    process = ManagedProcess(argv, name="id", cwd=tmp_path, log_file=tmp_path / "log", identity=identity)
    assert process.start().wait(60) == 0
    assert process.log_tail() == "65534"
    assert (tmp_path / "made").stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_another_user(tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "id -u; id -g; id -G"]
    identity = Identity(65534, 65534)
    process = ManagedProcess(argv, name="id", cwd=Path("/"), log_file=tmp_path / "log", identity=identity)
    assert process.start().wait(60) == 0
    assert process.log_tail() == "65534\n65534\n65534"
