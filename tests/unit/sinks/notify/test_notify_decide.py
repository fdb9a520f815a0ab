"""Who is told what and when, case by case."""

from datetime import UTC, datetime
from importlib import resources

from notify_stories import HOUR, MINUTE, SECOND, Story, cleared, opened, route, states, storm

from schemas.readings import AnomalySeverity
from schemas.testing import START_US
from sinks.notify.alarms import DeviceFacts


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def test_opened_and_cleared_are_told_once_each() -> None:
    story = Story()
    first = opened()
    (told,) = story.say(first)
    assert states(told) == ["OPENED"]
    assert story.say(first) == []
    story.restart()
    assert story.say(first) == []
    story.wait(MINUTE)
    over = cleared(first, START_US + MINUTE)
    (told,) = story.say(over)
    assert states(told) == ["CLEARED"]
    assert told.severity == "CLEARED"
    assert story.say(over, first) == []
    story.restart()
    assert story.wait(3 * HOUR) == []
    assert story.say(first, over) == []
    assert not [key for key in story.rows if key.startswith("alarm")], "what cannot come again is forgotten"


def test_a_replay_pages_nobody() -> None:
    story = Story()
    assert story.say(opened(1, START_US - HOUR - 1), opened(2, detected_at=START_US - HOUR - 1)) == []
    assert story.say(cleared(opened(1, START_US - HOUR - 1), START_US)) == []
    assert story.decider.skipped.too_old == 2


def test_a_clock_put_back_changes_nothing() -> None:
    story = Story()
    story.say(opened())
    story.wait(3 * HOUR)
    story.now = START_US
    assert story.say(opened()) == []


def test_a_clock_that_was_wrong_by_far_does_not_silence_anybody() -> None:
    story = Story(route(limit="1/1h", wait="30s"))
    story.now = START_US + 9_000 * HOUR
    story.say(opened(1, story.now))
    story.wait(MINUTE)
    story.say(opened(2, story.now))
    story.wait(MINUTE)
    assert len(story.told) == 1
    story.now = START_US
    story.restart()
    story.say(opened(3))
    story.wait(2 * HOUR)
    told = [each.alarm.device_id for _, one in story.told for each in one.told]
    assert sorted(told) == ["oven-1", "oven-2", "oven-3"]


def test_links_are_those_of_the_dashboard() -> None:
    page = resources.files("sinks.dashboard") / "page"
    assert "`#/device/${encodeURIComponent(id)}`" in (page / "format.js").read_text()
    assert "#/anomalies" in (page / "anomalies.js").read_text()
    (told,) = Story().say(storm(1, "type:oven"))
    assert told.body.endswith("https://watch.example/#/anomalies")


def test_an_alarm_that_was_told_is_told_as_cleared_however_late() -> None:
    story = Story()
    story.say(opened())
    story.wait(50 * HOUR)
    (told,) = story.say(cleared(opened(), START_US + 50 * HOUR))
    assert states(told) == ["CLEARED"]


def test_first_route_counts_unless_it_goes_on() -> None:
    story = Story(
        route("ovens", match={"type": "oven", "kind": "drift"}),
        route("places", match={"place": "Den*"}, **{"continue": True}),
        route("critical", match={"severity": "CRITICAL"}),
        route("rest"),
        route("never"),
    )
    assert [each.route for each in story.say(opened(1))] == ["places", "rest"]
    assert [each.route for each in story.say(opened(2, kind="drift"))] == ["ovens"]
    critical = opened(3, severity=AnomalySeverity.CRITICAL)
    assert [each.route for each in story.say(critical)] == ["places", "critical"]


def test_the_cleared_goes_where_the_opened_went() -> None:
    story = Story(route("drift", match={"kind": "drift"}), route("rest"))
    alarm = opened(kind="drift")
    story.say(alarm)
    (told,) = story.say(cleared(alarm, START_US + 1, kind="level_shift", severity=AnomalySeverity.INFO))
    assert told.route == "drift"


def test_a_group_waits_and_is_one_notification() -> None:
    story = Story(route(group_by=["place"], wait="30s"))
    assert story.say(opened(1)) == []
    story.wait(20 * SECOND)
    assert story.say(opened(2)) == []
    (told,) = story.wait(10 * SECOND)
    assert states(told) == ["OPENED", "OPENED"]
    assert story.now == START_US + 30 * SECOND
    assert "2 anomalies of oven-1, oven-2" in told.title


