"""SIGKILL of the process that started them ends brokers and database, and gives their folders free."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import (
    EmbeddedPostgres,
    KafkaBroker,
    TansuBroker,
    cache_folder,
    kafka_available,
    port_answers,
)
from tests.support.waiting import until

pytestmark = pytest.mark.integration

STARTER = """
import json, sys, time
from pathlib import Path
from deploy.embedded import EmbeddedPostgres, KafkaBroker, TansuBroker, cache_folder
state, kafka = Path(sys.argv[1]), sys.argv[2] == "kafka"
broker = (KafkaBroker if kafka else TansuBroker)(state).start()
database = EmbeddedPostgres(state, cache_folder()).start()
print(json.dumps({"url": database.url, "pids": [broker.process.pid, database.process.pid],
                  "ports": [int(broker.bootstrap_servers.split(":")[1]), database.port]}), flush=True)
time.sleep(600)
"""


def processes_on(folder: Path) -> list[int]:
    found = []
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in command_line.read_bytes():
                found.append(int(command_line.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("broker_name", ["tansu", "kafka"])
def test_nothing_is_left_and_the_next_start_finds_the_data(tmp_path: Path, broker_name: str) -> None:
    if broker_name == "kafka" and (reason := kafka_available()) is not None:
        pytest.skip(f"Apache Kafka cannot be had: {reason}")
    argv = [sys.executable, "-c", STARTER, str(tmp_path), broker_name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        said = json.loads(starter.stdout.readline())
        with psycopg.connect(said["url"]) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        starter.kill()
    # At once: the lock waits for what is still stopping.
    with EmbeddedPostgres(tmp_path, cache_folder()) as database, psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    if broker_name == "kafka":
        KafkaBroker(tmp_path).start().stop()
    until(
        lambda: not processes_on(tmp_path) and not any(map(port_answers, said["ports"])),
        what=lambda: f"{processes_on(tmp_path)} have ended",
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in said["pids"])
    TansuBroker(tmp_path).start().stop()
