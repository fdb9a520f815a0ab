"""The API's answers over a real database."""

from datetime import timedelta
from itertools import pairwise
from urllib.parse import quote

import pytest
from pydantic import TypeAdapter

from sinks.api.anomaly_routes import OldAnomaly
from sinks.api.status_routes import LogEntry, PipelineOut, StatisticsOut
from sinks.api.views import (
    AnomaliesOut,
    AnomalyOut,
    DeviceDetailOut,
    DevicesOut,
    ReadingOut,
    ReadingsOut,
    SeriesOut,
)
from tests.integration.sinks.queries.conftest import BEGIN, HOSTILE, HOURS

pytestmark = pytest.mark.integration

END = BEGIN + timedelta(hours=HOURS)


def good(client, path, model=None, **parameters):
    """The JSON of a good answer, which has the promised shape to the last field."""
    answer = client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    if model is not None:
        TypeAdapter(model).validate_json(answer.content, strict=False)
    return answer.json()


def refused(client, path, status, **parameters):
    answer = client.get(path, params=parameters or None)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail", "place", "remedy"}
    return answer.json()["detail"]


def test_anomalies_by_pages(client):
    rows, cursor = [], None
    while True:
        page = good(
            client, "/api/v1/anomalies", AnomaliesOut, limit=15, **({"cursor": cursor} if cursor else {})
        )
        rows += page["anomalies"]
        cursor = page["next"]
        if cursor is None:
            break
    assert len({row["anomaly_id"] for row in rows}) == len(rows) == 40
    assert all(later["opened_at"] >= earlier["opened_at"] for later, earlier in pairwise(rows))
    assert set(rows[0]) == set(AnomalyOut.model_fields)
    assert good(client, f"/api/v1/anomalies/{rows[0]['anomaly_id']}") == rows[0]


def test_every_reading_of_a_series_by_pages(client):
    asked = {
        "device": "oven-1",
        "metric": "power",
        "from": "2026-03-01T00:00:00Z",
        "to": "2026-03-01T10:00:00Z",
    }
    rows, sizes, more = [], [], {}
    while True:
        page = good(client, "/api/v1/readings", ReadingsOut, limit=1000, **asked, **more)
        rows += page["readings"]
        sizes.append(len(page["readings"]))
        if page["next"] is None:
            break
        more = {"cursor": page["next"]}
    assert sizes == [1000, 1000, 1000, 600]
    assert [row["time"] for row in rows] == [
        (BEGIN + n * timedelta(seconds=10)).isoformat().replace("+00:00", "Z") for n in range(3599, -1, -1)
    ]
    assert sum(row["fault"] == "spike" for row in rows) == 10
    assert set(rows[0]) == set(ReadingOut.model_fields)
    refused(client, "/api/v1/readings", 422, **{**asked, **more, "metric": "temperature"})
    newest = good(client, "/api/v1/readings", limit=12)["readings"]
    assert len({(row["device_id"], row["metric"]) for row in newest}) == 12
    assert {row["time"] for row in newest} == {"2026-03-02T01:59:50Z"}


def test_anomalies_are_narrowed(client):
    found = good(client, "/api/v1/anomalies", state="OPENED", severity=["CRITICAL", "WARNING"], type="oven")
    assert [row["device_id"] for row in found["anomalies"]] == ["oven-2"]
    found = good(
        client, "/api/v1/anomalies", **{"from": "2026-03-01T01:00:00+01:00", "to": "2026-03-01T01:00:00Z"}
    )
    assert len(found["anomalies"]) == 2


def test_the_lists_of_moving_average_detector(client):
    anomalies = good(client, "/anomalies", list[OldAnomaly], limit=5)
    assert [entry["timestamp"] for entry in anomalies] == sorted(entry["timestamp"] for entry in anomalies)
    assert {"value", "timestamp", "mean", "std_dev"} <= set(anomalies[0])
    assert anomalies[-1]["timestamp"] == (BEGIN + timedelta(hours=19)).timestamp()
    log = good(client, "/read_log", list[LogEntry], limit=4, device="oven-3", metric="power")
    assert [entry["timestamp"] for entry in log] == [
        (END - timedelta(seconds=10 * n)).timestamp() for n in (4, 3, 2, 1)
    ]
    assert 24 < log[0]["mean"] < 26
    assert log[0]["std_dev"] > 0


def test_the_fleet(client):
    found = good(client, "/api/v1/devices", DevicesOut)
    assert found["total"] == 6
    assert found["types"] == {"oven": 4, "pump": 2}
    assert found["states"]["critical"] == 1
    assert found["states"]["silent"] == 3
    by_id = {one["device_id"]: one for one in found["devices"]}
    assert by_id["oven-0"]["open"] == {"critical": 0, "warning": 0, "info": 2}
    assert set(by_id[HOSTILE]["latest"]) == {"power", "temperature"}
    assert by_id[HOSTILE]["last_seen"] == "2026-03-02T01:59:50Z"


