"""Targets: what Apprise is given, what it says, and what of it may be seen."""

import logging

import pytest
from pydantic import SecretStr

from schemas.errors import ConfigError
from sinks.notify.targets import Letter, Target
from tests.support.receivers import Webhooks

LETTER = Letter("key-1", "title", "body", "WARNING", [{"device_id": "a"}])


@pytest.fixture
def webhooks():
    with Webhooks() as server:
        yield server


def test_a_webhook_gets_the_particulars_and_the_key(webhooks, caplog):
    target = Target("hook", SecretStr(webhooks.url("/a?:extra=mine&+X-Own=1")), 5.0)
    assert target.deliver(LETTER).accepted
    (call,) = webhooks.calls
    assert call.headers["Idempotency-Key"] == "key-1"
    assert call.headers["X-Own"] == "1"
    assert call.document["title"] == "title"
    assert call.document["anomalies"] == [{"device_id": "a"}]
    assert call.document["extra"] == "mine"
    assert call.document["type"] == "warning"


def test_other_webhooks_get_the_key_too(webhooks):
    url = f"form://127.0.0.1:{webhooks.port}/a"
    assert Target("hook", SecretStr(url), 5.0).deliver(LETTER).accepted
    assert webhooks.calls[0].headers["Idempotency-Key"] == "key-1"


def test_what_goes_wrong_is_told_without_secrets(webhooks, caplog):
    caplog.set_level(logging.DEBUG)
    webhooks.answers["/path-s3cret"] = 401
    url = f"json://me:p%40ssw0rd@127.0.0.1:{webhooks.port}/path-s3cret?+Authorization=t0ken"
    target = Target("hook", SecretStr(url), 5.0)
    outcome = target.deliver(LETTER)
    assert not outcome.accepted
    assert "401" in outcome.error
    away = Target("gone", SecretStr("json://me:p%40ssw0rd@127.0.0.1:1/path-s3cret"), 1.0).deliver(LETTER)
    assert "127.0.0.1" in away.error
    said = f"{target!r}{outcome}{away}{caplog.text}"
    for secret in ("p@ssw0rd", "p%40ssw0rd", "s3cret", "t0ken"):
        assert secret not in said
    assert str(target) == f"hook (json://127.0.0.1:{webhooks.port})"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", "slack://T...2/A...D/T...Q"),
        ("mailtos://me:hunter2@mail.example?to=ops@plant.example", "mailtos://mail.example"),
        ("ntfys://me:hunter2@ntfy.example/topic1", "ntfys://ntfy.example/topic1"),
    ],
)
def test_addresses_are_shown_in_private(url, shown):
    target = Target("x", SecretStr(url))
    assert target.address.startswith(shown)
    assert "hunter2" not in str(target)


@pytest.mark.parametrize("url", ["nosuch://s3cretword", "slack://s3cretword", "s3cretword", "mailto://"])
def test_what_apprise_does_not_know_is_refused(url):
    with pytest.raises(ConfigError) as refused:
        Target("ops", SecretStr(url))
    assert "ops" in str(refused.value)
    assert "s3cretword" not in str(refused.value)


def test_a_target_that_raises_ends_nothing(webhooks, monkeypatch):
    target = Target("hook", SecretStr(webhooks.url("/very-secret")))

    def broken(*_, **__):
        raise ValueError("very-secret is broken")

    monkeypatch.setattr("apprise.Apprise.notify", broken)
    outcome = target.deliver(LETTER)
    assert outcome.error == "ValueError: *** is broken"
