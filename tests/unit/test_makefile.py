"""`make help` tells of every target, and of nothing else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_help_lists_every_target_with_what_it_does() -> None:
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    told = dict(re.findall(r"^  make (\S+) +(\S.*)$", said, re.MULTILINE))
    (targets,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told.keys() == set(targets.split())
    assert len(said.splitlines()) == len(told)
