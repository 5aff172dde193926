"""Requests made up from the API's own schema, alone and in sequences that follow what was made: never a server error."""

from __future__ import annotations

import contextlib
import warnings

import hypothesis
import pytest
from hypothesis.errors import FlakyStrategyDefinition

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

SEEDS, STEPS = 20, 12
BOUNDED = hypothesis.settings(
    max_examples=2,  # the simplest sequence, and one of the seed's
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],  # the requests of a failure are told; making them fewer takes long
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def schema(server, token):
    """The real server's own document, but for the stream, which never ends (tests/api/test_stream.py), and archives, which
    nobody makes up (tests/api/test_archives.py)."""
    headers = {"Authorization": f"Bearer {token}"}
    loaded = schemathesis.openapi.from_url(f"{server}/openapi.json", headers=headers)
    return loaded.exclude(path=["/api/v1/stream", "/api/v1/runs/import"])


def test_sequences_of_requests_end_in_no_server_error(schema, token, app):
    asked = []

    class Sequences(schema.as_state_machine()):
        def get_call_kwargs(self, case):
            return {"headers": {"Authorization": f"Bearer {token}"}, "timeout": 20}

        def validate_response(self, response, case, **_):
            asked.append((case.operation.label, response.status_code))
            assert response.status_code < 500, response.text

    for seed in range(SEEDS):
        with contextlib.suppress(FlakyStrategyDefinition):  # the server remembers, so equal draws may lead elsewhere
            hypothesis.seed(seed)(Sequences).run(settings=BOUNDED)
    assert len({label for label, _ in asked}) >= 30
    assert {200, 201, 404, 422} <= {status for _, status in asked}, "too few of them got anywhere"
