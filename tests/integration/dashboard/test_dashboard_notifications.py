"""The button that sends a test to a route: a real Chromium, the real routes of notifications, a receiver on loopback."""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from schemas.settings import NotifySettings, Settings
from sinks.dashboard import DashboardSources
from sinks.notify.api import notify_router
from sinks.queries.connection import DatabaseAwayError
from tests.support.dashboards import served
from tests.support.receivers import Webhooks
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

expect.set_options(timeout=60_000)

TOKEN = "0123456789abcdef-secret"
AWAY = ["503"]  # what the page says of the database, which is none of this


@contextmanager
def no_database():
    raise DatabaseAwayError("the database does not answer", "Try again in a moment.")
    yield


@pytest.fixture
def webhooks():
    with Webhooks() as server:
        server.answers["/bad/s3cret"] = 404
        yield server


@pytest.fixture
def routes(tmp_path, webhooks):
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"targets: {{good: '{webhooks.url('/good')}', bad: '{webhooks.url('/bad/s3cret')}'}}\n"
        "routes: [{name: ovens, targets: [good, bad]}, {name: rest, targets: good}]"
    )
    return file


def page_of(routes, **settings):
    """The pipeline's page, over these routes."""
    router = notify_router(Settings(notify=NotifySettings(routes=routes, timeout=30.0)))
    return served(DashboardSources(connection=no_database), router, **settings)


def test_a_sample_goes_to_every_target_of_the_route(routes, webhooks, open_page):
    with page_of(routes) as url:
        page = open_page(f"{url}/#/pipeline", expected=AWAY)
        card = page.get_by_role("region", name="Notifications")
        rows = card.get_by_role("table", name="Routes of notifications").get_by_role("row")
        address = f"json://127.0.0.1:{webhooks.port}"
        expect(rows.nth(1)).to_contain_text(f"ovens{address}, {address}")
        assert webhooks.calls == []

        webhooks.hold.clear()
        button = card.get_by_role("button", name="Send a test to ovens")
        button.click()
        expect(card.get_by_text("Sending a test to ovens")).to_be_visible()
        expect(button).to_be_disabled()  # one click, one sample
        webhooks.hold.set()
        expect(card.get_by_text(f"{address} took it.")).to_be_visible()
        expect(card.get_by_text(re.compile(f"{re.escape(address)}: .*404"))).to_be_visible()
        expect(button).to_be_enabled()
        (sample,) = webhooks.taken("/good")
        assert sample.document["title"].startswith("[TEST] ")
        assert [call.status for call in webhooks.calls if call.path == "/bad/s3cret"][:1] == [404]

        card.get_by_role("button", name="Send a test to rest").click()
        until(lambda: len(webhooks.taken("/good")) == 2)
        expect(card.get_by_text(re.compile("404"))).to_have_count(0)
        assert "s3cret" not in page.content()
        page.close()


def test_what_is_wrong_with_the_routes_is_told(routes, webhooks, open_page):
    with page_of(routes) as url:
        page = open_page(f"{url}/#/pipeline", expected=[*AWAY, "404", "409"])
        button = page.get_by_role("button", name="Send a test to ovens")
        expect(button).to_be_enabled()
        routes.write_text(routes.read_text().replace("name: ovens", "name: kilns"))
        button.click()
        expect(page.get_by_text("there is no route 'ovens'")).to_be_visible()
        assert webhooks.calls == []
        routes.write_text("routes: 7")
        page.reload()
        expect(page.get_by_text("Nobody is told of anomalies from here.")).to_be_visible()
        expect(page.get_by_role("region", name="Notifications").get_by_role("button")).to_have_count(0)
        page.close()


def test_the_routes_are_shown_when_the_token_is_there(routes, webhooks, open_page):
    with page_of(routes, token=TOKEN) as url:
        page = open_page(f"{url}/#/pipeline", expected=[*AWAY, "401"])
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.get_by_role("dialog", name="Token").get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Send a test to rest").click()
        until(lambda: len(webhooks.taken("/good")) == 1)
        page.close()
