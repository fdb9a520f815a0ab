"""What /openapi.json promises is kept, whatever is sent: schemathesis looks for a request that breaks it."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from ingest_fakes import TOKEN
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# More find more; hundreds were run when the routes were written.
EXAMPLES = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_description_holds_whatever_is_sent(make):
    service = make(token=SecretStr(TOKEN))  # with a token the header Host may be schemathesis's own
    schema = schemathesis.openapi.from_asgi("/openapi.json", service.app)
    answers = []

    def check(case):
        answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
        answers.append((case.path, answer.status_code))
        case.validate_response(answer, checks=CHECKS)

    for result in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:
            EXAMPLES(given(result.ok().as_strategy(generation_mode=mode))(check))()
    assert {("/detect", 200), ("/readings", 200), ("/readings", 422)} <= set(answers)
