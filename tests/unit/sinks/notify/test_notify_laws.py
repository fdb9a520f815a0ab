"""Laws of what is told, over any order of messages, repeats, restarts and times."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from notify_stories import HOUR, MINUTE, SECOND, Story, cleared, opened, route, states, storm

from schemas.readings import AnomalySeverity
from schemas.testing import START_US
from sinks.notify.alarms import DeviceFacts

SEVERITIES = list(AnomalySeverity)
QUIET = {"from": "22:30", "to": "23:30"}
"""Begins 17 minutes behind the stories' first moment, and lasts an hour."""

some_routes = st.fixed_dictionaries(
    {
        "wait": st.sampled_from([0, "30s", "5m"]),
        "group_by": st.sampled_from([[], ["device"], ["place"], ["kind", "severity"]]),
        "limit": st.sampled_from(["off", "1/10m", "3/10m", "5/1h"]),
        "quiet": st.sampled_from([None, QUIET, QUIET | {"critical": "wait"}]),
        "tell": st.sampled_from([["OPENED", "CLEARED"], ["OPENED"], ["CLEARED"]]),
        "repeat": st.sampled_from([None, "20m"]),
    }
)
alarms = st.integers(1, 8)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), alarms, st.sampled_from(SEVERITIES)),
        st.tuples(st.just("clear"), alarms),
        st.tuples(st.just("wait"), st.sampled_from([SECOND, 20 * SECOND, MINUTE, 11 * MINUTE, HOUR])),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


class Teller:
    """Plays steps on a story; every alarm is opened and cleared once, and messages come again and again."""

    def __init__(self, story: Story, *, restarts: bool = True) -> None:
        self.story = story
        self.restarts = restarts
        self.opened: dict = {}
        self.cleared: dict = {}

    def play(self, given_steps) -> None:
        for step, *values in given_steps:
            getattr(self, step)(*values)

    def open(self, number, severity) -> None:
        self.opened.setdefault(number, opened(number, self.story.now, severity=severity))
        self.story.say(self.opened[number])

    def clear(self, number) -> None:
        if number in self.opened:
            over = cleared(self.opened[number], self.story.now)
            self.story.say(self.cleared.setdefault(number, over))

    def wait(self, us) -> None:
        self.story.wait(us)

    def restart(self) -> None:
        if self.restarts:
            self.story.restart()


def told_of(story, name):
    """(anomaly_id, state) -> how often, but for repeats."""
    return Counter(
        (each.alarm.anomaly_id, each.state)
        for _, notification in story.told
        if notification.route == name
        for each in notification.told
        if each.state != "OPEN"
    )


def require_told_once(story, teller, chosen) -> None:
    """Each alarm is told as the route wants it: once, and to the end."""
    found = told_of(story, chosen.name)
    for number, alarm in teller.opened.items():
        key = str(alarm.anomaly_id)
        told = {state: found.pop((key, state), 0) for state in ("OPENED", "CLEARED", "BRIEF")}
        over = number in teller.cleared
        if "OPENED" not in chosen.tell:
            assert told == {"OPENED": 0, "CLEARED": 0, "BRIEF": over}
        elif over:
            assert told["OPENED"] + told["BRIEF"] == 1, "told as open, or when it was over already"
            assert told["CLEARED"] == (told["OPENED"] == 1 and "CLEARED" in chosen.tell)
        else:
            assert told == {"OPENED": 1, "CLEARED": 0, "BRIEF": 0}
    assert not +found


def require_limit(story, chosen) -> None:
    if chosen.limit is None:
        return
    times = [at for at, each in story.told if each.route == chosen.name]
    for index, at in enumerate(times):
        assert (
            sum(at - chosen.limit.period_us < other <= at for other in times[: index + 1])
            <= chosen.limit.most
        )


def require_quiet(story, chosen) -> None:
    if chosen.quiet is None:
        return
    for at, notification in story.told:
        if notification.route == chosen.name and chosen.quiet.until(at) is not None:
            assert chosen.quiet.critical == "pass"
            assert all(each.alarm.is_critical and each.alarm.cleared_at is None for each in notification.told)


