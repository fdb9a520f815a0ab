"""The page in a real Chromium, over a plant of 10,000 devices that stands still."""

import itertools
import json
import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from sinks.dashboard import DashboardSources
from sinks.queries.connection import DatabaseAwayError
from tests.integration.dashboard.conftest import DEVICES, MARKUP
from tests.support.dashboards import served
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

expect.set_options(timeout=60_000)


@contextmanager
def away():
    raise DatabaseAwayError("the database does not answer", "Try again in a moment.")
    yield


def rows_of(page):
    return page.locator("table.fleet tbody tr:not([aria-hidden])")


# -- the fleet


def test_the_fleet_opens_sorted_by_trouble_and_draws_only_what_is_seen(plant, open_page):
    page = open_page(plant.url)
    expect(page.get_by_role("status").filter(has_text="devices")).to_have_text(f"{DEVICES:,} devices")
    expect(page).to_have_title("Fleet · Sigmawatch")
    expect(rows_of(page).first).to_contain_text(re.compile(r"Critical\s+1\s*level shift"))
    expect(rows_of(page).nth(1)).to_contain_text("No readings yet")
    assert rows_of(page).count() < 100
    expect(page.get_by_role("table", name="Devices")).to_have_attribute("aria-rowcount", str(DEVICES + 1))
    page.locator(".scroller").evaluate("element => element.scrollTop = element.scrollHeight")
    expect(rows_of(page).last).to_have_attribute("aria-rowindex", str(DEVICES + 1))
    assert rows_of(page).count() < 100


