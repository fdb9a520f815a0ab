"""The bridge's rules: topics, paths, and what is refused when they are read."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from schemas.bridge_rules import (
    DEFAULT_RULES,
    BridgeRule,
    TopicPattern,
    fill_in,
    parse_path,
    require_separate,
    subscriptions,
)
from schemas.errors import ConfigError
from schemas.settings import Settings, load_settings

levels = st.lists(st.sampled_from(["a", "b", "+", ""]), min_size=1, max_size=3)
filters = st.builds(
    lambda above, rest: "/".join([*above, *rest]), levels, st.sampled_from([[], ["#"]])
).filter(bool)
# Every topic that could tell two such filters apart: a level deeper, and with a name that none has.
TOPICS = [
    "/".join(names) for depth in range(1, 6) for names in itertools.product(["a", "b", "c", ""], repeat=depth)
]


def matched(text):
    pattern = TopicPattern(text)
    return {topic for topic in TOPICS if pattern.match(topic) is not None}


@given(filters, st.sampled_from(TOPICS))
def test_a_pattern_matches_as_mqtt_says(text, topic):
    assert (TopicPattern(text).match(topic) is not None) == topic_matches_sub(text, topic)


@given(filters, filters)
def test_covering_and_overlapping(left, right):
    ours, theirs = matched(left), matched(right)
    assert TopicPattern(left).covers(TopicPattern(right)) == (theirs <= ours)
    assert TopicPattern(left).overlaps(TopicPattern(right)) == bool(ours & theirs)


def test_named_parts():
    pattern = TopicPattern("plant/{line}/+/{device_id}/#")
    assert pattern.filter == "plant/+/+/+/#"
    assert pattern.match("plant/7/x/boiler/a/b") == {"line": "7", "device_id": "boiler"}
    assert pattern.match("plant/7/x/boiler") == {"line": "7", "device_id": "boiler"}
    assert pattern.match("plant/7/x") is None
    assert pattern.match("plant/7\n/x/böiler/") == {"line": "7\n", "device_id": "böiler"}
    assert fill_in("{line}-{device_id}!", {"line": "7", "device_id": "b"}) == "7-b!"


@pytest.mark.parametrize(
    "text",
    ["", "a/#/b", "a#", "a/b+", "a/{x}y", "a/{x}/{x}", "a/{1}", "a/{}", "$share/g/a", "a\0", "x" * 70_000],
)
def test_no_topic(text):
    with pytest.raises(ValueError, match=r"expected|twice"):
        TopicPattern(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("power", ("power",)),
        ("$.a.b[0].c", ("a", "b", 0, "c")),
        ("$[3]", (3,)),
        ("""$["a.b"]['c d']""", ("a.b", "c d")),
        ("ä-1.b", ("ä-1", "b")),
    ],
)
def test_paths(text, steps):
    assert parse_path(text) == steps


@pytest.mark.parametrize("text", ["$.", "$a", "$..a", "a[", "a[-1]", "a[x]", "$.a b", "$[]"])
def test_no_path(text):
    with pytest.raises(ValueError, match="is no path"):
        parse_path(text)


def rule(**fields):
    return BridgeRule(**{"topic": "t/{device_id}", "metrics": {"$.v": "v"}, **fields})


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"metrics": {}}, "expected {path: metric"),
        ({"metrics": "v"}, "expected {path: metric"),
        ({"metrics": {"$.a": "x", "$.b": "x"}}, "one is there twice"),
        ({"metrics": {"$.a": "{line}"}}, "{line} is no part of the topic"),
        ({"device_id": "{line}"}, "{line} is no part of the topic"),
        ({"device_id": "$.."}, "is no path"),
        ({"time": "$.."}, "is no path"),
        ({"time_format": "epoch"}, "iso"),
        ({"fault_when": "$.a"}, "there is no fault"),
        ({"format": "number"}, "format number is one value"),
        ({"format": "number", "metrics": {"$": "v"}, "time": "$.t"}, "format number is one value"),
        ({"fromat": "json"}, "not permitted"),
    ],
)
def test_no_rule(fields, what):
    with pytest.raises(ValueError, match=what):
        rule(**fields)


def test_rules_that_get_in_each_others_way():
    a, b = rule(topic="a/+", device_id="d"), rule(topic="+/b", device_id="d")
    every, special = rule(topic="a/#", device_id="d"), rule(topic="a/b/c", device_id="d")
    assert require_separate((special, every)) == (special, every)
    assert subscriptions((special, every)) == ["a/#"]
    assert subscriptions((special, b)) == ["a/b/c", "+/b"]
    with pytest.raises(ValueError, match=r"rule \[1\] is never reached"):
        require_separate((every, special))
    with pytest.raises(ValueError, match=r"rules \[0\] and \[1\] share some topics"):
        require_separate((a, b))
    with pytest.raises(ValueError, match="one rule at least"):
        require_separate(())


def test_in_the_settings(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("bridge:\n  rules:\n  - {topic: 'a/{x}', device_id: '{x}', metrics: {t: temperature}}\n")
    (found,) = load_settings(file, environ={}).bridge.rules
    assert (found.topic, found.metrics) == ("a/{x}", {"t": "temperature"})
    variable = {"SIGMAWATCH_BRIDGE__RULES": json.dumps([{"topic": "b", "device_id": "d", "metrics": "*"}])}
    assert load_settings(file, environ=variable).bridge.rules[0].topic == "b"
    file.write_text("bridge:\n  rules:\n  - {topic: 'a/{x}', metric: {t: temperature}}\n  - 3\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ={})
    said = str(caught.value)
    assert "bridge.rules[0].metric" in said
    assert "no such key" in said
    assert "bridge.rules[1]" in said
    assert Settings().bridge.rules == DEFAULT_RULES


def test_secrets_are_not_repeated(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "bridge: {mqtt: 'http://me:hunter2@h', password: hunter2}\ningest: {token: 'hunter2', port: x}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ={})
    assert "hunter2" not in str(caught.value)
    assert "ingest.token" in str(caught.value)
    good = load_settings(None, {"bridge.mqtt": "mqtt://me:hunter2@h", "ingest.token": "hunter2" * 3}, {})
    assert "hunter2" not in repr(good)
