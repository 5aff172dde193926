"""Puzzle files over HTTP: stored once by content, refused with line and column, never held whole in memory."""

from __future__ import annotations

HEADER = "source,q,a,rating\n"
PUZZLES = {
    "0234341221434321": "1234341221434321",
    "1034341221434321": "1234341221434321",
}


def csv(count=2):
    rows = list(PUZZLES.items())[:count]
    return HEADER + "".join(f"test,{question},{answer},{n}\n" for n, (question, answer) in enumerate(rows))


def upload(api, text, name="train.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    return api.post("datasets", files={"file": (name, content, "text/csv")}, **options)


def test_a_file_comes_as_form_or_as_body(api):
    first = upload(api, csv())
    assert first.status_code == 201
    dataset = first.json()
    assert (dataset["name"], dataset["rows"], dataset["size"]) == ("train.csv", 2, 4)
    assert first.headers["location"] == f"/api/v1/datasets/{dataset['id']}"
    headers = {"Content-Type": "text/csv"}
    again = api.post("datasets", params={"name": "other"}, content=csv().encode(), headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, dataset["id"])
    other = api.post("datasets", params={"name": "one"}, content=csv(1).encode(), headers=headers)
    assert (other.status_code, other.json()["name"]) == (201, "one")
    assert api.get("datasets/train.csv").json() == dataset
    assert {one["name"] for one in api.get("datasets").json()["items"]} == {"train.csv", "one"}
    rows = api.get(f"datasets/{dataset['id']}/preview", params={"rows": 1}).json()["items"]
    assert rows == [{"source": "test", "question": ".234341221434321", "answer": "1234341221434321", "rating": 0.0}]


def test_the_name_is_the_given_one_or_the_files(api):
    assert upload(api, csv(1), "C:\\puzzles\\a.csv").json()["name"] == "a.csv"
    response = api.post("datasets", files={"file": ("b.csv", csv().encode())}, data={"name": "mine"})
    assert response.json()["name"] == "mine"
    assert upload(api, csv(1) + "\n", "../../x", params={"name": ".."}).status_code == 422


BROKEN = [
    ("source,q,rating\nx,1,2\n", "line 1"),
    (HEADER + "s,0234341221434321,1234341221434321,1\ns,12x4,1234341221434321,1\n", "line 3.q"),
    (HEADER + "s,0234341221434321,1234341221434322,1\n", "line 2.a"),
    (b"", "line 1"),
    (HEADER.encode() + b"\xff,,,\n", "line 2"),
    (bytes(range(256)) * 40, "line 1"),
]


def test_a_broken_file_names_line_and_column(api, settings, subtests):
    for content, field in BROKEN:
        with subtests.test(content=str(content)[:60]):
            response = upload(api, content)
            assert response.status_code == 422
            assert response.headers["content-type"] == "application/problem+json"
            (error,) = response.json()["errors"]
            assert error["field"].startswith(field)
            assert error["message"] in response.json()["detail"]
            assert api.get("datasets").json()["items"] == []
            assert not settings.datasets_dir.exists() or list(settings.datasets_dir.iterdir()) == []


def test_a_file_beyond_the_limit_is_413(app, api):
    app.state.settings = app.state.settings.model_copy(update={"max_upload_bytes": 2**20})
    for response in (
        upload(api, b"x" * (2**20 + 1)),
        upload(api, b"x" * 2**22),
        api.post("datasets", params={"name": "x"}, content=b"x" * (2**20 + 1), headers={"Content-Type": "text/csv"}),
    ):
        assert response.status_code == 413
        assert "1 MiB" in response.json()["detail"]
    assert api.get("datasets").json()["items"] == []


def test_a_sender_of_too_much_still_hears_the_answer(app, live):
    """Over a real connection: closing at once would reset it."""
    app.state.settings = app.state.settings.model_copy(update={"max_upload_bytes": 2**20})
    response = live.post("datasets", files={"file": ("huge.csv", b"x" * 2**26)})
    assert response.status_code == 413


NO_FILES = [
    (b"{}", "application/json", 415),
    (b"x", "multipart/form-data", 422),
    (b"x", "multipart/form-data; boundary=b", 422),
    (
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        422,
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        422,
    ),
]


def test_no_file_is_told(api, subtests):
    for content, kind, status in NO_FILES:
        with subtests.test(content=str(content)[:60]):
            response = api.post("datasets", content=content, headers={"Content-Type": kind})
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"


def test_a_dataset_in_use_stays(api):
    upload(api, csv())
    task = {"kind": "csv", "train": "train.csv", "test": "train.csv"}
    run = api.post("runs", json={"kind": "train", "task": task})
    assert run.status_code == 201
    assert api.delete("datasets/train.csv").status_code == 409
    api.post(f"runs/{run.json()['id']}/cancel")
    api.delete(f"runs/{run.json()['id']}")
    assert api.delete("datasets/train.csv").status_code == 204
    assert api.get("datasets/train.csv").status_code == 404
