"""Sinks in processes of their own, which fail points kill."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.sinks import SHORT_SESSION, Topics

ROOT = Path(__file__).parents[2]
_PROGRAM = """
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings
from sinks.service import serve
from {module} import {maker}
serve({maker}(load_settings(), Codec(Catalogue()), **{options}))
"""


def start_sink(
    maker: str,
    topics: Topics,
    log: Path,
    fail_point: str = "",
    options: dict[str, Any] | None = None,
    **settings: str,
) -> subprocess.Popen[bytes]:
    """A sink at work.

    Args:
        maker: what makes it of settings and codec, as sinks.service.timescale_sink.
        topics: the test's.
        log: where it writes to.
        fail_point: as of schemas.failpoints.
        options: more arguments of `maker`.
        settings: as NOTIFY__GROUP="x".
    """
    chosen = {
        "KAFKA__BOOTSTRAP_SERVERS": topics.bootstrap_servers,
        "KAFKA__OPTIONS": json.dumps(SHORT_SESSION),
        "TOPICS__READINGS": topics.readings,
        "TOPICS__ANOMALIES": topics.anomalies,
        "TOPICS__DEVICES": topics.devices,
        **settings,
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")},
        **{f"SIGMAWATCH_{name}": value for name, value in chosen.items()},
        "SIGMAWATCH_FAILPOINT": fail_point,
    }
    module, _, function = maker.rpartition(".")
    program = _PROGRAM.format(module=module, maker=function, options=options or {})
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
