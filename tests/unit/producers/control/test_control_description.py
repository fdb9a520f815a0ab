"""What /openapi.json promises is kept, whatever is sent: schemathesis looks for a request that breaks it."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from producers.control.app import control_app
from schemas.settings import ControlSettings
from tests.support.running_fleet import device_types, running_fleet

TOKEN = "correct-horse-battery"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# More find more; hundreds were run when the routes were written.
EXAMPLES = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
IDS = ("hvac-001", "hvac-002", "oven-001", "SENSOR_001")


def test_the_description_holds_whatever_is_sent():
    answers = set()
    with running_fleet() as fleet:
        settings_ = ControlSettings(token=SecretStr(TOKEN), rate_limit="off")  # with a token any Host will do
        app = control_app(fleet.control, fleet.control, device_types, settings_)
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)

        def check(case):
            if len(answers) % 3 and "device_id" in (case.path_parameters or {}):
                case.path_parameters["device_id"] = IDS[len(answers) % len(IDS)]
            answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
            answers.add((case.method, case.path, answer.status_code))
            case.validate_response(answer, checks=CHECKS)

        for result in schema.get_all_operations():
            for mode in schemathesis.GenerationMode:
                EXAMPLES(given(result.ok().as_strategy(generation_mode=mode))(check))()
    done = {(method, path) for method, path, status in answers if status == 200}
    assert done >= {
        ("GET", "/api/v1/devices"),
        ("GET", "/api/v1/catalogue"),
        ("POST", "/api/v1/clear-anomalies"),
    }
    assert {422, 404} <= {status for _, _, status in answers}
