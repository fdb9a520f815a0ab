"""Live events over a real broker: what comes, what comes back after a break, what ends."""

import json
import threading
from contextlib import contextmanager
from queue import Queue

import httpx
import pytest

from schemas.readings import AnomalyState, Reading
from schemas.settings import TopicSettings
from sinks.api.live import Mark
from tests.integration.sinks.api.conftest import served, settings_for
from tests.support.dashboards import running_browser
from tests.support.sinks import T0, anomaly
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

SECONDS = 120


@contextmanager
def events(address, path, headers=None):
    """A queue of a stream's (event, id, data); None at its end. `mark` is the id that it began with."""
    found = Queue()

    def read():
        try:
            with httpx.stream(
                "GET", f"{address}{path}", headers=headers, timeout=SECONDS, trust_env=False
            ) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                event = {}
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line:
                        event[name or "comment"] = value
                        continue
                    if "data" in event or "comment" in event:
                        found.put(
                            (event.get("event"), event.get("id"), json.loads(event.get("data", "null")))
                        )
                    event = {}
        finally:
            found.put(None)

    thread = threading.Thread(target=read)
    thread.start()
    # The first thing is a comment: from then on nothing is missed.
    name, found.mark, data = found.get(timeout=SECONDS)
    assert (name, data) == (None, None)
    yield found
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def settings(filled, topics):
    names = TopicSettings(readings=topics.readings, anomalies=topics.anomalies, devices=topics.devices)
    return settings_for(filled.url, kafka=topics.bootstrap_servers, topics=names)


def until_live(server):
    until(lambda: server.api.live.trouble is None, SECONDS, what=lambda: server.api.live.trouble)


def send_until(topics, queue, readings):
    """The first event; a consumer that is told to read from the end does so from its first fetch on."""

    def came():
        topics.send_readings(readings)
        return not queue.empty()

    until(came, SECONDS, pause=0.5)
    return queue.get(timeout=SECONDS)


def test_who_is_cut_off_before_a_first_event_misses_nothing(settings, topics):
    path = "/api/v1/stream/anomalies"
    topics.send_anomalies([anomaly(1)])
    with served(settings) as server:
        until(lambda: len(server.api.live._memory.events) == 1, SECONDS)
        with events(server.address, f"{path}?limit=0") as cut:
            assert cut.get(timeout=SECONDS) is None
        with events(server.address, "/api/v1/stream/readings?limit=0") as readings:
            assert readings.mark is None
        topics.send_anomalies([anomaly(2)])
        until(lambda: len(server.api.live._memory.events) == 2, SECONDS)
        with events(server.address, f"{path}?limit=1", {"Last-Event-ID": cut.mark}) as again:
            assert again.mark == cut.mark
            _, mark, told = again.get(timeout=SECONDS)
        assert told["device_id"] == "device-2"
        # A browser keeps an id that came without an event.
        came, subscribe = [], server.api.live.subscribe_anomalies

        def noting(wants, loop, after):
            came.append(after)
            return subscribe(wants, loop, after)

        server.api.live.subscribe_anomalies = noting
        with running_browser() as browser:
            page = browser.new_page()
            page.goto(f"{server.address}/livez")
            page.evaluate(f"""() => {{ window.source = new EventSource("{path}?limit=0"); }}""")
            until(lambda: len(came) > 1, SECONDS)
        assert came[:2] == [None, Mark.parse(mark)]


def test_readings_and_anomalies_as_they_come_and_after_a_break(settings, topics):
    with served(settings) as server:
        until_live(server)
        with (
            events(server.address, "/api/v1/stream/readings?metric=power&limit=1") as readings,
            events(server.address, "/stream_data?limit=1") as old,
            events(server.address, "/api/v1/stream/anomalies?limit=1") as anomalies,
        ):
            sent = [Reading("a", "colour", T0, 1.0), Reading("<b>", "power", T0, 2.0, "spike")]
            assert send_until(topics, readings, sent) == (
                "reading",
                None,
                {
                    "device_id": "<b>",
                    "metric": "power",
                    "time": "2026-09-21T14:13:20Z",
                    "value": 2.0,
                    "fault": "spike",
                },
            )
            name, _, shown = old.get(timeout=SECONDS)
            assert name is None
            assert shown == {
                "value": shown["value"],
                "timestamp": T0 / 1e6,
                "mean": None,
                "std_dev": None,
                "device_id": shown["device_id"],
                "metric": shown["metric"],
            }
            topics.send_anomalies([anomaly(1)])
            kind, mark, opened = anomalies.get(timeout=SECONDS)
            assert (kind, opened["state"], opened["device_id"]) == ("anomaly", "OPENED", "device-1")
        assert server.api.fleet.device("<b>").latest["power"].value == 2.0
        # While nobody listens:
        topics.send_anomalies([anomaly(1, AnomalyState.CLEARED), anomaly(2)])
        path = "/api/v1/stream/anomalies?limit=2"
        with events(server.address, path, {"Last-Event-ID": mark}) as again:
            since = [again.get(timeout=SECONDS)[2] for _ in range(2)]
    assert {(one["device_id"], one["state"]) for one in since} == {
        ("device-1", "CLEARED"),
        ("device-2", "OPENED"),
    }
    with served(settings) as restarted:
        until_live(restarted)
        until(lambda: len(restarted.api.live._memory.events) == 3, SECONDS)
        with events(restarted.address, path, {"Last-Event-ID": mark}) as again:
            assert [again.get(timeout=SECONDS)[2] for _ in range(2)] == since
        # A stream that is open when the server ends, ends.
        with events(restarted.address, "/stream_anomalies", {"Last-Event-ID": "0"}) as open_stream:
            # Once each, when they are opened.
            told = [open_stream.get(timeout=SECONDS) for _ in range(2)]
            assert {name for name, _, _ in told} == {None}
            assert {shown["device_id"] for _, _, shown in told} == {"device-1", "device-2"}
            shape = [{name: told[0][2][name] for name in ("value", "timestamp", "mean", "std_dev")}]
            assert shape == [{"value": 40.0, "timestamp": T0 / 1e6, "mean": 20.0, "std_dev": 2.0}]
            restarted.api.stop.set()
            assert open_stream.get(timeout=SECONDS) is None
