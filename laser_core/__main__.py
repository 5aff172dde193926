"""``python -m laser_core run.json`` carries out a run without any service; ``python -m laser_core parity`` checks numbers.
``bench`` measures every activation store; ``import-official`` and ``export-official`` exchange checkpoints with the official
code.

A run writes ``config.json``, ``events.jsonl``, ``metrics.csv``, ``result.json`` and ``checkpoints/`` to its directory.
``torchrun --standalone --nproc-per-node 4 -m laser_core run.json`` trains on four devices; the first process alone writes.
Exit status: 0 done, 1 failed, 2 the run can't be carried out as asked, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from laser_core import hub
from laser_core.config import ConfigError, Problem, RunConfig, TrainConfig, config_hash, parse_run, to_json
from laser_core.console import Console
from laser_core.events import Event, Result, Started
from laser_core.record import Record

EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = _COMMANDS.get(words[0]) if words else None
        return command(words[1:]) if command else _run(words)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem.field or 'config'}: {problem.message}", file=sys.stderr)
        return EXIT_REFUSED
    except (OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


# --- a run -------------------------------------------------------------------------------------------------------------


class Interrupt:
    """Remembers the first Ctrl-C, so that the run can stop between two steps; a second one stops at once."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGINT, self._note)

    def __call__(self) -> bool:
        return self.came

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping after this step (Ctrl-C again stops at once) …", file=sys.stderr)


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m laser_core", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "config", type=Path, help="the run as JSON, as POST /api/v1/runs takes it; - reads standard input"
    )
    parser.add_argument("--directory", type=Path, help="where results go; runs/<name> if not given")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the directory")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of torch")
    parser.add_argument("--checkout", type=Path, help="what the run comes from, as `laser run` tells it; kept with it")
    parser.add_argument("--json", action="store_true", help="print directory and result as JSON")
    options = parser.parse_args(words)
    config = _read(options.config)
    directory = options.directory or Path("runs") / _folder_name(config)
    if os.environ.get("RANK", "0") != "0":  # torchrun's
        return _follow(config, directory, options.resume, options.threads)
    if (directory / "config.json").exists() and not options.resume:
        message = f"{directory} already holds a run; add --resume to go on with it, or choose another --directory"
        raise ConfigError(Problem("--directory", message))
    checkout = json.loads(options.checkout.read_bytes()) if options.checkout else None
    result = _carry_out(config, directory, options.resume, options.threads, checkout)
    if result is None:
        print(f"stopped; to go on: the same again with --directory {directory} --resume", file=sys.stderr)
        return EXIT_INTERRUPTED
    if options.json:
        print(json.dumps({"directory": str(directory), "result": dataclasses.asdict(result)}))
        return 0
    values = ", ".join(f"{name} {value:.6g}" for name, value in result.values.items())
    print(f"done: {values}; see {directory}")
    return 0


def _read(path: Path) -> RunConfig:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return parse_run(json.loads(text))
    except OSError as error:
        raise ConfigError(Problem(str(path), f"can't be read: {error.strerror}")) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(Problem(str(path), f"isn't JSON: {error}")) from error


def _folder_name(config: RunConfig) -> str:
    return re.sub(r"[^\w.-]+", "-", config.name).strip("-.") or config_hash(config)[:12]


def _carry_out(
    config: RunConfig, directory: Path, resume: bool, threads: int | None, checkout: dict[str, Any] | None
) -> Result | None:
    """The run's Result; None when Ctrl-C ended it."""
    config, interrupt = hub.spelt_out(config), Interrupt()
    events = _events(config, directory, resume, threads, interrupt)
    pauses, result = False, None
    with Record(directory, to_json(config), checkout) as record, Console(sys.stderr) as console:
        for event in events:
            record.add(event)
            console.show(event)
            result = event if isinstance(event, Result) else result
            pauses = pauses or (isinstance(event, Started) and isinstance(config, TrainConfig))
            if interrupt.came and not pauses:  # a training run that has started ends by itself, with a checkpoint
                break
    return result


def _events(
    config: RunConfig, directory: Path, resume: bool, threads: int | None, interrupt: Interrupt
) -> Iterator[Event]:
    from laser_core.run import execute, inputs, newest  # loads torch: seconds, so only for a run that reads well

    files = hub.locate(inputs(config), config.task, lambda text: print(text, file=sys.stderr))
    start = newest(directory) if resume else None
    return execute(config, directory, resume=start, files=files, threads=threads, wants_pause=interrupt)


def _follow(config: RunConfig, directory: Path, resume: bool, threads: int | None) -> int:
    """One of several processes that train together, but the first: writes and says nothing."""
    is_done = False
    for event in _events(hub.spelt_out(config), directory, resume, threads, Interrupt()):
        is_done = isinstance(event, Result)
    return 0 if is_done else EXIT_INTERRUPTED


# --- parity ------------------------------------------------------------------------------------------------------------


def _parity(words: list[str]) -> int:
    from laser_core import parity

    parser = argparse.ArgumentParser(
        prog="python -m laser_core parity", description=(parity.__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("vectors", type=Path, help="recorded numbers, a safetensors file")
    parser.add_argument("config", type=Path, help="the official model's configuration, a JSON file")
    parser.add_argument("--store", help="one activation store alone")
    options = parser.parse_args(words)
    try:
        report = parity.run(options.vectors, options.config, options.store)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    print(json.dumps(report))
    return 0 if report["ok"] else EXIT_FAILED


def _bench(words: list[str]) -> int:
    from laser_core.bench.command import main as bench

    return bench(words)


# --- checkpoints of the official code ----------------------------------------------------------------------------------


def _import_official(words: list[str]) -> int:
    from laser_core.official import import_official

    parser = argparse.ArgumentParser(
        prog="python -m laser_core import-official", description="Makes a checkpoint of the official code's weights."
    )
    parser.add_argument("weights", type=Path, help="the official model's state, a safetensors file")
    parser.add_argument("--config", type=Path, required=True, help="the official model's configuration, a JSON file")
    parser.add_argument("--out", type=Path, required=True, help="the run's directory to make")
    parser.add_argument(
        "--task", type=Path, help="what it was trained on, as in a run; told from its sizes if not given"
    )
    options = parser.parse_args(words)
    folder = import_official(options.weights, options.config, options.out, options.task)
    print(f"wrote {folder}; to measure it: an eval run with checkpoint {options.out}")
    return 0


def _export_official(words: list[str]) -> int:
    from laser_core.official import export_official

    parser = argparse.ArgumentParser(
        prog="python -m laser_core export-official", description="Writes a checkpoint under the official code's names."
    )
    parser.add_argument("checkpoint", type=Path, help="a run's directory, or a checkpoint's folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="the safetensors file; its configuration goes beside it"
    )
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged weights, or the last step's")
    options = parser.parse_args(words)
    print(f"wrote {options.out} and {export_official(options.checkpoint, options.out, options.weights)}")
    return 0


_COMMANDS = {
    "parity": _parity,
    "bench": _bench,
    "import-official": _import_official,
    "export-official": _export_official,
}

if __name__ == "__main__":
    sys.exit(main())
