"""The routes over a sender whose Kafka is a list."""

import json
import time

from pydantic import SecretStr

DETECTED = {"status": "Data received and processed"}


def test_moving_average_detectors_client_gets_its_answer(make):
    service = make()
    now = time.time()
    answer = service.http.post("/detect", json={"value": 45.2, "timestamp": now})
    assert (answer.status_code, answer.json()) == (200, DETECTED)
    (reading,) = service.kafka.readings
    assert (reading.device_id, reading.metric, reading.value) == ("detect", "value", 45.2)
    assert reading.time == round(now * 1e6)


def test_defaults_by_settings_and_by_query(make):
    service = make(device_id="plant", metric="load")
    point = {"value": 1, "timestamp": 1}
    service.http.post("/detect", json=point)
    service.http.post("/detect?device_id=b%C3%B6iler&metric=x", json=[point, {**point, "device_id": "own"}])
    named = [(reading.device_id, reading.metric) for reading in service.kafka.readings]
    assert named == [("plant", "load"), ("böiler", "x"), ("own", "x")]
    bad = service.http.post(f"/detect?metric={'x' * 256}", json=point)
    assert (bad.status_code, bad.json()["place"]) == (422, "query metric")


def test_readings_says_how_many(make):
    answer = make().http.post("/readings", json=[{"value": 1, "time": n} for n in range(500)])
    assert (answer.status_code, answer.json()) == (200, {**DETECTED, "accepted": 500})


def test_a_list_is_sent_whole_or_not_at_all(make):
    service = make()
    answer = service.http.post("/detect", json=[{"value": 1, "time": 1}] * 3 + [{"value": "x", "time": 1}])
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": "expected a number, found a string",
        "place": "[3].value",
        "remedy": "Give a finite number; JSON knows no NaN and no Infinity.",
    }
    assert service.kafka.readings == []


def test_an_outage_is_a_503_that_says_what_happened(make):
    service = make(wait=0.1)
    service.kafka.answers.clear()
    answer = service.http.post("/detect", json={"value": 1, "time": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "may still arrive" in answer.json()["detail"]
    assert "stored once" in answer.json()["remedy"]
    answer = service.http.post("/detect", json={"value": 2, "time": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "nothing was sent" in answer.json()["detail"]
    service.sender._rounds._began -= 60
    assert service.http.get("/readyz").status_code == 503
    service.kafka.answers.set()
    assert service.http.post("/detect", json={"value": 3, "time": 1}).status_code == 200
    assert [reading.value for reading in service.kafka.readings] == [1.0, 3.0]
    assert service.http.get("/readyz").status_code == 200


def test_a_large_body_is_refused(make):
    body = json.dumps([{"value": 1, "time": 1}] * 5000).encode()
    answer = make().http.post("/detect", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "max_body_bytes" in answer.json()["remedy"]) == (413, True)


def test_a_token_is_asked_for(make):
    service = make(token=SecretStr("a-long-enough-token"))
    point = {"value": 1, "time": 1}
    assert service.http.post("/detect", json=point).status_code == 401
    answer = service.http.post("/detect", json=point, headers={"Authorization": "Bearer a-long-enough-token"})
    assert answer.json() == DETECTED
    assert "a-long-enough" not in repr(service.settings)


def test_counts(make):
    service = make()
    service.http.post("/readings", json=[{"value": 1, "time": n} for n in range(5)])
    assert 'sigmawatch_ingest_readings_total{outcome="acknowledged"} 5.0' in service.http.get("/metrics").text
