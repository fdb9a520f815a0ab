"""Notifications from a real broker, through a real database, to real receivers."""

import json

import psycopg
import pytest

from deploy.cli.main import main
from sinks.notify.deliveries import Patience
from sinks.notify.outbox import read_status
from tests.support.sinks import Database, Topics, running
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

ROUTES = "routes: [{{name: ops, targets: ['{url}'], wait: 0, limit: off}}]"


def status_of(store: Database, topics: Topics):
    with psycopg.connect(store.url) as connection:
        return read_status(connection, topics.group)


def settled(store: Database) -> bool:
    return store.query("SELECT count(*) FROM notifications WHERE settled_at IS NULL") == [(0,)]


def test_each_is_told_once_over_restarts(plain_database, topics, webhooks, notifier, alarm, over) -> None:
    routes = ROUTES.format(url=webhooks.url())
    opened = [alarm(number) for number in range(6)]
    topics.send_anomalies([*opened, *opened[:3], alarm(99, opened_at=1_000_000)])
    topics.send(topics.anomalies, [(b"k", b"rubbish"), (b"k", None)])
    with running(notifier(plain_database.url, routes)) as worker:
        until(lambda: len(webhooks.calls) >= 6 and settled(plain_database))
        until(lambda: worker.ready and worker.alive)
    topics.send_anomalies([*opened, *map(over, opened)])
    with running(notifier(plain_database.url, routes)):
        until(lambda: len(webhooks.calls) >= 12 and settled(plain_database))
    wanted = {(f"device-{number}", state): 1 for number in range(6) for state in ("OPENED", "CLEARED")}
    assert webhooks.told() == wanted
    assert len(set(webhooks.keys())) == 12
    assert plain_database.totals()[topics.anomalies] == (22, 0, 0, 2)
    assert len(topics.read_all(f"{topics.anomalies}.dlq", 2)) == 2
    (target,) = status_of(plain_database, topics).targets
    assert target.counts == {"sent": 12}
    document = webhooks.calls[0].document
    assert document["title"].startswith("[WARNING] temperature of device-")
    assert document["severity"] == "WARNING"
    assert document["anomalies"][0]["value"] == 40.0


def test_two_workers_share_and_do_not_double(plain_database, topics, webhooks, notifier, alarm) -> None:
    routes = ROUTES.format(url=webhooks.url()).replace("wait: 0", "wait: 1s, group_by: []")
    with running(notifier(plain_database.url, routes)) as first:
        until(lambda: first.ready)
        with running(notifier(plain_database.url, routes)) as second:
            until(lambda: first.ready and second.ready)
            topics.send_anomalies([alarm(number) for number in range(40)])
            until(lambda: sum(webhooks.told().values()) >= 40 and settled(plain_database))
            # The one that stays tells what is due, whoever has taken it.
            topics.send_anomalies([alarm(number) for number in range(40, 60)])
        until(lambda: sum(webhooks.told().values()) >= 60 and settled(plain_database))
    assert set(webhooks.told().values()) == {1}
    assert len(webhooks.calls) < 20, "in groups over all partitions"


def test_a_target_that_fails_blocks_no_other(
    plain_database, topics, webhooks, notifier, alarm, over, caplog
) -> None:
    routes = f"""
targets:
  good: {webhooks.url("/good")}
  bad: "json://user:hunter2pass@127.0.0.1:{webhooks.port}/bad/s3cretpath?+X-Token=t0ken123&-key=v4lue123"
routes: [{{name: ops, targets: [bad, good], wait: 0, limit: off}}]"""
    bad = "/bad/s3cretpath"
    webhooks.answers[bad] = 503
    opened = alarm(1)
    topics.send_anomalies([opened, alarm(2)])
    with running(notifier(plain_database.url, routes)):
        until(lambda: len(webhooks.taken("/good")) == 2)
        topics.send_anomalies([over(opened)])
        until(lambda: len(webhooks.taken("/good")) == 3)
        until(lambda: len([call for call in webhooks.calls if call.path == bad]) > 4)
        trouble = status_of(plain_database, topics).troubles
        webhooks.answers.clear()
        until(lambda: len(webhooks.taken(bad)) == 3 and settled(plain_database))
    attempts = [call for call in webhooks.calls if call.path == bad]
    assert len({call.headers["Idempotency-Key"] for call in attempts}) == 3, "the same key each time"
    assert attempts[0].headers["X-Token"] == "t0ken123"
    told = [
        (each["device_id"], each["state"])
        for call in webhooks.taken(bad)
        for each in call.document["anomalies"]
    ]
    assert told.index(("device-1", "OPENED")) < told.index(("device-1", "CLEARED"))
    assert "error=503" in trouble[0].error
    said = caplog.text + repr(trouble) + json.dumps(status_of(plain_database, topics).to_json())
    said += str(plain_database.query("SELECT * FROM notifications")) + str(
        plain_database.query("SELECT * FROM notify_state")
    )
    for secret in ("hunter2", "s3cret", "t0ken", "v4lue"):
        assert secret not in said


