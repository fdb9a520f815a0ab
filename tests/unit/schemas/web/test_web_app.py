"""The common ground of the HTTP parts: guard, strict JSON, errors, documentation without a network."""

import re
import socket
import threading
import urllib.request

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr

from schemas.errors import ConfigError, InputError
from schemas.settings import WebSettings
from schemas.web.app import ApiError, new_app, serve
from schemas.web.guard import client_of, name_of

TOKEN = "a-long-enough-token"


class Item(BaseModel):
    name: str
    size: float = 1.0


def client(ready=lambda: None, **settings):
    token = settings.pop("token", None)
    web = WebSettings(token=token and SecretStr(token), **settings)
    app = new_app("Test", web, ready=ready)

    @app.post("/items")
    async def items(item: Item) -> Item:
        return item

    @app.get("/refused")
    async def refused():
        raise InputError("no such fleet", "Name one.")

    @app.get("/teapot")
    async def teapot():
        raise ApiError(418, "short", place="[1].stout", remedy="Pour.", headers={"Retry-After": "3"})

    @app.get("/bug")
    async def bug():
        raise RuntimeError("a secret of ours")

    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def body(answer):
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"detail", "place", "remedy"}
    return answer.json()


def test_a_good_request_passes():
    answer = client().post("/items", json={"name": "a", "size": 2})
    assert (answer.status_code, answer.json()) == (200, {"name": "a", "size": 2.0})
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("content", "status", "detail", "place"),
    [
        (b"{", 400, "no JSON", "line 1, column 2"),
        (b"\xff\xfe{\x00}\x00", 400, "not UTF-8", "byte 0"),
        (b'\xef\xbb\xbf{"name": "a"}', 400, "BOM", "line 1, column 1"),
        (b"[" * 100_000, 400, "nested too deeply", ""),
        (b'{"name": "a", "x": ' + b"[" * 60 + b"]" * 60 + b"}", 422, "nested too deeply", "x[0]"),
        (b'{"name": "a", "size": ' + b"9" * 5000 + b"}", 400, "thousands of digits", ""),
        (b'{"name": "a", "size": NaN}', 422, "nan is no finite number", "size"),
        (b'{"name": "a", "size": 1e999}', 422, "inf is no finite number", "size"),
        (b'{"name": "a", "name": "b"}', 422, "'name' is there twice", ""),
        (b'{"name": "\\ud800"}', 422, "half a surrogate pair", "name"),
        (b'{"\\ud800": 1, "\\ud800": 1}', 422, "is there twice", ""),
        (b'{"size": 3}', 422, "Field required", "name"),
        (b'{"name": "a", "size": "x"}', 422, "valid number", "size"),
        (b"[]", 422, "valid dictionary", ""),
    ],
    ids=lambda value: value[:12].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_bad_body_is_explained(content, status, detail, place):
    answer = client().post("/items", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert detail in body(answer)["detail"]
    assert answer.json()["place"].startswith(place)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_another_content_type_is_refused(kind):
    answer = client().post("/items", content=b'{"name": "a"}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/json" in body(answer)["remedy"]


def test_errors_of_routes_have_one_form():
    http = client()
    assert body(http.get("/refused")) == {"detail": "no such fleet", "place": "", "remedy": "Name one."}
    teapot = http.get("/teapot")
    assert (teapot.status_code, teapot.headers["retry-after"], body(teapot)["place"]) == (
        418,
        "3",
        "[1].stout",
    )
    bug = http.get("/bug")
    assert bug.status_code == 500
    assert "secret" not in bug.text
    assert body(http.get("/nowhere"))["detail"] == "there is no /nowhere"
    wrong = http.get("/items")
    assert (wrong.status_code, wrong.headers["allow"], body(wrong)["remedy"]) == (405, "POST", "Use POST.")


def chunks(total):
    for _ in range(total // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("content", [b"x" * 5000, chunks(5000)], ids=["declared", "chunked"])
def test_a_large_body_is_refused(content):
    answer = client(max_body_bytes=2000).post(
        "/items", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert "2000 bytes" in body(answer)["detail"]


def test_the_rate_is_limited_but_not_for_probes():
    http = client(rate_limit="3/hour")
    assert [http.get("/nowhere").status_code for _ in range(5)] == [404, 404, 404, 429, 429]
    refused = http.get("/nowhere")
    assert int(refused.headers["retry-after"]) > 0
    assert "rate_limit" in body(refused)["remedy"]
    assert http.get("/livez").status_code == 200


def test_a_token_is_asked_for():
    http = client(token=TOKEN)
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xe9"},
    ):
        answer = http.post("/items", json={"name": "a"}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in body(answer)["detail"]
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        assert http.post("/items", json={"name": "a"}, headers=headers).status_code == 200
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert http.get(path).status_code == 200
    assert http.get("/openapi.json").json()["security"] == [{"bearer": []}]
    assert http.get("/docs", headers={"Host": "elsewhere.example"}).status_code == 200


def test_without_a_token_only_names_of_this_machine_are_served():
    http = client()
    for host in ("localhost:8001", "127.0.0.1", "[::1]:80"):
        assert http.get("/livez", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "a@b"):
        assert http.get("/livez", headers={"Host": host}).status_code == 400
    assert name_of("[fe80::1]:8001") == "fe80::1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "plant.example"])
def test_off_loopback_a_token_is_required(host):
    with pytest.raises(ConfigError, match="no token is set"):
        new_app("Test", WebSettings(host=host))
    assert new_app("Test", WebSettings(host=host, token=SecretStr(TOKEN)))


def test_pages_of_named_origins_only():
    http = client(cors_origins=("https://panel.example",), token=TOKEN)
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    good = http.options("/items", headers={"Origin": "https://panel.example", **ask})
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, "https://panel.example")
    bad = http.options("/items", headers={"Origin": "https://evil.example", **ask})
    assert (bad.status_code, "access-control-allow-origin" in bad.headers) == (400, False)
    refused = http.post("/items", json={}, headers={"Origin": "https://panel.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
        401,
        "https://panel.example",
    )


def test_the_documentation_needs_nothing_from_outside():
    http = client()
    page = http.get("/docs")
    assert page.status_code == 200
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page.text)
    local = re.findall(r"""(?:src|href)=["'](/[^"']+)""", page.text)
    assert len(local) >= 3
    for path in local:
        assert http.get(path).status_code == 200, path
    assert "/items" in http.get("/openapi.json").json()["paths"]


def test_probes_and_metrics():
    states = iter([None, "no broker"])
    http = client(ready=lambda: next(states))
    assert (http.get("/readyz").status_code, http.get("/readyz").text) == (200, "not ready: no broker\n")
    http.post("/items", json={"name": "a"})
    http.get("/nowhere/at-all")
    text = http.get("/metrics").text
    assert 'sigmawatch_http_requests_total{method="POST",route="/items",status="200"} 1.0' in text
    assert 'route="none",status="404"} 1.0' in text
    assert "at-all" not in text


def test_addresses_that_one_machine_has_count_as_one():
    def scope(host):
        return {"client": (host, 1)}

    assert (
        client_of(scope("2001:db8::1")) == client_of(scope("2001:db8::2")) != client_of(scope("2001:db9::1"))
    )
    assert client_of(scope("10.0.0.1")) == "10.0.0.1"
    assert client_of({"client": None}) == ""


def test_serving_until_the_event_is_set():
    stop, ports, listening = threading.Event(), [], threading.Event()
    settings = WebSettings()

    def on_listening(port):
        ports.append(port)
        listening.set()

    thread = threading.Thread(
        target=serve,
        args=(new_app("Test", settings, registry=CollectorRegistry()), settings, stop),
        kwargs={"on_listening": on_listening},
    )
    thread.start()
    assert listening.wait(20)
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/livez", timeout=10) as answer:
        assert answer.read() == b"alive\n"
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    with socket.create_server(("127.0.0.1", ports[0])), pytest.raises(ConfigError, match="cannot listen on"):
        serve(new_app("Test", settings), settings.model_copy(update={"port": ports[0]}), stop)
