"""A fault injected by click appears as an anomaly on the device's chart: real broker, simulator, processor, sink, page."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

expect.set_options(timeout=120_000)

DEVICE = "SENSOR_003"


def test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart(stack, open_page):
    page = open_page(stack.url, timezone_id="Asia/Kathmandu")
    row = page.locator("table.fleet tbody tr", has_text=DEVICE)
    expect(row).to_contain_text(re.compile("Calm|Warning|Info|Critical"))  # its warm-up is over
    row.get_by_role("link").click()
    charts = page.locator("figure.chart")
    expect(charts.first.locator("canvas").first).to_be_visible()

    page.get_by_text("Inject a fault into this device").click()
    page.get_by_label("Fault", exact=True).select_option("device_failure")
    page.get_by_label("For", exact=True).select_option("10 seconds")
    page.get_by_role("button", name="Inject", exact=True).click()

    steps = page.locator(".timeline li")
    expect(steps.nth(0)).to_contain_text("Injected")
    expect(steps.nth(1)).to_contain_text("the readings say so")
    expect(steps.nth(2)).to_contain_text(re.compile("Detected (at once|after)"))
    caught = page.locator("figure.chart[aria-label*=' anomalies']:not([aria-label*='; 0 anomalies'])")
    expect(caught.first).to_be_visible()
    table = page.get_by_role("table", name="Anomalies")
    expect(table.get_by_role("row").nth(1)).to_contain_text(re.compile("Critical|Warning|Info"))
    opened = table.locator("time").first
    expect(opened).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d\.\d+ UTC"))
    assert opened.inner_text() not in opened.get_attribute("title")  # the viewer's clock is another

    page.get_by_role("link", name="Anomalies", exact=True).click()
    expect(page.get_by_role("table", name="Anomalies")).to_contain_text(DEVICE)
    page.get_by_role("link", name="Pipeline", exact=True).click()
    expect(page.get_by_role("heading", name="Processors: 1 ready")).to_be_visible()
    expect(page.get_by_role("table", name="Partitions").get_by_role("row")).to_have_count(3)
    page.get_by_role("link", name="Quality", exact=True).click()
    expect(page.get_by_text("of 1 fault found")).to_be_visible()
    expect(page.get_by_role("table", name="By fault")).to_contain_text("device failure")


def test_the_page_for_faults_offers_those_of_the_chosen_device(stack, open_page):
    page = open_page(f"{stack.url}/#/inject?device={DEVICE}")
    fault = page.get_by_label("Fault", exact=True)
    expect(fault).to_be_enabled()
    assert "spike" in fault.inner_text()
    expect(page.locator("figure.chart").first).to_be_visible()
    page.get_by_role("combobox", name="Device").fill("nobody")
    expect(page.get_by_role("button", name="Inject", exact=True)).to_be_disabled()
