"""``python -m laser_core`` as people run it."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from laser_core.__main__ import main
from laser_core.checkpoint import load
from laser_core.console import Console
from laser_core.events import CheckpointSaved, Log, Metrics, Progress, Started

REFERENCE = Path(__file__).parent / "reference"


def change(path: Path, **sections: Any) -> Path:
    """Rewrites a run file with other settings in its sections."""
    data = json.loads(path.read_text())
    for name, value in sections.items():
        data[name] = data[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(data))
    return path


@pytest.fixture(autouse=True)
def own_interrupt() -> Any:
    """The command takes SIGINT for itself; give it back to pytest."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def metric_rows(directory: Path) -> list[tuple[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return [(row["step"], row["metric"]) for row in csv.DictReader(file)]


def test_a_run_leaves_its_files(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "out"
    assert main([str(run_file), "--directory", str(directory), "--threads", "1"]) == 0
    assert {path.name for path in directory.iterdir()} == {
        "config.json", "events.jsonl", "metrics.csv", "result.json", "checkpoints",
    }  # fmt: skip
    assert json.loads((directory / "config.json").read_text()) == json.loads(run_file.read_text())
    result = json.loads((directory / "result.json").read_text())
    assert result["values"]["steps"] == 12
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    assert events[-1] == result
    assert ("12", "test.exact_accuracy") in metric_rows(directory)
    shown = capsys.readouterr()
    assert "done: exact_accuracy" in shown.out
    assert "started at 0 of 12 on cpu (1 thread)" in shown.err
    assert load(directory / "checkpoints" / "step-00000012").step == 12


def test_a_finished_run_is_not_overwritten_and_resuming_tells_nothing_twice(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(run_file), "--directory", str(tmp_path / "out")]
    assert main(command) == 0
    rows, result = metric_rows(tmp_path / "out"), (tmp_path / "out" / "result.json").read_text()
    assert main(command) == 2
    assert "already holds a run; add --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert metric_rows(tmp_path / "out") == rows
    assert len(rows) == len(set(rows))
    again = json.loads((tmp_path / "out" / "result.json").read_text())
    assert again["weights_sha256"] == json.loads(result)["weights_sha256"]


def test_results_go_to_a_folder_of_the_runs_name(
    run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(change(run_file, name="../a b/ü"))]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a-b-ü"]
    assert main([str(change(run_file, name="", seed=3))]) == 0
    assert any(len(path.name) == 12 for path in (tmp_path / "runs").iterdir())


def test_an_evaluation_of_an_earlier_run(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run_file), "--directory", str(tmp_path / "out")]) == 0
    evaluation = tmp_path / "eval.json"
    evaluation.write_text(json.dumps({"kind": "eval", "checkpoint": str(tmp_path / "out"), "supervision_steps": 3}))
    assert main([str(evaluation), "--directory", str(tmp_path / "eval")]) == 0
    trained, evaluated = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("out", "eval"))
    assert evaluated["values"]["exact_accuracy"] == trained["values"]["exact_accuracy"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "run.json: isn't JSON: "),
        ("[" * 100_000, "run.json: isn't JSON: "),
        ('{"kind": "train", "colour": 1}', "error: colour: unknown field"),
        ('{"kind": "train", "training": {"learning_rate": NaN}}', "error: training.learning_rate: expected a finite"),
        ('{"kind": "train", "task": {"kind": "csv", "train": "gone.csv"}}', "error: task.train: can't read 'gone.csv'"),
        ('{"kind": "eval", "checkpoint": "gone"}', "error: checkpoint: gone holds no whole checkpoint"),
    ],
)
def test_what_cannot_be_run_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text(content)
    assert main(["run.json"]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_missing_file_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gone.json"]) == 2
    assert "error: gone.json: can't be read: No such file" in capsys.readouterr().err


def test_a_diverging_run_fails(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run_file, training={"learning_rate": 1.0, "warmup_steps": 0, "steps": 60, "weight_decay": 10.0})
    assert main([str(run_file), "--directory", str(tmp_path / "out")]) == 1
    assert "try a lower learning rate" in capsys.readouterr().err


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(run_file: Path, tmp_path: Path) -> None:
    change(run_file, training={"steps": 100_000, "checkpoint_every": 100_000})
    directory = tmp_path / "out"
    command = [sys.executable, "-m", "laser_core", str(run_file), "--directory", str(directory)]
    with subprocess.Popen([*command, "--threads", "1"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("training on"):
                break
        while "train.loss" not in (directory / "metrics.csv").read_text():  # a step is done only then
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert f"--directory {directory} --resume" in rest
    (folder,) = (directory / "checkpoints").iterdir()
    assert load(folder).step > 0
    assert not (directory / "result.json").exists()


def test_a_gpu_that_is_not_there_is_refused(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    assert main([str(change(run_file, device="cuda")), "--directory", str(tmp_path / "out")]) == 2
    assert "error: device: cuda was asked for, but" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["trm_attention", "trm_mlp"])
def test_parity_is_one_json_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    files = [str(REFERENCE / f"{name}.safetensors"), str(REFERENCE / f"{name}.json")]
    assert main(["parity", *files, "--store", "none"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert report["ok"] is True
    assert set(report["max_abs_error"]) == {"logits", "q_halt_logits", "z_H", "z_L", "loss", "grad"}


def test_parity_of_what_is_no_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("{}")
    assert main(["parity", str(tmp_path / "x"), str(tmp_path / "x")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_the_console_shows_a_bar_only_to_a_terminal(stream: io.StringIO) -> None:
    with Console(stream) as console:
        console.show(Started(0, 10, "cpu", 5000, {}))
        console.show(Metrics(5, {"train.loss": 0.5, "time.step_s": 1.0}))
        console.show(Progress(5, 10, 0.5))
        console.show(CheckpointSaved(5, "step-00000005", {}, 2**20))
        console.show(Log("careful", "warning"))
        console.show(Progress(10, 10, 0.5))
    text = stream.getvalue()
    assert "5,000 parameters" in text
    assert "warning: careful" in text
    assert text.endswith("\n")
    assert ("\r[############------------] 5/10  loss 0.5  2 s left" in text) == stream.isatty()
    assert ("checkpoint step-00000005 (1.0 MiB)\n" in text) != stream.isatty()
