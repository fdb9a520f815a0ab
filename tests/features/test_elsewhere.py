"""The tests that the tables of these files name are there."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("test_*.py")), ids=lambda path: path.stem)
def test_tests_that_are_named_exist(path):
    for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", path.read_text()):
        there = ast.parse((ROOT / file).read_text())
        assert not name or name in {node.name for node in there.body if isinstance(node, ast.FunctionDef)}, (
            name
        )