@given(some_routes, steps)
def test_nothing_is_lost_or_doubled_and_promises_are_kept(fields, given_steps) -> None:
    chosen = route(**fields)
    story = Story(chosen)
    teller = Teller(story)
    teller.play(given_steps)
    story.wait(4 * HOUR)
    require_told_once(story, teller, chosen)
    require_limit(story, chosen)
    require_quiet(story, chosen)
    assert len({each.notification_id for _, each in story.told}) == len(story.told)


@given(some_routes, steps)
def test_restarts_change_nothing(fields, given_steps) -> None:
    stories = []
    for restarts in (True, False):
        story = Story(route(**fields), route("other", match={"severity": "CRITICAL"}))
        Teller(story, restarts=restarts).play(given_steps)
        stories.append([*story.told, *story.wait(2 * HOUR)])
    assert stories[0] == stories[1]


@given(
    st.sampled_from(["type:oven", "place:Denver", "type:lamp"]),
    st.sampled_from([0, "30s"]),
    st.lists(
        st.one_of(
            st.tuples(st.just("member"), st.integers(1, 6)),
            st.tuples(st.just("storm"), st.integers(5, 9)),
            st.tuples(st.just("clear"), st.integers(1, 6)),
            st.tuples(st.just("over")),
            st.tuples(st.just("wait"), st.sampled_from([SECOND, MINUTE, HOUR])),
            st.tuples(st.just("restart")),
        ),
        max_size=30,
    ),
)
def test_a_storm_is_told_once_and_never_beside_its_members(group, wait, given_steps) -> None:
    story = Story(
        route("place", match={"place": "Denver"}, wait=wait), route("rest", wait=wait), max_age=20 * HOUR
    )
    whirl = storm(100, group)
    known = over = False
    known_at: int | None = None
    members: dict = {}
    for step, *values in given_steps:
        if step == "member":
            members.setdefault(values[0], opened(values[0], story.now, storm_id=whirl.anomaly_id))
            story.say(members[values[0]])
        elif step == "storm":
            known_at = story.now if not known else known_at
            known = True
            story.say(storm(100, group, devices=values[0]))
        elif step == "clear" and values[0] in members:
            story.say(cleared(members[values[0]], story.now))
        elif step == "over" and known:
            over = True
            story.say(cleared(whirl, story.now))
        elif step == "wait":
            story.wait(values[0])
        elif step == "restart":
            story.restart()
    story.wait(2 * HOUR)
    for name in ("place", "rest"):
        found = told_of(story, name)
        opens = found[str(whirl.anomaly_id), "OPENED"] + found[str(whirl.anomaly_id), "BRIEF"]
        assert opens <= 1
        assert found[str(whirl.anomaly_id), "CLEARED"] == (over and found[str(whirl.anomaly_id), "OPENED"])
    for at, notification in story.told:
        for each in notification.told:
            if not each.alarm.is_storm and each.state == "OPENED":
                assert known_at is None or at <= known_at, "a member was told although its storm was known"
    storm_taken = any(
        told_of(story, name)[str(whirl.anomaly_id), state]
        for name in ("place", "rest")
        for state in ("OPENED", "BRIEF")
    )
    assert storm_taken == known


@given(steps, st.sampled_from([0, 60, 700]))
def test_what_is_too_short_is_told_to_nobody(given_steps, seconds) -> None:
    chosen = route(minimum_open=seconds)
    story = Story(chosen)
    teller = Teller(story)
    teller.play(given_steps)
    story.wait(HOUR)
    told = {each.alarm.anomaly_id for _, notification in story.told for each in notification.told}
    for number, alarm in teller.opened.items():
        over = teller.cleared.get(number)
        long_enough = over is None or over.cleared_at - alarm.opened_at >= seconds * SECOND
        assert (str(alarm.anomaly_id) in told) == long_enough


@given(st.integers(0, 48 * 60), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Denver"]))
def test_quiet_hours_end_when_they_say(minutes, zone) -> None:
    quiet = route(quiet=QUIET | {"zone": zone}).quiet
    now = START_US + minutes * MINUTE
    end = quiet.until(now)
    assert end is None or (
        now < end <= now + HOUR and quiet.until(end) is None and quiet.until(end - 1) == end
    )


def test_states_of_a_story_without_facts() -> None:
    story = Story(facts=DeviceFacts())
    (told,) = story.say(opened())
    assert states(told) == ["OPENED"]
    assert " at " not in told.title