def test_groups_of_devices_are_apart() -> None:
    story = Story(route(wait="30s"))
    story.say(opened(1), opened(2), opened(3, device_id="oven-1", metric="power"))
    assert sorted(len(each.told) for each in story.wait(MINUTE)) == [1, 2]


def test_an_alarm_over_before_its_group_is_told_is_told_as_over() -> None:
    story = Story(route(wait="30s"))
    story.say(opened())
    story.say(cleared(opened(), START_US + SECOND))
    (told,) = story.wait(MINUTE)
    assert states(told) == ["BRIEF"]
    assert told.title.startswith("[CLEARED]")
    assert story.wait(HOUR) == []


def test_minimum_open_is_of_event_time() -> None:
    story = Story(route(minimum_open="5m"))
    story.say(opened(1), opened(2), opened(3, START_US - 4 * MINUTE), opened(4, START_US + HOUR))
    story.say(cleared(opened(1), START_US + MINUTE))
    story.say(cleared(opened(2), START_US + 6 * MINUTE))
    assert [states(each) for _, each in story.told] == [["BRIEF"]], (
        "the second was open for long, the first not"
    )
    story.wait(MINUTE)
    assert len(story.told) == 2, "the third was open for four minutes when it came"
    story.wait(4 * MINUTE)
    assert len(story.told) == 3, "a device's clock that is ahead delays nothing further"
    assert story.decider.skipped.too_short == 1


def test_only_cleared_or_only_opened() -> None:
    story = Story(route("a", tell="OPENED", **{"continue": True}), route("b", tell="CLEARED"))
    assert [each.route for each in story.say(opened())] == ["a"]
    assert [each.route for each in story.say(cleared(opened(), START_US + 1))] == ["b"]


def test_a_limit_holds_back_and_says_so() -> None:
    story = Story(route(limit="2/10m"))
    story.say(*(opened(number) for number in range(1, 6)))
    assert len(story.told) == 2
    story.wait(MINUTE)
    story.say(cleared(opened(1), START_US + MINUTE), cleared(opened(5), START_US + MINUTE))
    (summary,) = story.wait(9 * MINUTE)
    assert story.now == START_US + 10 * MINUTE
    assert summary.body.startswith(
        "Held back since 2023-11-14 22:13:20 UTC by the limit of 2 notifications in 10m: 4 "
    )
    assert sorted(states(summary)) == ["BRIEF", "CLEARED", "OPENED", "OPENED"]


def test_quiet_hours_hold_back_until_their_end() -> None:
    quiet = {"from": "22:00", "to": "7:00", "zone": "Europe/Berlin"}
    story = Story(route(quiet=quiet, limit="5/1h"), max_age=24 * HOUR)
    story.now = us("2026-11-21T20:59:59")
    assert len(story.say(opened(1, story.now))) == 1
    story.wait(SECOND)
    assert story.say(opened(2, story.now)) == []
    assert story.say(cleared(opened(1, story.now - SECOND), story.now)) == []
    critical = opened(3, story.now, severity=AnomalySeverity.CRITICAL)
    assert [each.severity for each in story.say(critical)] == ["CRITICAL"]
    story.restart()
    (morning,) = story.wait(20 * HOUR)
    assert story.told[-1][0] == us("2026-11-22T06:00:00")
    assert "quiet hours" in morning.body
    assert sorted(states(morning)) == ["CLEARED", "OPENED"]


def test_quiet_hours_that_let_nothing_pass() -> None:
    quiet = {"from": "00:00", "to": "12:00", "critical": "wait", "days": ["tue"]}
    story = Story(route(quiet=quiet), max_age=99 * HOUR)
    story.now = us("2026-11-24T03:00:00")  # a Tuesday
    assert story.say(opened(1, story.now, severity=AnomalySeverity.CRITICAL)) == []
    assert len(story.wait(9 * HOUR)) == 1
    story.wait(24 * HOUR)
    assert len(story.say(opened(2, story.now))) == 1, "no quiet hours on Wednesdays"


def test_quiet_hours_on_the_day_when_clocks_change() -> None:
    story = Story(route(quiet={"from": "01:00", "to": "06:00", "zone": "Europe/Berlin"}), max_age=99 * HOUR)
    story.now = us("2026-10-25T00:30:00")  # 02:30, summer time, for the first time
    assert story.say(opened(1, story.now)) == []
    story.wait(20 * HOUR)
    assert story.told[-1][0] == us("2026-10-25T05:00:00"), "06:00, winter time"


