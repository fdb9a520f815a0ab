"""`sigmawatch simulate` on a terminal shows a bar while a history is made; elsewhere nothing but the summary."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

ROWS, COLUMNS = 24, 120
HISTORY = ("simulate", "--fleet", "energy", "--days", "0.1", "--speed", "2000", "--to")
"""As quick as that takes four seconds, so that the bar is renewed some times on any machine."""
SAID = re.compile(r"([\d,]+) readings, [\d,]+ with a fault")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy.cli", *arguments]


def drawn(*arguments: str) -> tuple[int, str]:
    """Exit code of a command, and what it writes to a terminal that is its stderr."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=its_end, env=environment
    ) as process:
        os.close(its_end)
        found = b""
        while block := _read(terminal):
            found += block
    os.close(terminal)
    return process.returncode, found.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO when nobody has the other end open
        return b""


def test_a_bar_grows_while_history_is_made() -> None:
    code, shown = drawn(*HISTORY, "/dev/null", "--format", "csv")
    assert code == 0, shown
    counts = [int(number.replace(",", "")) for number in SAID.findall(shown)]
    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert "━" in shown
    assert re.search(r"[\d-]:[\d-]{2}:[\d-]{2}", shown), "how long it still takes, dashes while nobody knows"
    assert re.search(r"34,560 readings of 5 devices", shown), "the summary"


def test_without_a_terminal_there_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        command(*HISTORY, str(tmp_path / "x.csv"), "--speed", "max"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "━" not in done.stderr + done.stdout
    assert "\x1b" not in done.stderr + done.stdout
    assert len((done.stderr + done.stdout).splitlines()) == 1
