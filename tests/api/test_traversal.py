"""No address and no row of the database leads to a file outside the artifacts' folder."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from store.tables import artifacts

HOSTILE = [
    "..",
    "../token",
    "..%2ftoken",
    "%2e%2e%2ftoken",
    "%252e%252e%252ftoken",
    "..%5ctoken",
    "%00",
    "a_1%00",
    "a_1;/../../token",
    "a_1%23",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "a_%E2%80%AE",
    "a" * 3000,
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize(
    "below", ["artifacts/{}", "runs/{}", "runs/{}/artifacts", "datasets/{}", "users/{}", "tokens/{}"]
)
def test_what_an_address_names_is_an_id_and_never_a_path(api, token, below, path):
    for method in ("GET", "DELETE"):
        response = api.request(method, "http://127.0.0.1:8420/api/v1/" + below.format(path))
        assert response.status_code in (404, 405), response.text
        assert token not in response.text
        assert "root:" not in response.text


@pytest.mark.parametrize("column", ["folder", "name"])
@pytest.mark.parametrize("value", ["../../token", "..", "/etc", "link"])
def test_even_a_row_that_points_outside_finds_nothing(api, engine, settings, finished, token, column, value):
    run_id = finished()
    folder = settings.artifacts_dir / run_id / "checkpoints"
    (folder / "link").symlink_to(settings.home)
    (folder / "step-00000003" / "link").symlink_to(settings.token_file)
    (artifact, *_) = api.get(f"runs/{run_id}/artifacts").json()["items"]
    assert api.get(f"artifacts/{artifact['id']}").status_code == 200
    with engine.begin() as connection:
        connection.execute(sa.update(artifacts).values({column: value}))
    response = api.get(f"artifacts/{artifact['id']}")
    assert response.status_code == 404
    assert token not in response.text
