"""The settings: precedence, strictness, messages that help, secrets that stay secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.settings import (
    MASK,
    KafkaSettings,
    Settings,
    SettingsError,
    TopicSettings,
    describe_settings,
    is_secret_option,
    load_settings,
)
from schemas.settings_sources import parse_options


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "sigmawatch.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(config_file=None, overrides=None, environ=None):
    with pytest.raises(SettingsError) as caught:
        load_settings(config_file, overrides, environ or {})
    assert isinstance(caught.value, ConfigError)
    assert "\n" not in str(caught.value)
    return list(caught.value.problems)


def test_defaults():
    settings = load_settings(environ={})
    assert settings == Settings()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert (settings.processor.window, settings.processor.panes, settings.processor.k) == (600.0, 10, 4.0)
    assert settings.database.url is None
    assert settings.schema_registry.url is None


def test_flags_over_environment_over_file_over_defaults(file):
    path = file("topics: {readings: from-file, devices: from-file-too, anomalies: file-only}\n")
    environ = {"SIGMAWATCH_TOPICS__READINGS": "from-env", "SIGMAWATCH_TOPICS__DEVICES": "env"}
    settings = load_settings(path, {"topics.readings": "from-flag", "topics.partitions": None}, environ)
    assert settings.topics == TopicSettings(
        readings="from-flag", devices="env", anomalies="file-only", partitions=8
    )


def test_the_environment_names_the_file_and_a_flag_wins(file, tmp_path):
    named = file("topics: {partitions: 3}")
    environ = {"SIGMAWATCH_CONFIG": str(named)}
    assert load_settings(environ=environ).topics.partitions == 3
    other = tmp_path / "other.yaml"
    other.write_text("topics: {partitions: 4}")
    assert load_settings(other, environ=environ).topics.partitions == 4


def test_options_are_put_together_key_by_key(file):
    path = file('kafka: {options: {linger.ms: 5, enable.idempotence: true, "a": "x"}}')
    environ = {"SIGMAWATCH_KAFKA__OPTIONS": '{"sasl.mechanism": "PLAIN", "linger.ms": 7}'}
    settings = load_settings(path, {"kafka.options.sasl.mechanism": "SCRAM-SHA-256"}, environ)
    assert settings.kafka.options == {
        "linger.ms": "7",
        "enable.idempotence": "true",
        "a": "x",
        "sasl.mechanism": "SCRAM-SHA-256",
    }


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("90", 90), ("500ms", 0.5)])
def test_durations_in_the_environment(text, seconds):
    assert load_settings(environ={"SIGMAWATCH_PROCESSOR__WINDOW": text}).processor.window == seconds


def test_an_empty_variable_is_not_set():
    assert load_settings(environ={"SIGMAWATCH_TOPICS__PARTITIONS": "", "SIGMAWATCH_CONFIG": ""}) == Settings()


def test_an_empty_file_and_an_empty_section_are_fine(file):
    assert load_settings(file(""), environ={}) == Settings()
    assert load_settings(file("kafka:\n  # bootstrap_servers: x\n"), environ={}) == Settings()


def test_unknown_keys_name_the_place_and_the_nearest_key(file):
    path = file("kafka:\n  bootstrap_server: x:1\nprocesor:\n  k: 3\nwindow: 5m\nzzzzzz: 1\n7: 8\n")
    environ = {"SIGMAWATCH_KAFKA__BOOTSTRAP_SERVER": "x", "SIGMAWATCH_STATEDIR": "x", "UNRELATED": "x"}
    assert problems(path, {"kafka.option.x": 1, "topic.readings": "x"}, environ) == [
        f"{path}: kafka.bootstrap_server is no setting. Did you mean kafka.bootstrap_servers?",
        f"{path}: procesor is no setting. Did you mean processor?",
        f"{path}: window is no setting. Did you mean processor.window?",
        f"{path}: zzzzzz is no setting.",
        f"{path}: 7 is no setting.",
        (
            "environment variable SIGMAWATCH_KAFKA__BOOTSTRAP_SERVER is no setting."
            " Did you mean SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS?"
        ),
        "environment variable SIGMAWATCH_STATEDIR is no setting. Did you mean SIGMAWATCH_STATE_DIR?",
        "flag for kafka.option.x: no such setting. Did you mean kafka.options?",
        "flag for topic.readings: no such setting. Did you mean topics.readings?",
    ]


def test_bad_values_name_place_value_and_what_is_expected(file):
    path = file("topics:\n  partitions: yes\n  readings: 'no good'\nlog: {format: xml}\n")
    environ = {"SIGMAWATCH_PROCESSOR__WINDOW": "10 parsecs", "SIGMAWATCH_PROCESSOR__PANES": "0"}
    found = problems(path, {"processor.k": -1, "kafka.bootstrap_servers": "http://broker"}, environ)
    assert sorted(found) == sorted(
        [
            f"{path}: topics.partitions is True: expected a number",
            (
                f"{path}: topics.readings is 'no good': expected a topic's name: up to 249 letters, digits, dots, dashes,"
                " underscores"
            ),
            f"{path}: log.format is 'xml': should be 'console' or 'json'",
            (
                "environment variable SIGMAWATCH_PROCESSOR__WINDOW: processor.window is '10 parsecs': expected a length of"
                " time: seconds, or as in 500ms, 30s, 10m, 1h30m, 7d"
            ),
            (
                "environment variable SIGMAWATCH_PROCESSOR__PANES: processor.panes is '0': should be greater than or"
                " equal to 1"
            ),
            "flag for processor.k is -1: should be greater than 0",
            "flag for kafka.bootstrap_servers is 'http://broker': expected HOST:PORT, or several with commas between",
        ]
    )


def test_unknown_keys_and_bad_values_come_together(file):
    found = problems(file("kafca: {}\n"), {"topics.partitions": 0})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("kafka:\n  bootstrap_servers: [x\n", "line 3, column 1"),
        ("kafka:\n\tbootstrap_servers: x\n", "line 2, column 1"),
        ("a: b: c\n", "line 1, column 5"),
        ("log: {level: info}\nkafka: {}\nlog: {format: json}\n", "line 3, column 1: log is said twice"),
        ("topics: !!python/object:os.system {}\n", "line 1, column 9"),
        ("- a\n", "found a list"),
        ("just text", "found a text"),
        ("kafka: broker:9092\n", "kafka is a section"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        ("a: \0", "special characters"),
    ],
)
def test_a_broken_file_says_where(file, text, where):
    path = file(text)
    (problem,) = problems(path)
    assert problem.startswith(str(path))
    assert where in problem


def test_a_missing_file(tmp_path):
    (problem,) = problems(tmp_path / "nowhere.yaml")
    assert problem.endswith("nowhere.yaml: cannot be read: No such file or directory")


def test_settings_that_do_not_fit_each_other():
    assert problems(overrides={"topics.readings": "devices"}) == [
        "topics: readings, devices, anomalies, commands and replies must be different topics"
    ]
    assert problems(overrides={"processor.heartbeat": "3s"}) == [
        "processor: heartbeat must be at most a third of session_timeout"
    ]
    assert "window" in problems(overrides={"processor.window": "1s", "processor.panes": 7})[0]


def test_kubernetes_service_links_and_test_variables_are_not_ours():
    environ = {
        "SIGMAWATCH_PROCESSOR_SERVICE_HOST": "10.0.0.1",
        "SIGMAWATCH_PROCESSOR_SERVICE_PORT": "80",
        "SIGMAWATCH_PROCESSOR_SERVICE_PORT_HTTP": "80",
        "SIGMAWATCH_PROCESSOR_PORT": "tcp://10.0.0.1:80",
        "SIGMAWATCH_PROCESSOR_PORT_80_TCP": "tcp://10.0.0.1:80",
        "SIGMAWATCH_PROCESSOR_PORT_80_TCP_ADDR": "10.0.0.1",
        "SIGMAWATCH_TEST_BROKER": "kafka",
        "SIGMAWATCH_FAILPOINT": "x",
    }
    assert load_settings(environ=environ) == Settings()
    assert problems(environ={"SIGMAWATCH_PROCESSOR_PORT": "80"}) == [
        "environment variable SIGMAWATCH_PROCESSOR_PORT is no setting. Did you mean SIGMAWATCH_PROCESSOR__WEB_PORT?"
    ]


SECRETS = {
    "database.url": "postgresql://u:hush@h/d",
    "kafka.options": {
        "sasl.password": "hush",
        "ssl.key.password": "hush",
        "sasl.oauthbearer.client.secret": "hush",
    },
    "schema_registry.options": {"basic.auth.user.info": "u:hush", "bearer.auth.token": "hush"},
}


def test_secrets_are_never_printed():
    settings = load_settings(None, SECRETS, {})
    assert settings.database.url.get_secret_value() == "postgresql://u:hush@h/d"
    assert settings.kafka.options["sasl.password"] == "hush"
    for shown in (
        repr(settings),
        str(settings),
        f"{settings.kafka}",
        repr(settings.kafka.options),
        f"{settings.database!r}",
    ):
        assert "hush" not in shown
        assert MASK in shown


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database.url", "mysql://u:hush@h/d"),
        ("kafka.options", '{"sasl.password": "hush"'),
        ("kafka.options", {"sasl.password": ["hush"]}),
        ("schema_registry.url", "http://u:hush@h"),
        ("schema_registry.url", "ftp://u:hush@h"),
    ],
)
def test_secrets_are_not_in_errors(key, value):
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {key: value}, {})
    error = caught.value
    while error is not None:
        assert "hush" not in repr(error) + str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("key", ["ssl.key.location", "sasl.mechanism", "sasl.username", "ssl.ca.location"])
def test_other_options_are_shown(key):
    assert not is_secret_option(key)
    assert "seen" in repr(load_settings(None, {f"kafka.options.{key}": "seen"}, {}))


def test_settings_are_frozen_and_strict_by_hand_too():
    with pytest.raises(ValidationError):
        Settings().topics.readings = "x"
    with pytest.raises(ValidationError):
        KafkaSettings(bootstrap_server="x")


def test_every_setting_is_described_and_its_variable_works():
    described = describe_settings()
    assert len({entry.key for entry in described}) == len(described)
    for entry in described:
        assert entry.description.endswith("."), entry.key
        assert entry.type
        if entry.default:
            settings = load_settings(environ={entry.variable: entry.default})
            assert settings == Settings(), entry.key
    keys = {entry.key: entry for entry in described}
    assert keys["processor.window"].type == "duration"
    assert keys["processor.window"].default == "10m"
    assert keys["database.url"].type == "secret"
    assert keys["kafka.bootstrap_servers"].variable == "SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS"


def test_options_from_text():
    assert parse_options('{"a": 1, "b": false, "c": 0.5, "d": "x"}') == {
        "a": "1",
        "b": "false",
        "c": "0.5",
        "d": "x",
    }
    for bad in ("[]", "x", 5, None, {1: "x"}, {"a": None}, {"a": {}}):
        with pytest.raises(ValueError, match="expected options"):
            parse_options(bad)


@pytest.mark.parametrize("speed", [("max", float("inf")), ("60x", 60.0), (2, 2.0)])
def test_speed(speed):
    assert load_settings(None, {"simulate.speed": speed[0]}, {}).simulate.speed == speed[1]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from([entry.key for entry in describe_settings()]), json_like)
def test_no_value_breaks_the_loader(key, value):
    message = "none"
    try:
        assert isinstance(load_settings(None, {key: value}, {}), Settings)
    except ConfigError as error:
        message = str(error)
    assert message
