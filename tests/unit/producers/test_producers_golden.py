"""Golden cases of replay: `tests/golden/replay/<case>/` has an input, the options, and what comes out.

`expected.jsonl` has a line for each reading, [device, metric, time in µs, value, fault], and for each bad row its
text, in the file's order.
"""

import json
from pathlib import Path

import pytest

from producers.options import ReplayOptions
from producers.replay.readings import file_readings
from producers.replay.rows import BadRow

FOLDER = Path(__file__).parents[2] / "golden" / "replay"
CASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())
OWN_FILES = {"options.json", "about.md", "expected.jsonl"}
NOW_US = 1_795_261_139_000_000


def run(case: Path) -> list[str]:
    (file,) = (path for path in case.iterdir() if path.name not in OWN_FILES)
    given = json.loads((case / "options.json").read_text("utf-8"))
    options = ReplayOptions(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})
    lines: list[object] = []
    for item in file_readings(file, options, NOW_US):
        if isinstance(item, BadRow):
            lines.append(item.text("record" if file.suffix == ".avro" else "line"))
        else:
            lines.append([item.device_id, item.metric, item.time, item.value, item.fault])
    return [json.dumps(line, ensure_ascii=False) for line in lines]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_golden(case):
    assert (case / "about.md").read_text("utf-8").strip()
    assert run(case) == (case / "expected.jsonl").read_text("utf-8").splitlines()


def test_cases_are_there():
    assert len(CASES) >= 7
