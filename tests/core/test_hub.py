"""Hub names: downloaded once from a server of our own, kept whole or not at all, and explained where that fails."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from laser_core import hub
from laser_core.__main__ import main
from laser_core.config import ConfigError, CsvTask, TrainConfig

ROWS = [("1.3.3.1.2143.321", "1234341221434321"), ("1.3.3.1.21434321", "1234341221434321")]
CONTENT = ("source,question,answer,rating\n" + "".join(f"hub,{q},{a},1\n" for q, a in ROWS)).encode()
PATH = "/datasets/sapientinc/sudoku-extreme/resolve/main/"


class Hub(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path not in (PATH + "train.csv", PATH + "test.csv", PATH + "short.csv"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + 10 * self.path.endswith("short.csv")))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *words: object) -> None:
        """Says nothing."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub on this machine; what it was asked for."""
    handler = type("Handler", (Hub,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("LASER_HUB", f"http://127.0.0.1:{server.server_address[1]}/")
        monkeypatch.setenv("LASER_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield handler.asked  # type: ignore[attr-defined]
        server.shutdown()


def located(name: str) -> Path:
    return hub.locate([name], CsvTask(train=name), lambda text: None)[name]


def test_a_file_is_downloaded_once_and_its_hash_recorded(asked: list[str], tmp_path: Path) -> None:
    path = located("sapientinc/sudoku-extreme:train")
    assert path == tmp_path / "cache" / "hub" / "sapientinc" / "sudoku-extreme" / "train.csv"
    assert path.read_bytes() == CONTENT
    assert path.with_name("train.csv.sha256").read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  train.csv\n"
    assert located("sapientinc/sudoku-extreme:train") == path
    assert asked == [PATH + "train.csv"]
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ConfigError, match=r"task\.train: .*train\.csv is damaged.*delete it to download it anew"):
        located("sapientinc/sudoku-extreme:train")


def test_a_file_put_there_by_hand_is_taken(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "cache" / "hub" / "sapientinc" / "maze-30x30-hard-1k" / "test.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert located("sapientinc/maze-30x30-hard-1k:test") == path
    assert asked == []


@pytest.mark.parametrize(
    ("split", "reason"),
    [("gone", "the hub answered 404 Not Found"), ("short", r"the connection ended after \d+ of \d+ bytes")],
)
def test_what_fails_leaves_nothing(asked: list[str], tmp_path: Path, split: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"{split}\.csv: {reason}; download it elsewhere and put it at"):
        located(f"sapientinc/sudoku-extreme:{split}")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LASER_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LASER_HUB", "http://127.0.0.1:1")
    with pytest.raises(ConfigError) as caught:
        located("sapientinc/sudoku-extreme:train")
    message = str(caught.value)
    assert message.startswith(f"task.train: can't download http://127.0.0.1:1{PATH}train.csv: ")
    assert "Connection refused" in message
    assert f"put it at {tmp_path}/hub/sapientinc/sudoku-extreme/train.csv" in message
    monkeypatch.setenv("LASER_HUB", "file:///etc")
    with pytest.raises(ConfigError, match="expected LASER_HUB to begin with https://"):
        located("sapientinc/sudoku-extreme:train")


def test_names_get_their_split_and_paths_stay_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spelt(train: str, test: str = "") -> tuple[str, str]:
        task = hub.spelt_out(TrainConfig(task=CsvTask(train=train, test=test))).task
        assert isinstance(task, CsvTask)
        return task.train, task.test

    assert spelt("a/b", "a/b") == ("a/b:train", "a/b:test")
    assert spelt("a/b:x") == ("a/b:x", "")
    assert spelt("data/train.csv", "./a/b") == ("data/train.csv", "./a/b")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(CONTENT)
    assert spelt("a/b") == ("a/b", "")
    assert hub.locate(["a/b", "c.csv"], None, print) == {"a/b": Path("a/b"), "c.csv": Path("c.csv")}
    assert hub.spelt_out(TrainConfig()) == TrainConfig()


def test_a_run_takes_its_puzzles_from_the_hub(
    asked: list[str], run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(run_file.read_text())
    data["task"] = {"kind": "csv", "train": "sapientinc/sudoku-extreme", "test": "sapientinc/sudoku-extreme"}
    run_file.write_text(json.dumps(data))
    assert main([str(run_file), "--directory", str(tmp_path / "out"), "--threads", "1"]) == 0
    assert asked == [PATH + "train.csv", PATH + "test.csv"]
    assert "downloading http://127.0.0.1" in capsys.readouterr().err
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["task"]["test"] == "sapientinc/sudoku-extreme:test"
