"""docs/detection-rules.md has every key as it is. `python -m tests.unit.processors.detection.test_detection_docs` writes it."""

import re
from pathlib import Path

from processors.detection.keys import KINDS, describe_keys, describe_storm_keys
from processors.detection.rules import _RULE_KEYS, SECTIONS

PAGE = Path(__file__).parents[4] / "docs" / "detection-rules.md"
BEGIN, END = "<!-- keys -->\n", "<!-- keys end -->"


def table():
    keys = [*describe_keys(), *describe_storm_keys()]
    head = ["| key | default | allowed | what |", "|---|---|---|---|"]
    return "\n".join(head + [f"| `{k.key}` | {k.default} | {k.allowed} | {k.meaning} |" for k in keys]) + "\n"


def parts():
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    now, _, after = rest.partition(END)
    return before, now, after


def test_the_table_of_keys_is_what_the_profile_has():
    assert parts()[1] == table(), "run python -m tests.unit.processors.detection.test_detection_docs"


def test_every_key_of_a_rule_and_every_kind_is_there():
    before, _, _ = parts()
    for key in set(_RULE_KEYS) - set(SECTIONS):
        assert re.search(rf"^\| `{key}` \|", before, re.MULTILINE), key
    for kind in KINDS:
        assert f"`{kind}`" in before


if __name__ == "__main__":
    start, _, finish = parts()
    PAGE.write_text(f"{start}{BEGIN}{table()}{END}{finish}", "utf-8")
