"""Rules files: what is right becomes a profile, what is wrong is said with its line, key and remedy."""

import math
from dataclasses import fields, is_dataclass

import pytest

from processors.detection.document import rules_document
from processors.detection.keys import (
    KINDS,
    describe_keys,
    describe_storm_keys,
    flat,
    keys_of,
    sections,
)
from processors.detection.rules import RulesError, parse_rules, read_rules, shipped_rules
from processors.engine import telling
from processors.engine.profile import Profile
from processors.engine.settings import Sides
from processors.engine.storms import StormLimits
from schemas.errors import ConfigError

NOT_GIVEN = frozenset({("model", "number")})
"""Fields that no rule says: which model a series has is the book's business."""


def rules_of(text):
    return parse_rules(rules_document(text.encode(), "plant.yaml"))


def one(text):
    (rule,) = rules_of(f"rules:\n  - {{{text}}}\n").rules
    return rule


def problem(text):
    with pytest.raises(RulesError) as caught:
        rules_of(text)
    (said,) = caught.value.problems
    return said


def test_every_field_of_the_profile_is_a_key():
    for section, defaults in sections():
        have = {key.field for key in keys_of(section).values()} | {f for s, f in NOT_GIVEN if s == section}
        assert have == {
            entry.name for entry in fields(defaults) if not is_dataclass(getattr(defaults, entry.name))
        }
    named = {section.split(".")[0] for section, _ in sections()}
    assert named == {entry.name for entry in fields(Profile) if entry.name != "kinds"}


@pytest.mark.parametrize("described", describe_keys(), ids=lambda described: described.key)
def test_every_default_may_be_given_and_changes_nothing(described):
    text = described.default
    for part in reversed(described.key.split(".")):
        text = f"{{{part}: {text}}}"
    profile = rules_of(f"rules:\n  - {text}\n").rules[0].laid_over(Profile())
    assert flat(profile) == flat(Profile())
    assert profile.meaning == Profile().meaning


def test_the_detectors_names_can_all_be_renamed():
    said = {
        name for name in (*telling._QUALITY.values(), *telling._AT_FIRST.values()) if isinstance(name, str)
    }
    assert said <= set(KINDS)
    rule = one(f"kinds: {{{', '.join(f'{kind}: x_{kind}' for kind in KINDS)}}}")
    assert rule.laid_over(Profile()).kinds == {kind: f"x_{kind}" for kind in KINDS}


def test_keys_that_are_given_replace_and_the_others_stay():
    rule = one("alarm: {minimum_deviation: 2, sides: above}, jump: {threshold: 8, memory: {cap: 2}}")
    profile = rule.laid_over(Profile())
    assert profile.alarm.minimum_deviation == 2.0
    assert isinstance(profile.alarm.minimum_deviation, float)
    assert profile.alarm.sides is Sides.ABOVE
    assert profile.jump.threshold == 8.0
    assert profile.jump.memory.cap == 2.0
    assert profile.jump.memory.block == Profile().jump.memory.block
    assert profile.spike == Profile().spike


@pytest.mark.parametrize(
    ("text", "section", "field", "value"),
    [
        ("meaning: {pane: 10m}", "meaning", "pane_s", 600.0),
        ("meaning: {lowest: -40}", "meaning", "lowest", -40.0),
        ("meaning: {lowest: null}", "meaning", "lowest", -math.inf),
        ("meaning: {switch: true}", "meaning", "switch", True),
        ("window: {pane: 90}", "window", "pane_us", 90_000_000),
        ("window: {pane: 500ms}", "window", "pane_us", 500_000),
        ("alarm: {heat_decay: 1h30m}", "alarm", "heat_decay_s", 5400.0),
        ("range: {shrink: 1e-4}", "range", "shrink", 1e-4),
        ("jump: {on: false}", "jump", "on", False),
    ],
)
def test_values_are_as_people_write_them(text, section, field, value):
    assert getattr(getattr(one(text).laid_over(Profile()), section), field) == value


