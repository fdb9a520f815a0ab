"""The test button's API: behind the guard, by the names of routes only."""

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from schemas.settings import NotifySettings, Settings, WebSettings
from schemas.web.app import new_app
from sinks.notify.api import notify_router
from tests.support.receivers import Webhooks

TOKEN = "a-long-enough-token"


@pytest.fixture
def webhooks():
    with Webhooks() as server:
        yield server


def client(path=None, **web):
    settings = Settings(notify=NotifySettings(routes=path, timeout=5.0))
    app = new_app("Test", WebSettings(**web))
    app.include_router(notify_router(settings))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def path(tmp_path, webhooks):
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"targets: {{good: '{webhooks.url('/good')}', bad: '{webhooks.url('/bad/s3cret')}'}}\n"
        "routes: [{name: ovens, targets: [good, bad]}, {name: rest, targets: good}]"
    )
    webhooks.answers["/bad/s3cret"] = 404
    return file


def test_routes_and_samples(path, webhooks):
    api = client(path)
    assert api.get("/api/v1/notify/routes").json()[1] == {
        "name": "rest",
        "targets": [{"name": "good", "address": f"json://127.0.0.1:{webhooks.port}"}],
    }
    answer = api.post("/api/v1/notify/test", json={"route": "ovens"})
    assert answer.status_code == 200
    good, bad = answer.json()["results"]
    assert (good["accepted"], bad["accepted"], answer.json()["accepted"]) == (True, False, False)
    assert "404" in bad["error"]
    assert "s3cret" not in answer.text
    assert webhooks.taken("/good")[0].document["title"].startswith("[TEST] ")
    assert api.post("/api/v1/notify/test", json={}).json()["accepted"] is False
    assert len(webhooks.taken("/good")) == 3


def test_what_is_wrong_is_told(path, tmp_path):
    api = client(path)
    unknown = api.post("/api/v1/notify/test", json={"route": "nope"})
    assert (unknown.status_code, unknown.json()["remedy"]) == (404, "There are ovens, rest.")
    assert api.post("/api/v1/notify/test", json={"target": "json://elsewhere"}).status_code == 422
    assert client().post("/api/v1/notify/test", json={}).status_code == 409
    missing = client(tmp_path / "none.yaml").get("/api/v1/notify/routes")
    assert missing.status_code == 409
    assert "cannot be read" in missing.json()["detail"]


def test_it_stands_behind_the_token(path, webhooks):
    api = client(path, token=SecretStr(TOKEN))
    assert api.post("/api/v1/notify/test", json={}).status_code == 401
    assert webhooks.calls == []
    answer = api.post(
        "/api/v1/notify/test", json={"route": "rest"}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.json()["accepted"] is True
