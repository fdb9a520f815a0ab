"""The routes file: read strictly, its mistakes told with their lines, its secrets told to nobody."""

import pytest

from schemas.errors import ConfigError
from sinks.notify.routes import Limit
from sinks.notify.routes_file import parse_routes, read_routes

FULL = """
timezone: Europe/Berlin
targets:
  mail: mailtos://${MAIL_USER}:${MAIL_PASSWORD}@mail.example?to=ops@plant.example
  slack: ${SLACK}
routes:
- name: night
  match: {severity: CRITICAL, type: [oven, kiln], place: Den*, device: "oven-?", metric: temperature, kind: off}
  targets: [mail, slack, "ntfys://ntfy.example/ovens"]
  tell: OPENED
  group_by: [type, place]
  wait: 1m
  minimum_open: 90s
  limit: 3/10m
  quiet: {from: 22:00, to: 7:00, days: [sat, sun], critical: wait}
  repeat: 4h
  delivery: at-most-once
  title: "{severity} {{at}} {place}"
  continue: yes
- {name: rest, targets: "${SLACK}", limit: off}
"""
ENVIRONMENT = {"MAIL_USER": "me@plant", "MAIL_PASSWORD": "p/w", "SLACK": "slack://T/B/C"}


def parse(text, environ=None):
    return parse_routes(text.encode(), "routes.yaml", ENVIRONMENT if environ is None else environ)


def test_every_key_of_a_full_file():
    routes = parse(FULL)
    night, rest = routes.routes
    assert night.targets == ("mail", "slack", "night#3")
    assert rest.targets == ("rest#1",)
    assert night.limit == Limit(3, 600_000_000)
    assert rest.limit is None
    assert night.match.kind == ("off",), "a kind, not false"
    assert night.also
    assert (night.wait_us, night.minimum_open_us, night.repeat_us) == (60_000_000, 90_000_000, 14_400_000_000)
    assert str(night.quiet.zone) == "Europe/Berlin"
    assert routes.targets["mail"].get_secret_value() == (
        "mailtos://me%40plant:p%2Fw@mail.example?to=ops@plant.example"
    )
    assert routes.targets["rest#1"].get_secret_value() == "slack://T/B/C"
    assert "p/w" not in repr(routes)
    assert "p%2Fw" not in repr(routes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("routes: [{name: a, targets: json://x, severty: 1}]", "line 1: routes[0].severty: no such key"),
        (
            "routes:\n- {name: a, targets: json://x}\nrutes: []",
            "line 3: rutes: no such key. Did you mean routes?",
        ),
        (
            "routes:\n- name: a\n  targets: json://x\n  match: {palce: Denver}",
            "line 4: routes[0].match.palce: no such key. Did you mean place?",
        ),
        ("routes: [{name: a, targets: json://x, quiet: {form: 1:00}}]", "Did you mean from?"),
        ("routes: [{name: a, targets: json://x, group_by: [devcie]}]", "Did you mean device?"),
        ("routes: [{name: a, targets: json://x, limit: 5}]", "expected a limit as 10/hour"),
        ("routes: [{name: a, targets: json://x, limit: 0/hour}]", "expected a limit as 10/hour"),
        ("routes: [{name: a, targets: json://x, wait: soon}]", "expected a length of time"),
        (
            "routes: [{name: a, targets: json://x, quiet: {from: 25:00, to: 1:00}}]",
            "a time of the day as 22:00",
        ),
        ("routes: [{name: a, targets: json://x, quiet: {from: 1:00, to: 1:00}}]", "the same time"),
        (
            "timezone: Mars/Base\nroutes: [{name: a, targets: json://x}]",
            "line 1: timezone: expected a time zone",
        ),
        ("routes: [{name: a, targets: json://x, title: '{devce}'}]", "did you mean {device}?"),
        ("routes: [{name: a, targets: json://x, body: '{'}]", "{{ or }} for a brace itself"),
        (
            "routes: [{name: a, targets: json://x, body: '{device.__class__}'}]",
            "there is no {device.__class__}",
        ),
        ("routes: [{targets: json://x}]", "routes[0].name: is missing"),
        ("routes: []", "routes: should have at least 1 item"),
        ("routes: [{name: a, targets: json://x}, {name: a, targets: json://x}]", "the name a is given twice"),
        (
            "targets: {ops: json://x}\nroutes:\n- {name: a, targets: [opps]}",
            "line 3: routes[0].targets[0]: there is no",
        ),
        (
            "targets: {a: '${NOPE}'}\nroutes: [{name: a, targets: a}]",
            "line 1: targets.a: the environment has no NOPE",
        ),
        ("routes: [", "line 1"),
        ("routes: [{name: a, name: b}]", "name is said twice"),
        ("- 1", "routes.yaml"),
        ("", "routes: is missing"),
    ],
)
def test_mistakes_are_told_with_their_place(text, told):
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert told in str(refused.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError, match="3 problems"):
        parse("routes: [{name: a, targets: json://x, limit: 5, wait: x, tell: OPEN}]")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_routes(tmp_path / "none.yaml")


def test_no_secret_in_a_mistake():
    with pytest.raises(ConfigError) as refused:
        parse(
            "targets: {'a b': 'json://me:hunter2@x'}\nroutes: [{name: a, targets: 7, delivery: 'json://hunter2'}]"
        )
    assert "hunter2" not in str(refused.value)