WRONG = [
    ("{jumb: {threshold: 8}}", "rules[0].jumb: no such key. Did you mean jump?"),
    ("{jump: {treshold: 8}}", "rules[0].jump.treshold: no such key. Did you mean threshold?"),
    ("{jump: {memory: {kap: 8}}}", "rules[0].jump.memory.kap: no such key. Did you mean cap?"),
    ("{jump: {threshold: high}}", "rules[0].jump.threshold is 'high': expected number above 0"),
    ("{jump: {threshold: 0}}", "rules[0].jump.threshold is 0: expected number above 0"),
    ("{jump: {threshold: true}}", "rules[0].jump.threshold is True: expected number above 0"),
    ("{jump: {threshold: .inf}}", "rules[0].jump.threshold is inf: expected number above 0"),
    ("{jump: {threshold: null}}", "rules[0].jump.threshold: expected number above 0"),
    ("{jump: {on: off}}", "rules[0].jump.on is 'off': expected true, false"),
    ("{jump: 8}", "rules[0].jump: expected keys and values, found a number"),
    ("{window: {panes: 2.5}}", "rules[0].window.panes is 2.5: expected whole number from 1 up to "),
    ("{window: {panes: 1000}}", "rules[0].window.panes is 1000: expected whole number from 1 up to "),
    ("{window: {pane: 5x}}", "rules[0].window.pane is '5x': expected a length of time"),
    ("{window: {pane: 0}}", "rules[0].window.pane is 0: expected duration from 1us"),
    ("{window: {pane: 1e300}}", "rules[0].window.pane is 1e+300: far too large"),
    ("{alarm: {sides: up}}", "rules[0].alarm.sides is 'up': expected below, both, above"),
    ("{alarm: {warmup: 1}}", "rules[0].alarm.warmup is 1: expected whole number from 2"),
    ("{meaning: {lowest: 5, highest: 5}}", "rules[0].meaning.lowest: expected less than highest"),
    ("{types: oven}", "rules[0].types: expected a list, found a text"),
    ("{types: []}", "rules[0].types: expected one at least; leave it out for all"),
    ("{metrics: [7]}", "rules[0].metrics[0] is 7: expected a text or pattern"),
    ("{kinds: {spyke: surge}}", "rules[0].kinds.spyke: no such key. Did you mean spike?"),
    ("{kinds: {spike: Big One}}", "rules[0].kinds.spike is 'Big One': expected a name of small letters"),
    (
        "{reset_on: [firmwere]}",
        "rules[0].reset_on[0] is 'firmwere': expected type or firmware. Did you mean firmware?",
    ),
    ("7", "rules[0]: expected keys and values, found a number"),
]


@pytest.mark.parametrize(("rule", "said"), WRONG, ids=[rule for rule, _ in WRONG])
def test_a_wrong_rule_is_said_with_its_line(rule, said):
    assert problem(f"rules:\n  # first\n  - {rule}\n").startswith(f"plant.yaml, line 3: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preset: fast", "plant.yaml, line 1: preset is 'fast': expected standard or moving-average"),
        ("rule: []", "plant.yaml, line 1: rule: no such key. Did you mean rules?"),
        ("rules: 5", "plant.yaml, line 1: rules: expected a list, found a number"),
        ("- 5", "plant.yaml: expected keys and values, found a list"),
    ],
)
def test_a_wrong_file_is_said(text, said):
    assert problem(text) == said


def test_all_problems_are_said_at_once_each_with_its_line():
    with pytest.raises(RulesError) as caught:
        rules_of("rules:\n  - jumb: {}\n    alarm:\n      calm: 0\n  - {spike: {threshold: x}}\n")
    assert [said.split(":")[0] for said in caught.value.problems] == [
        f"plant.yaml, line {n}" for n in (2, 4, 5)
    ]
    assert "sigmawatch detection check" in caught.value.remedy


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"rules: [", "line 1, column 9"),
        (b"rules: []\nrules: []", "line 2, column 1: rules is said twice"),
        (b"\xff", "not UTF-8"),
        (b"a: 2025-13-01", "month"),
        (b"[" * 10_000, "nested too deeply"),
        (b"a: !!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_what_is_no_yaml_is_said(data, said):
    with pytest.raises(ConfigError, match=said):
        parse_rules(rules_document(data, "plant.yaml"))


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_rules(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read_rules(large)


def test_storms_are_of_the_file_and_not_of_a_rule():
    said = rules_of("storms: {window: 5m, devices: 8, share: 0.5, quiet: 90}\n").storms
    assert said == StormLimits(window_us=300_000_000, devices=8, share=0.5, quiet_us=90_000_000)
    assert rules_of("storms: {on: false}").storms == StormLimits(on=False)
    assert rules_of("storms:").storms == rules_of("").storms == StormLimits()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storms: {device: 8}", "storms.device: no such key. Did you mean devices?"),
        ("storms: {devices: 1}", "storms.devices is 1: expected whole number from 2"),
        ("storms: {share: 30}", "storms.share is 30: expected number from 0 up to 1"),
        ("storms: {window: 0s}", "storms.window is '0s': expected duration from 1s"),
        ("storms: [5]", "storms: expected keys and values, found a list"),
        ("rules:\n- storms: {}", "rules[0].storms: no such key"),
    ],
)
def test_wrong_storms_are_said(text, said):
    assert said in problem(text)


@pytest.mark.parametrize("described", describe_storm_keys(), ids=lambda described: described.key)
def test_every_default_of_storms_may_be_given(described):
    name = described.key.removeprefix("storms.")
    assert rules_of(f"storms: {{{name}: {described.default}}}").storms == StormLimits()


@pytest.mark.parametrize("text", ["", "rules:", "preset: standard", "rules: []", "# nothing"])
def test_a_file_may_say_nothing(text):
    assert rules_of(text).rules == ()


def test_what_is_merged_in_has_the_line_where_it_is_said():
    text = "rules:\n  - &first\n    spike: &spike {threshold: 5}\n  - {spike: {<<: *spike, warmup: 3}}\n"
    assert rules_of(text).rules[1].changes == {"spike": {"threshold": 5.0, "warmup": 3.0}}
    with pytest.raises(RulesError) as caught:
        rules_of(text.replace("5}", "no}"))
    assert [said.split(" is ")[0] for said in caught.value.problems] == [
        f"plant.yaml, line 3: rules[{number}].spike.threshold" for number in (0, 1)
    ]


def test_the_shipped_rules_are_fine_and_say_only_what_is_known():
    assert shipped_rules().preset is None
    assert len(shipped_rules().rules) >= 3