def test_the_worst_devices_first_by_pages(client):
    order, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = good(client, "/api/v1/devices", sort="state", limit=2, **more)
        order += [(one["state"], one["device_id"]) for one in page["devices"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert [state for state, _ in order] == ["critical", "warning", "info", "silent", "silent", "silent"]
    assert [name for _, name in order[3:]] == sorted(name for _, name in order[3:])
    assert good(client, "/api/v1/devices", state=["critical", "warning"])["total"] == 2
    assert good(client, "/api/v1/devices", search="robert")["devices"][0]["device_id"] == HOSTILE


def test_a_device_with_markup_in_its_id(client):
    found = good(client, f"/api/v1/devices/{quote(HOSTILE, safe='')}", DeviceDetailOut)
    assert found["device_id"] == HOSTILE
    assert len(found["anomalies"]) == 6
    series = good(client, f"/api/v1/series/{quote(HOSTILE, safe='')}/power/readings", SeriesOut, pixels=10)
    assert series["device_id"] == HOSTILE


def test_a_series_in_the_pixels_asked_for(client):
    path = "/api/v1/series/oven-0/temperature/readings"
    found = good(
        client, path, SeriesOut, pixels=100, **{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}
    )
    assert found["bucket_seconds"] == 900
    assert len(found["time"]) == 96
    assert {
        len(found[name])
        for name in ("low", "high", "mean", "count", "labelled", "expected", "lower", "upper")
    } == {96}
    assert found["expected"][0] is None
    assert found["lower"][50] < found["expected"][50] < found["upper"][50]
    assert found["unit"] == "°C"
    assert len(found["anomalies"]) == 7
    newest = good(client, path, SeriesOut)
    assert newest["bucket_seconds"] == 0
    assert len(newest["time"]) == 360
    assert newest["time"][-1] == "2026-03-02T01:59:50Z"


def test_an_answer_that_has_not_changed_is_not_sent_again(client):
    first = client.get("/api/v1/anomalies")
    again = client.get("/api/v1/anomalies", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    weak = client.get("/api/v1/anomalies", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert weak.status_code == 304
    assert client.get("/api/v1/anomalies", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_database_and_the_pipeline(client):
    found = good(client, "/db_stats", StatisticsOut)
    assert found["anomalies"]["kinds"]["spike"] == {"total": 20, "open": 4}
    assert found["devices"] == 6
    state = good(client, "/api/v1/pipeline", PipelineOut)
    assert state["sink"] == []
    assert state["processors"] is None
    assert any(one.startswith("Kafka:") for one in state["trouble"])
    assert b"sigmawatch_api_live_clients_count 0.0" in client.get("/metrics").content


def test_quality_of_a_stretch(client):
    found = good(client, "/api/v1/quality", **{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"})
    assert found["overall"]["from"] == "2026-03-01T00:00:00Z"
    refused(client, "/api/v1/quality", 404, to="1990-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/devices/%00", 422),
        ("/api/v1/devices/" + "x" * 1001, 422),
        ("/api/v1/devices/nobody", 404),
        ("/api/v1/devices/%F0%9F%92%A9/..%2f", 404),
        ("/api/v1/devices/%ED%A0%80", 404),
        ("/api/v1/series/nobody/power/readings", 404),
        ("/api/v1/series/a%2Fb/power/readings", 404),
        ("/api/v1/series/oven-0/%00/readings", 422),
        ("/api/v1/series/oven-0/power/readings?pixels=0", 422),
        ("/api/v1/series/oven-0/power/readings?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", 422),
        ("/api/v1/series/oven-0/power/readings?from=2026-03-02T00:00:00", 422),
        ("/api/v1/series/oven-0/power/readings?from=0001-01-01T00:00:00Z", 422),
        ("/api/v1/anomalies?device=%00", 422),
        ("/api/v1/anomalies?severity=BAD", 422),
        ("/api/v1/anomalies?cursor=W10", 422),
        ("/api/v1/anomalies?cursor=%E2%98%83", 422),
        ("/api/v1/anomalies?limit=1001", 422),
        ("/api/v1/readings?limit=10001", 422),
        ("/api/v1/readings?cursor=W10", 422),
        ("/api/v1/readings?device=%00", 422),
        ("/api/v1/devices/oven-0/readings", 404),
        ("/api/v1/anomalies/00000000-0000-0000-0000-00000000ffff", 404),
        ("/api/v1/anomalies/none", 422),
        ("/api/v1/devices?cursor=eyJ9", 422),
        ("/api/v1/devices?state=happy", 422),
        ("/nowhere", 404),
    ],
)
def test_nonsense_is_refused_with_a_reason(client, path, status):
    assert refused(client, path, status)


def test_searches_take_every_sign_literally(client):
    for text in ("%", "_", "\\", "'", "☃", "<b>"):
        assert good(client, "/api/v1/anomalies", search=text)["anomalies"], text
    assert not good(client, "/api/v1/anomalies", search="%%")["anomalies"]