def test_open_critical_ones_are_told_again() -> None:
    story = Story(route(repeat="1h"))
    critical = opened(1, severity=AnomalySeverity.CRITICAL)
    story.say(critical, opened(2))
    story.restart()
    told = story.wait(150 * MINUTE)
    assert [states(each) for each in told] == [["OPEN"], ["OPEN"]]
    assert "STILL CRITICAL" in told[0].title
    assert "open for 1h" in told[0].body
    story.say(cleared(critical, story.now))
    assert story.wait(5 * HOUR) == []


def test_a_storm_is_told_once_and_its_members_not() -> None:
    story = Story(route(wait="30s"))
    story.say(opened(1), opened(2), opened(7, device_id="lamp-1", kind="drift"))
    whirl = storm(100, "type:oven")
    members = [opened(number, storm_id=whirl.anomaly_id) for number in (3, 4)]
    story.say(members[0], whirl, members[1], whirl)
    story.restart()
    story.say(storm(100, "type:oven", devices=8))  # another partition's
    told = story.wait(5 * MINUTE)
    assert sorted(each.told[0].alarm.kind for each in told) == ["drift", "storm"]
    story.say(opened(5, story.now, storm_id=whirl.anomaly_id))
    story.say(*(cleared(each, story.now) for each in members), cleared(opened(1), story.now))
    assert story.wait(5 * MINUTE) == []
    story.say(cleared(whirl, story.now))
    story.say(cleared(storm(100, "type:oven", devices=8), story.now), whirl)
    (over,) = story.wait(MINUTE)
    assert [(each.alarm.kind, each.state) for each in over.told] == [("storm", "CLEARED")]


def test_who_would_be_told_of_a_member_is_told_of_the_storm() -> None:
    story = Story(route("denver", match={"place": "Denver"}), route("rest"))
    whirl = storm(100, "type:oven")
    assert [each.route for each in story.say(whirl)] == ["rest"]
    story.say(opened(1, storm_id=whirl.anomaly_id), opened(2, storm_id=whirl.anomaly_id))
    told = story.wait(MINUTE)
    assert [(each.route, each.told[0].alarm.kind) for _, each in story.told] == [
        ("rest", "storm"),
        ("denver", "storm"),
    ]
    assert told == []


def test_a_member_whose_storm_never_comes_is_told() -> None:
    story = Story()
    assert story.say(opened(1, storm_id=storm(9, "type:oven").anomaly_id)) == []
    assert [states(each) for each in story.wait(MINUTE)] == [["OPENED"]]


def test_a_storm_that_is_over_is_not_opened_again_by_a_late_member() -> None:
    story = Story(max_age=10 * MINUTE)
    whirl = storm(100, "type:oven")
    story.say(whirl)
    story.wait(60 * MINUTE)
    story.say(cleared(whirl, story.now))
    story.wait(5 * MINUTE)
    story.say(opened(1, story.now - 6 * MINUTE, storm_id=whirl.anomaly_id))
    assert [each.told[0].state for _, each in story.told] == ["OPENED", "CLEARED"]


def test_words_that_devices_bring_along_stay_on_their_line() -> None:
    story = Story(facts=DeviceFacts("oven", "a\r\nBcc: all@example.com", "D\0enver"))
    (told,) = story.say(opened(device_id="<b>\nx", reason="one\ntwo"))
    assert "\n" not in told.title
    assert "\0" not in told.title + told.body
    assert "Bcc: all@example.com" in told.body
    assert "\nBcc" not in told.body
    assert "<b> x" in told.title


def test_templates() -> None:
    story = Story(
        route(title="{severity} {device} {count}", line="{metric}={value}{unit}", body="{lines} {link} {{}}")
    )
    (told,) = story.say(opened(device_id="a/b"))
    assert told.title == "WARNING a/b 1"
    assert told.body == "temperature=26°C https://watch.example/#/device/a%2Fb {}"


def test_default_words() -> None:
    story = Story(facts=DeviceFacts("oven", "Oven one", "Denver", {"temperature": "°C"}))
    (told,) = story.say(
        opened(expected=20.5, reason="temperature 26 is 6 std above 20", at=START_US - 90 * SECOND)
    )
    assert told.title == "[WARNING] temperature of oven-1 at Denver: spike"
    assert told.body == (
        "WARNING: spike, temperature of oven-1 at Denver (Oven one, oven)\n"
        "  value 26 °C, expected 20.5 °C (16 to 24)\n"
        "  since 2023-11-14 22:11:50 UTC, open for 1m30s\n"
        "  temperature 26 is 6 std above 20\n"
        "  https://watch.example/#/device/oven-1"
    )
