"""The book of results says what the raw files say, and no more; the committed one isn't stale."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.accuracy import COLUMNS, TASKS
from benchmarks.book.contents import book, sections
from benchmarks.book.figures import Mark, Panel, figure
from benchmarks.verdicts import is_false, simulated
from laser_core.verdicts import verdict

RESULTS = Path(__file__).parents[1] / "docs" / "results"
EQUAL, NOT_WORSE, *_ = TASKS


@pytest.fixture
def accuracy(tmp_path):
    """Writes rows: ``accuracy({(task, store): exact accuracy of every seed})``; gives the sections by title."""

    def accuracy(values):
        with (tmp_path / "accuracy.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for (task, store), exact in values.items():
                writer.writerows((task, store, seed, value, 10, 100, 0.1) for seed, value in enumerate(exact))
        return {section.title: section for section in sections(tmp_path)}

    return accuracy


def row(store, setting, saved, time, cosine, stage="late", **more):
    return {
        "store": store, "setting": setting, "block": "attention", "stage": stage, "saved_fraction": saved,
        "peak_fraction": 0.5, "step_time_ratio": time, "step_time_interval": [time, time], "grad_cosine": cosine,
        "grad_relative_error": 0.1, **more,
    }  # fmt: skip


def front(folder, *rows, **more):
    report = {"rows": [row("eager", "none", 1.0, 1.0, 1.0), row("checkpoint", "block", 0.05, 1.2, 1.0), *rows]}
    (folder / "bench_core.json").write_text(json.dumps(report | {"hardware": {"device": "cpu"}, "config": {}} | more))
    return {section.title: section for section in sections(folder)}


def test_the_committed_book_is_what_the_command_makes():
    for name, text in book(RESULTS).items():
        path = RESULTS / name
        assert path.exists(), f"{path}: run `make results` and commit what it writes"
        assert path.read_text(encoding="utf-8") == text, f"{path} is stale: run `make results`"


def test_without_raw_files_nothing_is_claimed(tmp_path):
    made = sections(tmp_path)
    assert {each.answer for each in made} == {"not measured"}
    assert all(each.command for each in made)
    assert list(book(tmp_path)) == ["README.md"]


def test_links_to_sections_and_figures_lead_somewhere():
    made = book(RESULTS)
    page = made["README.md"]
    for each in sections(RESULTS):
        assert f"](#{each.anchor})" in page
        assert all((RESULTS / name).exists() for name in each.raw)
        assert f"\n## {each.title}\n" in page
    for name, drawing in made.items():
        if name.endswith(".svg"):
            assert f"]({name})" in page
            ElementTree.fromstring(drawing)


def test_incomplete_pairs_are_told(accuracy):
    section = accuracy({(EQUAL, "none"): [0.99] * 10, (EQUAL, "laser-coded"): [0.99] * 7})[f"Accuracy: {EQUAL} Sudoku"]
    assert section.answer.startswith("undecided, 7 of 10 pairs so far")
    assert any("7 of 10 pairs" in line for line in section.failed)
    assert "0 of 3" in section.text()  # random


@pytest.mark.parametrize(
    ("lost", "noise", "answer"), [(0, 0.002, "holds"), (0.05, 0.002, "does not hold"), (0.01, 0.03, "undecided")]
)
def test_equivalence(accuracy, lost, noise, answer):
    plain = [0.985 + seed / 1000 for seed in range(10)]
    coded = [value - lost - (seed % 3 - 1) * noise for seed, value in enumerate(plain)]
    section = accuracy({(EQUAL, "none"): plain, (EQUAL, "laser-coded"): coded})[f"Accuracy: {EQUAL} Sudoku"]
    assert section.answer.split(" (")[0] == answer


def test_non_inferiority_and_the_range_of_the_baseline(accuracy):
    plain = [0.97, 0.96, 0.975, 0.965, 0.97, 0.96, 0.98, 0.97]
    made = accuracy({(NOT_WORSE, "none"): plain, (NOT_WORSE, "laser-coded"): [v + 0.01 for v in plain]})
    section = made[f"Accuracy: {NOT_WORSE} Sudoku"]
    assert section.answer.startswith("holds (non-inferior")
    assert any("meant to end between 60 and 95" in line for line in section.failed)


def test_a_late_fall_is_told(accuracy, tmp_path):
    with (tmp_path / "accuracy_curves.csv").open("w") as file:
        file.write("task,store,seed,step,exact_accuracy\n")
        file.writelines(f"{EQUAL},laser-coded,1,{step},{value}\n" for step, value in ((200, 0.99), (400, 0.95)))
    section = accuracy({(EQUAL, "none"): [0.99] * 2, (EQUAL, "laser-coded"): [0.99, 0.95]})[f"Accuracy: {EQUAL} Sudoku"]
    assert any("seed 1, fell from 99.0 % at step 200 to 95.0 %" in line for line in section.failed)
    assert list(section.figures) == [f"accuracy-{EQUAL}.svg"]


def test_the_front_needs_every_limit_at_once(tmp_path):
    quant = row("quant", "4 bits", 0.04, 1.1, 0.98)
    good = front(tmp_path, quant, row("laser-coded", "fine", 0.02, 1.1, 0.995))["The front"]
    assert good.answer == "holds where it was measured"  # one of two blocks
    for saved, time, cosine in ((0.04, 1.1, 0.995), (0.02, 1.3, 0.995), (0.02, 1.1, 0.98)):
        bad = front(tmp_path, quant, row("laser-coded", "bad", saved, time, cosine))["The front"]
        assert bad.answer.startswith("does not hold")
    uncertain = row("laser-coded", "fine", 0.02, 1.1, 0.995, step_time_vs_checkpoint_interval=[0.9, 1.01])
    assert front(tmp_path, quant, uncertain)["The front"].answer.startswith("does not hold")
    early = row("laser-coded", "fine", 0.02, 1.1, 0.995, stage="mid")
    assert front(tmp_path, quant, early)["The front"].answer.startswith("does not hold")


def test_a_setting_is_near_the_limit_only_if_it_is_at_every_stage(tmp_path):
    rows = [
        row("laser-coded", setting, 0.02, 1.1, 0.995, stage=stage)
        | {"code_over_bound": over, "code_over_basis_bound": over - 0.1}
        for setting, overs in (("near", (1.1, 1.3)), ("late only", (1.4, 1.2)))
        for stage, over in zip(("mid", "late"), overs, strict=True)
    ]
    told = front(tmp_path, *rows)["The limit"].answer
    assert told.startswith("codes, by the spectra: holds at every stage with near (at most 1.300), not with 1 others; ")
    told = front(tmp_path, *rows[2:])["The limit"].answer
    assert told.startswith("codes, by the spectra: does not hold; ")
    assert "by the energies along their bases: holds at every stage with late only (at most 1.300)" in told


def test_the_depth_against_its_shares(tmp_path):
    depth = [
        {"block": "attention", "latent_steps": n, "cycles": 3, "store": "laser-coded", "saved_bytes": 10, "steps": 200,
         "of_shallowest_eager": share} for n, share in ((12, 0.09), (24, 0.21))
    ]  # fmt: skip
    assert front(tmp_path, depth=depth)["Depth"].answer == "does not hold in 1 of 2 cases"


def test_a_gpu_report_from_a_cpu_measures_no_gpu(tmp_path):
    report = {"rows": [row("laser-coded", "fine", 0.02, 1.1, 0.99)], "hardware": {"device": "cpu"}, "config": {}}
    (tmp_path / "bench_gpu.json").write_text(json.dumps(report))
    assert {section.title: section for section in sections(tmp_path)}["GPU"].answer == "not measured"


def test_figures_survive_single_and_equal_values():
    drawing = figure([Panel("a < b", "x", "y", [Mark([(1.0, 2.0)], label="&")], x_log=True), Panel("none", "x", "y")])
    assert "nan" not in drawing
    ElementTree.fromstring(drawing)


def test_verdicts_hold_only_where_few_are_false(tmp_path):
    def told(**changes):
        line = {
            "noise": "normal", "case": "no effect", "pairs": "6", "experiments": 100, "true_difference": 0.0, "deviation": 1.0,
            "verdicts": {"better": 4, "worse": 0, "undecided": 96}, "false_rate": 0.04, "claims_under_six_pairs": 0,
        }  # fmt: skip
        (tmp_path / "verdicts.json").write_text(
            json.dumps({"alpha": 0.05, "margin": 2.0, "seed": 0, "rows": [line | changes]})
        )
        return {section.title: section for section in sections(tmp_path)}["Verdicts"]

    assert told().answer == "holds"
    assert told(false_rate=0.06).answer.startswith("does not hold")
    assert told(claims_under_six_pairs=1).answer.startswith("does not hold")
    assert "lopsided" in told(noise="skewed", false_rate=0.06).failed[0]


def test_a_verdict_is_false_when_it_is_not_so():
    false = [(answer, d) for answer in ("better", "worse", "equivalent", "undecided") for d in (-2.0, -1.0, 0.0, 1.0)
             if is_false(answer, d)]  # fmt: skip
    assert false == [
        ("better", -2.0),
        ("better", -1.0),
        ("better", 0.0),
        ("worse", 0.0),
        ("worse", 1.0),
        ("equivalent", -2.0),
    ]
    counted = simulated("normal", "large loss", "3 to 20", 36, 0)
    assert counted["verdicts"]["too few seeds"] == 6  # of 3, 4 and 5 pairs
    assert counted["claims_under_six_pairs"] == 0


def test_the_experiments_report_is_what_the_engine_says_of_its_pairs():
    report = json.loads((RESULTS / "experiment_4x4.json").read_text())
    (judged,) = report["verdicts"]
    values = ([pair[name] for pair in judged["differences"]] for name in ("baseline", "variant"))
    told = verdict(*values, report["experiment"]["margin"]).to_json()
    assert to_nine_digits({name: judged[name] for name in told}) == to_nine_digits(told)
    assert report["sentence"] in book(RESULTS)["README.md"]


def to_nine_digits(value):
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.9g}"))
