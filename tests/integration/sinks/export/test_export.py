"""`sigmawatch export` from a real database, and back."""

import gzip
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.cli.main import main
from producers.options import ReplayOptions
from producers.replay.readings import file_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from sinks.timescale.migrate import migrate
from tests.support.sinks import Database

pytestmark = pytest.mark.integration

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[4]
DEVICES, EACH = 4, 50


def fill(url: str) -> list[Reading]:
    """Four devices of two types with two metrics; their readings in the order of an export."""
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        for n in range(DEVICES):
            connection.execute(
                """INSERT INTO devices (device_id, type, name, manufacturer, model, firmware, serial_number, units, attributes)
                   VALUES (%s, %s, '', '', '', '', '', '{}', '{}')""",
                (f"Device,{n}", ("oven", "pump")[n % 2]),
            )
        rows = [
            (
                f"Device,{n}",
                metric,
                BEGIN + timedelta(seconds=i, microseconds=n),
                i / 7,
                "spike" if i == 9 else None,
            )
            for n in range(DEVICES)
            for metric in ("power", "temperature")
            for i in range(EACH)
        ]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO readings VALUES (%s, %s, %s, %s, %s)", rows)
            cursor.execute(
                """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score,
                                          mean, std, lower, upper, readings, detected_at)
                   VALUES ('00000000-0000-0000-0000-00000000000a', 'Device,1', 'power', 'drop', 'CLEARED', %s, %s,
                           1, 2, 3, 4, 5, 6, 7, %s)""",
                (BEGIN + timedelta(seconds=5), BEGIN + timedelta(seconds=8), BEGIN),
            )
    return [
        Reading(device, metric, round(time.timestamp() * 1e6), value, fault)
        for device, metric, time, value, fault in rows
    ]


def export(url: str, *arguments: object, code: int = 0) -> Any:
    """The summary of an export in this process."""
    out = io.StringIO()
    with redirect_stdout(out):
        ended = main(["export", *map(str, arguments), "--json", "--set", f"database.url={url}"])
    assert ended == code, out.getvalue()
    return json.loads(out.getvalue()) if code == 0 else None


def replayed(path: Path) -> list[Any]:
    return list(file_readings(path, ReplayOptions(), 0, TimeBounds(max_ahead_us=10**16)))


def test_every_format_has_the_same_rows_and_reads_back(database: Database, tmp_path: Path) -> None:
    expected = fill(database.url)
    for name in ("a.csv", "b.jsonl", "c.csv.gz", "d.jsonl.zst", "e.parquet"):
        path = tmp_path / name
        found = export(database.url, path)
        assert (found["rows"], found["bytes"]) == (len(expected), path.stat().st_size)
        assert not list(tmp_path.glob("*.part"))
    assert replayed(tmp_path / "a.csv") == expected
    assert replayed(tmp_path / "b.jsonl") == expected
    assert replayed(tmp_path / "c.csv.gz") == expected
    with pa.input_stream(str(tmp_path / "d.jsonl.zst"), compression="zstd") as packed:
        assert packed.read() == (tmp_path / "b.jsonl").read_bytes()
    table = pq.read_table(tmp_path / "e.parquet").to_pylist()
    assert [row["value"] for row in table] == [reading.value for reading in expected]
    assert [round(row["time"].timestamp() * 1e6) for row in table] == [reading.time for reading in expected]
    assert gzip.decompress((tmp_path / "c.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()


def test_selections_labels_and_anomalies(plain_database: Database, tmp_path: Path) -> None:
    expected = fill(plain_database.url)
    url = plain_database.url
    chosen = export(
        url,
        tmp_path / "some.csv",
        *(
            "--type",
            "pump",
            "--metric",
            "power",
            "--since",
            "2026-03-01T00:00:04Z",
            "--until",
            "2026-03-01T00:00:10Z",
        ),
        "--labels",
    )
    text = (tmp_path / "some.csv").read_text().splitlines()
    assert text[0] == "device_id,metric,time,value,fault,anomaly_id,anomaly_kind"
    assert chosen["rows"] == len(text) - 1 == 12
    labelled = [line for line in text if line.endswith(",drop")]
    assert [line.split('",')[1].split(",")[1][17:19] for line in labelled] == ["05", "06", "07"]
    assert sum(",spike," in line for line in text) == 2
    assert export(url, tmp_path / "anomalies.jsonl", "--anomalies")["rows"] == 1
    anomaly = json.loads((tmp_path / "anomalies.jsonl").read_text())
    assert (anomaly["kind"], anomaly["opened_at"]) == ("drop", "2026-03-01T00:00:05.000000Z")
    assert export(url, tmp_path / "anomalies.parquet", "--anomalies")["rows"] == 1
    assert pq.read_table(tmp_path / "anomalies.parquet").to_pylist()[0]["readings"] == 7
    assert export(url, tmp_path / "all.parquet", "--labels")["rows"] == len(expected)


def test_what_cannot_be_is_said_and_leaves_nothing_behind(
    plain_database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, path = plain_database.url, tmp_path / "a.csv"
    export(url, path, code=1)  # not migrated
    assert "db migrate" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    fill(url)
    path.write_text("mine")
    export(url, path, code=2)
    assert path.read_text() == "mine"
    assert export(url, path, "--overwrite")["rows"] == DEVICES * EACH * 2
    for arguments in (
        ["b.txt"],
        ["b.parquet.gz"],
        ["b.csv", "--format", "xml"],
        ["b.csv", "--labels", "--anomalies"],
    ):
        export(url, tmp_path / arguments[0], *arguments[1:], code=2)
    export("postgresql://127.0.0.1:1/nothing", tmp_path / "b.csv", code=1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv"]


MEASURED = """
import resource, sys
from deploy.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
sys.exit(code)
"""


def test_memory_stays_where_it_is_and_a_pipe_gets_the_rows(plain_database: Database) -> None:
    rows = 200_000
    with psycopg.connect(plain_database.url, autocommit=True) as connection:
        migrate(connection)
        connection.execute(
            """INSERT INTO readings SELECT 'device-' || i % 10, 'm', '2026-03-01'::timestamptz + i * interval '1 s', random()
               FROM generate_series(1, 200000) AS i"""
        )

    def peak_kb(until: str) -> tuple[int, bytes]:
        command = ["export", "-", "--format", "jsonl", "--labels", "--until", until]
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, *command],
            cwd=ROOT,
            env={**os.environ, "SIGMAWATCH_DATABASE__URL": plain_database.url},
            capture_output=True,
            timeout=300,
            check=True,
        )
        return int(ended.stderr), ended.stdout

    little, _ = peak_kb("2026-03-01T05:00:00Z")
    much, out = peak_kb("2027-03-01T00:00:00Z")
    assert out.count(b"\n") == rows
    assert json.loads(out.splitlines()[-1])["device_id"] == "device-9"
    # Ten times the rows, of which a list would take some 60 MB.
    assert much - little < 20_000
