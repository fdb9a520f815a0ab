"""What /openapi.json promises is kept, whatever is sent: schemathesis looks for a request that breaks it."""

import os
from contextlib import contextmanager

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.serving import people_app
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import NotifySettings
from sinks.api.app import query_api, query_app
from tests.integration.sinks.api.conftest import settings_for
from tests.integration.sinks.queries.conftest import HOSTILE
from tests.support.receivers import Webhooks
from tests.support.running_fleet import running_fleet
from tests.support.served_app import running_app, running_control
from tests.support.waiting import until

pytestmark = pytest.mark.integration

TOKEN = "correct-horse-battery"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# More find more; hundreds were run when the routes were written.
EXAMPLES = settings(
    max_examples=int(os.environ.get("SIGMAWATCH_TEST_EXAMPLES", "3")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
DEVICES = ("oven-0", HOSTILE, "nobody")
SIMULATED = ("oven-001", "hvac-001", "nobody")
SUBJECTS = ("readings-value", "anomalies-value")


def known(case, turn):
    """Every other request asks for what there is."""
    values = {
        "device_id": (DEVICES, SIMULATED)["simulation" in str(case.operation.tags)][turn % len(DEVICES)],
        "metric": "temperature",
        "anomaly_id": f"00000000-0000-0000-0000-{turn % 40:012}",
        "subject": SUBJECTS[turn % len(SUBJECTS)],
        "version": "latest",
        "schema_id": str(1 + turn % 4),
    }
    for name in case.path_parameters or {}:
        if turn % 2:
            case.path_parameters[name] = values[name]
    if "/stream" in case.path:
        case.query = (case.query or {}) | {"limit": "0"}
    return case


@pytest.fixture
def notified(tmp_path):
    """Routes of notifications to a receiver."""
    with Webhooks() as webhooks:
        routes = tmp_path / "routes.yaml"
        routes.write_text(f"targets: {{hook: '{webhooks.url()}'}}\nroutes: [{{name: ovens, targets: hook}}]")
        yield NotifySettings(routes=routes, timeout=30.0)


@contextmanager
def everything_served(url, notify):
    """All that people get at one address, with a simulation behind it; its address."""
    with (
        running_fleet() as fleet,
        running_control(fleet, TOKEN) as control,
    ):
        made = settings_for(
            url,
            token=SecretStr(TOKEN),  # with a token any Host will do
            rate_limit="off",
            control=control,
            control_token=SecretStr(TOKEN),
        ).model_copy(update={"notify": notify})
        with query_api(made, Codec(Catalogue())) as api:
            until(api.fleet.ready.is_set, what=lambda: api.fleet.trouble)
            app = people_app(made, api)
            api.quality = lambda begin, end: {"overall": {}} if begin.year > 2000 else {}
            with running_app(app, made.api) as address:
                yield address


def test_the_description_holds_whatever_is_sent(filled, notified):
    answers = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with everything_served(filled.url, notified) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)

        def check(case):
            answer = known(case, len(answers)).call(headers=headers)
            answers.append((case.method, case.path, answer.status_code))
            case.validate_response(answer, checks=CHECKS)

        for result in schema.get_all_operations():
            for mode in schemathesis.GenerationMode:
                EXAMPLES(given(result.ok().as_strategy(generation_mode=mode))(check))()
    done = {path for _, path, status in answers if status == 200}
    assert done >= {"/api/v1/anomalies", "/api/v1/devices", "/api/v1/readings", "/subjects", "/db_stats"}
    assert done >= {"/api/v1/pipeline", "/api/v1/notify/routes", "/api/v1/notify/test"}
    assert done >= {"/api/v1/simulation/status", "/api/v1/catalogue", "/statusz", "/clear-anomalies"}
    assert {422, 404} <= {status for _, _, status in answers}


def test_every_route_has_an_example_and_a_summary(filled):
    made = settings_for(filled.url)
    with query_api(made, Codec(Catalogue())) as api:
        described = query_app(made, api).openapi()
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            (content,) = operation["responses"]["200"]["content"].values()
            assert "example" in content, path
