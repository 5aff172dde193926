"""What the documentation tells people to type, typed: every command of these pages runs against a real platform, in the order
of the page, with the examples made small. What isn't carried out stands in PARSED_ONLY with its reason; that it would be
understood is tests/docs/test_commands.py's to check."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.home import Home
from docs import make_notebook
from tests.docs.pages import ROOT, blocks, commands, pages, shell_lines
from tests.e2e.platform import Platform, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a busy machine
CARRIED_OUT = (
    "README.md",
    "docs/tutorial.md",
    "docs/howto.md",
    "docs/client.md",
    "docs/pool.md",
    "docs/users.md",
    "docs/statistics.md",
    "docs/filter.md",
)
PAGES_PARSED_ONLY = {
    "CONTRIBUTING.md": "make and pre-commit, which whoever runs this has used",
    "docs/deploy.md": "asks for root, systemd and other machines",
    "docs/webhooks.md": "names a receiver elsewhere: tests/client/test_commands.py, tests/worker/test_webhooks.py",
}
EXAMPLES = ROOT / "docs" / "examples"

PARSED_ONLY = {  # beginning of a command: why it isn't carried out here
    "make": "installs, builds or trains for minutes; `make install` is what made this test possible",
    "source": "sets up the reader's shell",
    "curl": "isn't on every machine; tests/api/test_runs.py asks the same",
    "git checkout COMMIT": "stands for any repository; tests/client/test_checkout.py applies one",
    "laser doctor": "asks for a machine in order; tests/client/test_doctor.py has machines in all states",
    "laser restore": "needs an empty database and a platform that stands still: tests/client/test_backup.py",
    "laser export RUN --mlflow": "needs an MLflow server: tests/client/test_neighbours.py",
    "laser run docs/examples/run.yaml": "tests/client/test_local.py carries it out",
    "laser logs -f": "tests/client/test_commands.py follows a run to its end",
    "python -m laser_core bench": "takes minutes: tests/core/test_bench.py",
    "laser worker drain": "would take the worker away from the commands after it: tests/e2e and tests/api drain one",
    "laser worker undrain": "as above",
    "laser experiment submit FILE.yaml": "stands for any file; the pages with a real one carry it out",
    "laser verdict pairs.csv": "stands for any file; the pages with a real one carry it out",
}  # fmt: skip


@dataclass
class Reader:
    """A folder with the examples, made small, and the names that stand for anything."""

    platform: Platform
    folder: Path
    names: dict[str, str]

    def environment(self) -> dict[str, str]:
        ours = {"LASER_HOME": str(self.platform.home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return {**os.environ, **ours, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def filled(self, text: str) -> str:
        for name, value in self.names.items():
            text = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", value, text)
        return text

    def does(self, command: list[str], typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), input=typed, capture_output=True, text=True, timeout=400
        )


@pytest.fixture(scope="module")
def reader(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader who has a trained run, a long one that just began, and an experiment that has ended."""
    eventually("the word where it runs", lambda: (running := Home(platform.home).running()) and running.url)
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(EXAMPLES, folder / "docs" / "examples")
    for path in (folder / "docs" / "examples").glob("*.yaml"):
        path.write_text(yaml.safe_dump(small(yaml.safe_load(path.read_text(encoding="utf-8")))), encoding="utf-8")
    shutil.copy(folder / "docs/examples/run.yaml", folder / "run.yaml")
    config = yaml.safe_load((folder / "run.yaml").read_text())
    run, other = (platform.submit(config | {"seed": seed, "tags": ["tried"]}) for seed in (11, 12))
    experiment = yaml.safe_load((folder / "docs/examples/first.yaml").read_text()) | {"seeds": 1, "name": "before"}
    made = platform.answer("POST", "/experiments", json=experiment)["id"]
    (folder / "eval.yaml").write_text(yaml.safe_dump({"kind": "eval", "checkpoint": run}))
    for each in (run, other):
        assert platform.finished(each, 600)["state"] == "succeeded"
    eventually("the experiment", lambda: platform.answer("GET", f"/experiments/{made}")["is_over"], 300)
    names = {"RUN": run, "OTHER": other, "EXPERIMENT": made, "17": run, "18": other}
    return Reader(platform, folder, names)