def test_what_nobody_takes_is_given_up_and_seen(
    plain_database, topics, webhooks, notifier, alarm, capsys
) -> None:
    webhooks.answers["/hook"] = 400
    topics.send_anomalies([alarm(1)])
    worker = notifier(
        plain_database.url, ROUTES.format(url=webhooks.url()), patience=Patience(0.05, 0.1, 0.2)
    )
    with running(worker):
        until(lambda: worker.ready)
        until(lambda: [each.state for each in status_of(plain_database, topics).troubles] == ["failed"])
    arguments = ["notify", "status", "--group", topics.group, "--database", plain_database.url]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "failed (" in said
    assert "error=400" in said
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["counts"] == {"failed": 1}
    value = worker.metrics.registry.get_sample_value
    assert value("sigmawatch_notify_deliveries_total", {"target": "ops#1", "outcome": "failed"}) == 1
    assert len(webhooks.calls) >= 2


def test_mail_with_what_the_database_knows_of_the_device(
    plain_database, topics, mailbox, notifier, alarm
) -> None:
    routes = f"""
timezone: Europe/Berlin
routes:
- name: ovens
  match: {{type: oven, place: Den*}}
  targets: "mailto://127.0.0.1:{mailbox.port}?from=watch@plant.example&to=ops@plant.example&mode=insecure"
  wait: 0
"""
    with running(notifier(plain_database.url, routes)) as worker:
        until(lambda: worker.ready)
        plain_database.query(
            """INSERT INTO devices (device_id, type, name, location, manufacturer, model, firmware, serial_number, units,
               attributes) VALUES ('device-1', 'oven', 'Oven <one>', 'Denver', '', '', '', '', '{"temperature": "°C"}', '{}')"""
        )
        topics.send_anomalies([alarm(2), alarm(1, reason="far <b>above</b>")])
        until(lambda: mailbox.mails)
    ((recipients, mail),) = mailbox.mails
    assert recipients == ["ops@plant.example"]
    subject = str(mail["Subject"])
    assert "device-1" in subject
    assert "Denver" in subject
    texts = [part.get_payload(decode=True).decode() for part in mail.walk() if not part.is_multipart()]
    assert any("value 40 °C" in text.replace("&nbsp;", " ") for text in texts)
    assert all("<b>above" not in text for text in texts if "<html" in text or "&lt;" in text)


def test_at_most_once_is_not_repeated_after_a_lost_lease(
    plain_database, topics, webhooks, notifier, alarm
) -> None:
    """What a dead worker had in hand: one route tries again, the other says that nobody knows."""
    routes = f"""
targets: {{again: '{webhooks.url("/again")}', once: '{webhooks.url("/once")}'}}
routes:
- {{name: again, targets: again, wait: 0, continue: true}}
- {{name: once, targets: once, wait: 0, delivery: at-most-once}}"""
    topics.send_anomalies([alarm(1)])
    with running(notifier(plain_database.url, routes)):
        until(lambda: len(webhooks.calls) == 2 and settled(plain_database))
    plain_database.query(
        "UPDATE notifications SET state = 'sending', settled_at = NULL, lease = gen_random_uuid(), lease_until = now()"
    )
    with running(notifier(plain_database.url, routes)):
        until(lambda: len(webhooks.calls) == 3 and settled(plain_database))
    assert [call.path for call in webhooks.calls].count("/again") == 2
    assert len(set(webhooks.keys("/again"))) == 1
    (trouble,) = status_of(plain_database, topics).troubles
    assert (trouble.state, trouble.target) == ("unknown", "once")


def test_an_outage_of_the_database_is_waited_out(
    embedded_database, topics, webhooks, notifier, alarm, over
) -> None:
    opened = [alarm(number) for number in range(20)]
    with running(notifier(embedded_database.url, ROUTES.format(url=webhooks.url()))) as worker:
        until(lambda: worker.ready)
        topics.send_anomalies(opened[:10])
        until(lambda: sum(webhooks.told().values()) == 10)
        webhooks.hold.clear()
        topics.send_anomalies(opened[10:])
        until(lambda: worker._deliveries.busy)
        embedded_database.server.stop()
        webhooks.hold.set()
        until(lambda: worker._database.waiting)
        assert worker.alive
        assert not worker.ready
        embedded_database.server.start()
        topics.send_anomalies([over(each) for each in opened])
        until(lambda: sum(webhooks.told().values()) >= 40 and settled(embedded_database))
    assert webhooks.told() == {
        (f"device-{n}", state): 1 for n in range(20) for state in ("OPENED", "CLEARED")
    }
