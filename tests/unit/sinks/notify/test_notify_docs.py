"""docs/notifications.md says what there is."""

import re
from pathlib import Path

from sinks.notify.metrics import CATALOGUE
from sinks.notify.routes import Route
from sinks.notify.routes_file import parse_routes
from sinks.notify.targets import Target
from sinks.notify.text import ALARM_FIELDS, WHOLE_FIELDS

TEXT = (Path(__file__).parents[4] / "docs" / "notifications.md").read_text()
ENVIRONMENT = {
    "MAIL_USER": "me",
    "MAIL_PASSWORD": "pw",
    "PAGER_URL": "ntfys://ntfy.example/pages",
    "HOOK_TOKEN": "Bearer x",
}


def test_the_example_is_a_routes_file():
    example = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[1]
    routes = parse_routes(example.encode(), "docs", ENVIRONMENT)
    assert [route.name for route in routes.routes] == ["critical", "ovens", "rest"]
    for name, url in routes.targets.items():
        assert Target(name, url).address


def test_every_key_name_and_metric_is_there():
    for name, field in Route.model_fields.items():
        assert f"`{field.alias or name}`" in TEXT
    for name in (*ALARM_FIELDS, *WHOLE_FIELDS):
        assert f"`{{{name}}}`" in TEXT
    for metric in CATALOGUE:
        assert f"`{metric.name}" in TEXT
