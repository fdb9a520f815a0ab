import json
from uuid import UUID

from schemas.readings import AnomalySeverity
from sinks.anomaly_log import positions_in, render_line
from sinks.logs import LogId
from tests.support.sinks import T0, anomaly

LOG = LogId("anomalies", "AaH94jG+dKOcpIlioGuBog", 2)


def test_a_line_says_where_and_what() -> None:
    line = render_line(LOG, 7, anomaly(1, std=float("nan"), device_id="Küche\n", detected_at=T0 + 123_456))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert list(fields)[:4] == ["topic", "topic_id", "partition", "offset"]
    assert fields["offset"] == 7
    assert fields["anomaly_id"] == "00000000-0000-0000-0000-000000000001"
    assert fields["device_id"] == "Küche\n"
    assert (fields["state"], fields["std"], fields["cleared_at"]) == ("OPENED", None, None)
    assert fields["opened_at"] == "2026-09-21T14:13:20.000000Z"
    assert fields["detected_at"] == "2026-09-21T14:13:20.123456Z"


def test_a_line_says_how_bad_and_why() -> None:
    details = {"channel": "gap", "reason": "nothing for 40 s", "storm_id": UUID(int=9)}
    written = anomaly(1, severity=AnomalySeverity.CRITICAL, expected=float("inf"), **details)
    fields = json.loads(render_line(LOG, 7, written))
    assert list(fields)[-5:] == ["severity", "channel", "expected", "reason", "storm_id"]
    assert (fields["severity"], fields["channel"], fields["expected"]) == ("CRITICAL", "gap", None)
    assert (fields["reason"], fields["storm_id"]) == ("nothing for 40 s", str(UUID(int=9)))
    bare = json.loads(render_line(LOG, 8, anomaly(1, expected=19.5)))
    assert (bare["severity"], bare["expected"], bare["storm_id"]) == ("WARNING", 19.5, None)


def test_positions_are_behind_the_last_line_of_each_log() -> None:
    other = LOG._replace(partition=3)
    former_life = LOG._replace(topic_id="another")
    lines = [
        render_line(log, offset, anomaly(1)).rstrip()
        for log, offset in [(former_life, 90), (LOG, 5), (other, 7), (LOG, 6), (former_life, 91)]
    ]
    backwards = [b"not ours", *reversed(lines)]
    missing = LOG._replace(partition=9)
    assert positions_in(backwards, [LOG, other, missing]) == {LOG: 7, other: 8}


def test_reading_ends_when_all_are_found() -> None:
    def lines():
        yield render_line(LOG, 5, anomaly(1))
        raise AssertionError("read too far")

    assert positions_in(lines(), [LOG]) == {LOG: 6}
    assert positions_in(lines(), []) == {}