def test_search_and_filters_narrow_the_list_and_stay_in_the_address(plant, open_page):
    page = open_page(plant.url)
    search = page.get_by_role("searchbox", name="Search devices")
    search.fill("oven-00042")
    expect(rows_of(page)).to_have_count(1)
    expect(rows_of(page).first).to_contain_text("Number 42")
    search.fill("hall number 1234")
    expect(rows_of(page)).to_have_count(1)
    search.fill("")
    page.get_by_label("Filter by type").select_option("oven")
    page.get_by_label("Filter by place").select_option("Hall A")
    expect(page.locator(".count")).to_have_text(f"2,499 of {DEVICES:,} devices")
    page.get_by_label("Filter by state").select_option("critical")
    expect(page.get_by_text("No device fits.")).to_be_visible()
    assert "type=oven" in page.url
    page.reload()
    expect(page.get_by_text("No device fits.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".count")).to_have_text(f"{DEVICES:,} devices")


def test_markup_in_names_is_text_everywhere(plant, open_page):
    page = open_page(plant.url)
    rows_of(page).first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    expect(page.get_by_role("complementary")).to_contain_text(MARKUP)
    chart = page.locator("figure.chart")
    expect(chart.locator("b")).to_have_text(MARKUP.replace("_", " "))
    expect(chart).to_have_attribute("aria-label", re.compile("1 anomalies, 1 of them open"))
    expect(page.get_by_role("table", name="Anomalies")).to_contain_text(MARKUP)
    box = chart.locator(".chart-canvas").bounding_box()
    # Over the line and the anomaly's mark: what is told of a point is text, too.
    told = page.locator(".bk-Tooltip").get_by_text("expected", exact=False)
    steps = itertools.cycle(range(8, 97))

    def is_told():
        page.mouse.move(box["x"] + box["width"] * next(steps) / 100, box["y"] + 70)
        return told.first.is_visible()

    until(is_told, pause=0.05)
    page.goto(f"{plant.url}/#/anomalies")
    expect(page.get_by_role("table", name="Anomalies")).to_contain_text(MARKUP)
    page.goto(f"{plant.url}/#/")
    expect(page.locator(".feed")).to_contain_text(MARKUP[:20])
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


def test_an_unknown_device_says_so(plant, open_page):
    page = open_page(f"{plant.url}/#/device/nobody")
    expect(page.get_by_text("Nothing is known of this device.")).to_be_visible()
    expect(page.get_by_text("No reading of this device is stored yet.")).to_be_visible()


def test_zooming_stops_the_live_view_and_a_click_brings_it_back(plant, open_page):
    page = open_page(
        f"{plant.url}/#/device/{MARKUP.replace('%', '%25').replace('/', '%2F').replace('&', '%26')}"
    )
    expect(page.locator("figure.chart canvas").first).to_be_visible()
    page.get_by_role("button", name="Earlier").click()
    back = page.get_by_role("button", name="Back to live")
    expect(back).to_be_visible()
    with page.expect_request(re.compile("/charts.*end=")):
        page.get_by_role("button", name="Zoom in").click()
    back.click()
    expect(page.get_by_role("button", name="Live", exact=True)).to_be_visible()
    page.get_by_role("button", name="15 min").click()
    expect(page.get_by_role("button", name="15 min")).to_have_attribute("aria-pressed", "true")


# -- keys, looks, widths


def test_it_can_be_used_by_keys_alone(plant, open_page):
    page = open_page(plant.url)
    expect(rows_of(page).first).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search devices")).to_be_focused()
    page.keyboard.type("oven-0000")
    expect(rows_of(page)).to_have_count(9)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(rows_of(page).nth(1).get_by_role("link")).to_be_focused()
    assert (
        rows_of(page).nth(1).get_by_role("link").evaluate("link => getComputedStyle(link).outlineStyle")
        == "solid"
    )
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("oven-00002")
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anomalies")
    expect(page.get_by_role("link", name="Anomalies", exact=True)).to_have_attribute("aria-current", "page")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Sigmawatch")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(plant.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_light_and_dark_follow_the_system_until_one_is_chosen(plant, open_page):
    page = open_page(plant.url, color_scheme="dark")
    dark = background(page)
    page.emulate_media(color_scheme="light")
    expect(page.get_by_role("button", name="Theme: as the system")).to_be_visible()
    light = background(page)
    assert light != dark
    page.keyboard.press("t")
    page.keyboard.press("t")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert background(page) == dark
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert background(page) == dark


def test_a_narrow_screen_is_enough(plant, open_page):
    page = open_page(plant.url, expected=["422"], viewport={"width": 390, "height": 844})
    for view in ("", "anomalies", "inject", "quality", "pipeline", "device/oven-00001"):
        page.goto(f"{plant.url}/#/{view}")
        expect(page.locator("main")).to_have_class(f"view-{view.split('/')[0] or 'fleet'}")
        expect(
            page.get_by_role("navigation", name="Views").get_by_role("link", name="Pipeline")
        ).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view


# -- errors with a remedy


def test_without_a_simulation_it_says_how_to_get_one(plant, open_page):
    page = open_page(f"{plant.url}/#/inject")
    expect(page.get_by_text("Faults cannot be injected from here.")).to_be_visible()
    expect(page.get_by_text("sigmawatch up")).to_be_visible()


def test_a_database_that_is_away_is_told_with_a_remedy(open_page):
    with served(DashboardSources(connection=away)) as url:
        page = open_page(url, expected=["503"])
        expect(page.get_by_role("alert")).to_contain_text(
            "the database does not answer. Try again in a moment."
        )
        expect(page.locator("#pulse")).to_have_text("Not connected")
        page.close()  # before its server goes


def test_a_token_is_asked_for_once_a_tab(open_page):
    token = "0123456789abcdef-secret"
    readers_away = DashboardSources(connection=away)
    with served(readers_away, token=token) as url:
        page = open_page(url, expected=["401", "503"])
        dialog = page.get_by_role("dialog", name="Token")
        expect(dialog).to_be_visible()
        page.get_by_role("textbox", name="Token").fill(token)
        dialog.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("the database does not answer")
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("the database does not answer")
        assert page.get_by_role("dialog").count() == 0
        page.close()


def test_a_hidden_tab_asks_for_nothing(plant, open_page):
    page = open_page(plant.url)
    expect(rows_of(page).first).to_be_visible()
    page.clock.install()
    page.reload()
    expect(rows_of(page).first).to_be_visible()
    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", {get: () => window.away, configurable: true});
                   window.away = true; document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request(re.compile("/state")):
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")


# -- what the page computes


@pytest.fixture(scope="module")
def computed(plant, browser):
    """Gives the value of an expression over one of the page's modules, `m`."""
    page = browser.new_page()
    page.goto(plant.url)

    def value(module, expression):
        return page.evaluate(
            f"async () => {{ const m = await import('/dashboard/static/{module}.js'); return {expression}; }}"
        )

    yield value
    page.close()


def chart(**changes):
    values = {
        "metric": "power",
        "unit": "kW",
        "width": 0,
        "t": [0, 1000, 2000, 9000, 10_000],
        "mean": [1, 2, 3, None, 5],
        "lower": [None, 0, 0, 0, 0],
        "upper": [None, 4, 4, 4, 4],
        "expected": [None, 2, 2, 2, 2],
        "anomalies": [],
        "faults": [],
    }
    return json.dumps({**values, **changes})


def test_a_silence_breaks_the_line(computed):
    columns = computed("charts", f"m.lineColumns({chart()})")
    assert columns["t"] == [0, 1000, 2000, 8999, 9000, 10_000]
    assert [value is None or value != value for value in columns["y"]] == [
        False,
        False,
        False,
        True,
        True,
        False,
    ]
    assert columns["value"][0] == "1 kW"
    assert columns["usual"][:2] == ["not known yet", "0 to 4 kW"]


def test_the_value_axis_shows_the_readings_and_not_any_band(computed):
    low, high = computed("charts", f"m.valueRange({chart(lower=[-900] * 5, upper=[900] * 5)})")
    assert low < 1 < 5 < high
    assert high - low < 20
    assert computed("charts", f"m.valueRange({chart(mean=[None] * 5)})") == [0, 1]


def test_times_go_to_the_axis_and_back(computed):
    assert computed("charts", "[0, 1e12, 1772366400000].every((ms) => m.unlocal(m.local(ms)) === ms)")


def test_diagrams_are_asked_for_as_often_as_they_move(computed):
    spans = "[60e3, 300e3, 3600e3, 86400e3, null].map((span) => m.refreshMs(span, 800))"
    assert computed("device", spans) == [1000, 1000, 9000, 60_000, 9000]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (2340, "2.3 s"),
        (59_400, "59 s"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (3_600_000, "1 h"),
    ],
)
def test_lengths_of_time_are_told_in_two_units(computed, ms, text):
    assert computed("format", f"m.duration({ms})") == text


def test_a_catch_is_told_step_by_step(computed):
    begun = '{"fault": "spike", "began": "2026-03-01T12:00:00Z", "ends": "2026-03-01T12:00:10Z"}'
    began = 1_772_366_400_000

    def names(answer):
        return computed("inject", f"m.steps({begun}, {json.dumps(answer)}).map((s) => [s.name, s.done])")

    nothing = {"first": None, "last": None, "caught": None, "delay": None, "anomalies": [], "newest": None}
    assert names(nothing) == [
        ["Injected", True],
        ["In the readings", False],
        ["Detected", False],
        ["Over again", False],
    ]
    found = {
        "kind": "spike",
        "opened": began + 3000,
        "open": False,
        "cleared": began + 20_000,
        "severity": "INFO",
        "metric": "x",
    }
    caught = {
        **nothing,
        "first": began,
        "newest": began + 30_000,
        "caught": found,
        "delay": 3.0,
        "anomalies": [found],
    }
    assert names(caught) == [
        ["Injected", True],
        ["In the readings", True],
        ["Detected after 3 s", True],
        ["Over", True],
    ]
    missed = {**nothing, "first": began, "newest": began + 600_000}
    assert names(missed)[2] == ["Not detected", True]