def small(config: dict[str, Any]) -> dict[str, Any]:
    """The same run or experiment in seconds."""
    base = config.get("base", config)
    base["task"] |= {"train_puzzles": 40, "test_puzzles": 20}
    base["model"] |= {"latent_steps": 1, "cycles": 1}
    base["training"] |= {"steps": 12, "batch_size": 8, "warmup_steps": 2}
    if "seeds" in config:
        config["seeds"] = 2
    return config


@pytest.mark.parametrize("page", CARRIED_OUT)
def test_every_command_of_a_page_works(reader: Reader, page: str, long_run: Callable[[], str]) -> None:
    for where, line in shell_lines(page):
        words = " ".join(commands(where, line)[0].words)
        if words.startswith(tuple(PARSED_ONLY)):
            continue
        typed = reader.filled(line)
        if words.startswith(("laser pause", "laser cancel RUN", "laser resume", "laser cancel 17")):
            typed = re.sub(r"r_\w+", long_run(), typed)
        if words.startswith("laser experiment cancel"):
            typed = typed.replace(reader.names["EXPERIMENT"], newest(reader, "/experiments"))
        if words.startswith("laser token revoke"):
            typed = re.sub(r"s_\w+", newest(reader, "/tokens"), typed)
        done = reader.does(["bash", "-ec", typed])
        assert done.returncode == 0, f"{where}: {typed}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
        if words.startswith("laser pause"):
            run_id = long_run()
            eventually("the pause", lambda run_id=run_id: reader.platform.run(run_id)["state"] == "paused")


@pytest.fixture(scope="module")
def long_run(platform: Platform, reader: Reader) -> Iterator[Callable[[], str]]:
    """Id of a run that is in training or paused; a new one when the last has ended."""
    made: list[str] = []

    def one() -> str:
        if not made or platform.run(made[-1])["state"] in ("cancelling", "cancelled"):
            config = yaml.safe_load((reader.folder / "run.yaml").read_text())
            config["training"] |= {"steps": 1_000_000}
            made.append(platform.submit(config))
            eventually("its first step", lambda: platform.run(made[-1])["step"] > 0, 300)
        return made[-1]

    yield one
    for run_id in made:
        platform.http.post(f"/runs/{run_id}/cancel")


def newest(reader: Reader, path: str) -> str:
    return str(reader.platform.answer("GET", path)["items"][0]["id"])


@pytest.mark.parametrize("page", CARRIED_OUT)
def test_all_python_of_a_page_works(reader: Reader, page: str) -> None:
    """In one go: a later block goes on from an earlier one."""
    if not (found := blocks(page, "python")):
        return
    script = reader.filled("\n".join(block.text for block in found))
    done = reader.does([sys.executable, "-c", script])
    assert done.returncode == 0, f"{page}\n{done.stderr[-3000:]}"


def test_the_notebook_is_the_script_and_its_cells_run_in_order(reader: Reader) -> None:
    script, path = EXAMPLES / "pairs.py", EXAMPLES / "pairs.ipynb"
    assert path.read_text(encoding="utf-8") == make_notebook.text(script), "run `make reference`"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    player = "import json, sys\nnames = {}\nfor cell in json.load(sys.stdin):\n    exec(compile(cell, 'cell', 'exec'), names)"
    done = reader.does([sys.executable, "-c", player], typed=json.dumps(code))
    assert done.returncode == 0, done.stderr[-3000:]
    assert sum(": loss " in line for line in done.stdout.splitlines()) == 4


def test_a_run_that_is_followed_on_a_terminal_shows_how_far_it_is(reader: Reader, long_run: Callable[[], str]) -> None:
    master, terminal = os.openpty()
    command = ["laser", "logs", "--follow", long_run()]
    with subprocess.Popen(command, env=reader.environment(), stdout=terminal, stderr=terminal) as following:
        os.close(terminal)
        shown = b""
        while not re.search(rb"training on .*\n(?s:.*)\d+/1000000.* a step", shown):
            shown += os.read(master, 4096)
        following.terminate()
    os.close(master)


def test_every_reason_is_needed() -> None:
    lines = [commands(where, line)[0].words for page in CARRIED_OUT for where, line in shell_lines(page)]
    unused = [name for name in PARSED_ONLY if not any(" ".join(words).startswith(name) for words in lines)]
    assert not unused
    assert {page for page in pages() if list(shell_lines(page))} <= {*CARRIED_OUT, *PAGES_PARSED_ONLY}
