"""`sink notify` killed at each step, again and again: each notification is sent once, but for the one gap there must be."""

import signal
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.readings import AnomalyState
from tests.support.receivers import Webhooks
from tests.support.sink_processes import start_sink
from tests.support.sinks import Database, Topics, anomaly, plain_database, topics
from tests.support.waiting import until

__all__ = ["plain_database", "topics"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

POINTS = [
    "notify.before_commit:2",
    "notify.after_commit:2",
    "notify.after_delivery:2",
    "notify.before_decide:2",
    "notify.after_claim:2",
    "notify.after_mark:2",
]


def start(
    topics: Topics, store: Database, routes: Path, log: Path, point: str = ""
) -> subprocess.Popen[bytes]:
    settings = {"NOTIFY__GROUP": topics.group, "NOTIFY__ROUTES": str(routes), "DATABASE__URL": store.url}
    options = {"lease_seconds": 1.0}
    return start_sink("sinks.notify.service.notify_sink", topics, log, point, options, **settings)


def all_told(store: Database, devices: int) -> bool:
    """Whether everything is decided, to the end of each alarm, and nothing is on its way."""
    clears = store.query(
        """SELECT target, count(DISTINCT a ->> 'device_id') FROM notifications, jsonb_array_elements(anomalies) a
           WHERE a ->> 'state' = 'CLEARED' GROUP BY 1 ORDER BY 1"""
    )
    unsettled = store.query("SELECT count(*) FROM notifications WHERE settled_at IS NULL")
    return clears == [("again", devices), ("once", devices)] and unsettled == [(0,)]


@pytest.mark.parametrize(
    "points", [POINTS[:3], pytest.param(POINTS * 2, marks=pytest.mark.chaos)], ids=["worst", "all"]
)
def test_killed_at_each_step(
    plain_database: Database, topics: Topics, tmp_path: Path, points: list[str]
) -> None:
    routes, log = tmp_path / "routes.yaml", tmp_path / "sink.log"
    with Webhooks() as webhooks:
        routes.write_text(
            f"targets: {{again: '{webhooks.url('/again')}', once: '{webhooks.url('/once')}'}}\n"
            "routes:\n"
            "- {name: again, targets: again, wait: 100ms, limit: off, continue: true}\n"
            "- {name: once, targets: once, wait: 100ms, limit: off, delivery: at-most-once}\n"
        )
        now = time.time_ns() // 1000
        opened = [
            anomaly(number, anomaly_id=uuid.uuid4(), opened_at=now, detected_at=now)
            for number in range(4 * len(points))
        ]
        for number, point in enumerate(points):
            fresh = opened[4 * number : 4 * number + 4]
            topics.send_anomalies(fresh)
            process = start(topics, plain_database, routes, log, point)
            try:
                over = [replace(each, state=AnomalyState.CLEARED, cleared_at=now + 1) for each in fresh]
                topics.send_anomalies([*over, *opened[: 4 * number]])
                assert process.wait(120) == -signal.SIGKILL, log.read_text()
            finally:
                process.kill()
                process.wait()
        messages = 8 * len(points) + 2 * len(points) * (len(points) - 1)
        process = start(topics, plain_database, routes, log)
        try:
            until(lambda: sum(map(sum, plain_database.totals().values())) >= messages, what=log.read_text)
            until(lambda: all_told(plain_database, len(opened)), what=log.read_text)
        finally:
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
        judge(webhooks, plain_database, {each.device_id for each in opened}, kills=len(points))


def judge(webhooks: Webhooks, store: Database, devices: set[str], kills: int) -> None:
    told: dict[str, Counter[str]] = {"/again": Counter(), "/once": Counter()}
    for path, counts in told.items():
        seen = set()
        for call in webhooks.taken(path):
            key = call.headers["Idempotency-Key"]
            if key not in seen:
                counts.update(each["device_id"] for each in call.document["anomalies"])
            seen.add(key)
    again = Counter(webhooks.keys("/again"))
    assert sum(again.values()) - len(again) <= kills, (
        "only what was in hand at a kill came twice, with its key"
    )
    ended = {(device, 1) for device in devices} | {(device, 2) for device in devices}
    assert set(told["/again"].items()) <= ended
    assert set(told["/again"]) == devices, "nothing is lost"
    once = webhooks.keys("/once")
    assert len(once) == len(set(once)), "nothing comes twice"
    unknown = store.query("SELECT target, anomaly_ids FROM notifications WHERE state = 'unknown'")
    assert {target for target, _ in unknown} <= {"once"}
    lost = sum((told["/again"] - told["/once"]).values())
    assert lost <= sum(len(ids) for _, ids in unknown), "what did not arrive is known to be unknown"
    states = store.query("SELECT state, count(*) FROM notifications WHERE target = 'again' GROUP BY 1")
    assert [state for state, _ in states] == ["sent"]
    clears = store.query(
        """SELECT count(*) FROM notifications, jsonb_array_elements(anomalies) a
           WHERE target = 'again' AND a ->> 'state' = 'CLEARED'"""
    )
    assert clears == [(len(devices),)], "each is told as over once"
