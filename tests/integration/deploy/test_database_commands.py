"""`sigmawatch db ...` as users run it, and `up`'s maintenance."""

import json
import uuid

import psycopg
import pytest
from pydantic import SecretStr

from deploy.cli.main import main
from deploy.stack.maintaining import Maintainer
from schemas.settings import Settings
from schemas.settings_database import DatabaseSettings
from tests.support.sinks import Database
from tests.support.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def address(plain_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAWATCH_DATABASE__URL", plain_database.url)


def answer(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> dict:
    assert main(["db", *command, "--json", "--log-level", "warning"]) == code
    return json.loads(capsys.readouterr().out)


def fill(store: Database) -> None:
    store.query(
        "INSERT INTO readings SELECT 'd', 'm', now() - i * INTERVAL '1 hour', i FROM generate_series(1, 480) AS i"
    )


def test_status_before_and_after(plain_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    before = answer(capsys, "status", code=1)
    assert before["tables"] == []
    assert {row["state"] for row in before["migrations"]} == {"pending"}
    assert answer(capsys, "migrate")["server"] == "plain"
    fill(plain_database)
    after = answer(capsys, "status")
    assert (after["tables"][0]["rows"], after["tables"][0]["exact"]) == (480, True)
    assert after["tables"][0]["oldest"] < after["tables"][0]["newest"]
    assert main(["db", "status"]) == 0
    assert "480 rows" in capsys.readouterr().err


def test_maintain(plain_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "maintain"]) == 1
    assert "Run `sigmawatch db migrate`" in capsys.readouterr().err
    answer(capsys, "migrate")
    assert main(["db", "maintain"]) == 0
    assert "nothing was due" in capsys.readouterr().err
    fill(plain_database)
    dry = answer(capsys, "maintain", "--dry-run", "--keep-readings", "3d")
    assert dry["dropped"] == {"readings": 1}
    assert plain_database.query("SELECT count(*) FROM readings") == [(480,)]
    done = answer(capsys, "maintain", "--keep-readings", "3d")
    assert done["rolled_up"]["readings_hourly"] > 470
    assert done["dropped"]["readings"] > 300
    assert plain_database.query("SELECT sum(readings)::int FROM readings_hourly") == [(480,)]
    assert answer(capsys, "status")["maintained_at"]


def test_roles(
    plain_database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"plant_{uuid.uuid4().hex[:12]}"
    assert main(["db", "roles", "--prefix", prefix]) == 1
    assert "SIGMAWATCH_DATABASE__MIGRATOR_PASSWORD" in capsys.readouterr().err
    for kind in ("MIGRATOR", "WRITER", "READER"):
        monkeypatch.setenv(f"SIGMAWATCH_DATABASE__{kind}_PASSWORD", f"hush of {kind}")
    try:
        assert main(["db", "roles", "--prefix", prefix]) == 0
        said = capsys.readouterr()
        assert f"made role {prefix}_reader" in said.err
        assert "hush" not in said.out + said.err
        assert answer(capsys, "roles", "--prefix", prefix)["roles"]["writer"] == f"{prefix}_writer"
        assert main(["settings"]) == 0
        assert "hush" not in capsys.readouterr().out
        with psycopg.connect(
            plain_database.url, user=f"{prefix}_reader", password="hush of READER"
        ) as reader:
            assert reader.execute("SELECT count(*) FROM readings").fetchone() == (0,)
    finally:
        for kind in ("reader", "writer", "migrator"):
            if plain_database.query("SELECT FROM pg_roles WHERE rolname = %s", (f"{prefix}_{kind}",)):
                plain_database.query(f"DROP OWNED BY {prefix}_{kind} CASCADE; DROP ROLE {prefix}_{kind}")


def maintainer_on(store: Database, said: list[str]) -> Maintainer:
    return Maintainer(
        Settings(database=DatabaseSettings(url=SecretStr(store.url), maintain_interval=0.05)), said.append
    )


def test_up_maintains_now_and_then(plain_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys, "migrate")
    fill(plain_database)
    said: list[str] = []
    maintainer = maintainer_on(plain_database, said)
    maintainer.start()
    try:
        until(lambda: maintainer.runs >= 2, what="two runs")
    finally:
        maintainer.stop()
    assert said == []
    ((kept,),) = plain_database.query("SELECT count(*)::int FROM rollup_hours")
    assert kept > 470


def test_up_goes_on_where_it_may_not_maintain(plain_database: Database) -> None:
    said: list[str] = []
    maintainer = maintainer_on(plain_database, said)
    maintainer.start()
    until(lambda: said, what="a word about it")
    maintainer.stop()
    assert "not maintained: the database lacks the migrations" in said[0]
    assert maintainer.runs == 0
