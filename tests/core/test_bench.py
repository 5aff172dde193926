"""The benchmark measures what it says: peaks, products and bounds against hand-made counts, and a report that is whole."""

import dataclasses
import json

import pytest
import torch

from laser_core.__main__ import main
from laser_core.bench import command, front, peak, scales, subject, timing
from laser_core.bench.breakdown import BROKEN_DOWN, breakdown
from laser_core.bench.limit import coded_sites, over_bound
from laser_core.config import LaserCodedStore, ModelConfig, SudokuTask, TrainingConfig

CPU = torch.device("cpu")
SMALL = dataclasses.replace(
    scales.QUICK,
    task=SudokuTask(size=4, train_puzzles=20, test_puzzles=4),
    model=ModelConfig(width=16, heads=2, layers=2, cycles=2, expansion=1.0),
    training=TrainingConfig(steps=4, batch_size=6, warmup_steps=1, supervision_steps=2),
    compared=tuple(
        {c.name: c for c in reversed(scales.every_store(16)) if c.compile_budget is None and not c.half}.values()
    )[::-1],
    repetitions=1,
    mid=2,
    latent_steps=(2,),
    depths=(2, 4),
    consecutive=3,
)


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def of(tmp_path_factory):
    return subject.subject(SMALL.run("attention", 2, "cpu"), 2, CPU, tmp_path_factory.mktemp("cache"), quiet)


# --- clocks and memory


def test_the_interval_of_a_median_is_made_of_order_statistics():
    values = [float(v) for v in (7, 3, 15, 1, 12, 9, 4, 14, 2, 11, 6, 13, 5, 10, 8)]
    assert timing.interval(values) == (4, 12)  # P(at most 3 of 15 below the median) = .018, at most 4: .059
    assert timing.interval([3.0, 1.0, 2.0]) == (1, 3)
    assert timing.interval([5.0]) == (5, 5)


def test_functions_are_timed_and_given_back():
    class Owner:
        @staticmethod
        def work() -> float:
            return sum(x * 0.5 for x in range(200_000))

    before = Owner.work
    with timing.timed({"work": [(Owner, "work")]}, CPU) as seconds:
        assert Owner.work() == before()
    assert 0 < seconds["work"] < 5
    assert Owner.work is before
    with pytest.raises(AttributeError, match="gone"), timing.timed({"work": [(Owner, "gone")]}, CPU):
        pass


def test_the_peak_is_the_highest_sum_of_live_bytes():
    changes = [(1, 100), (2, 50), (1, -100), (9, -70), (3, 60), (1, 45), (2, -50)]
    assert peak.highest(iter(changes)) == 155  # 2, 3 and 1 again; 9 was there before


def test_the_peak_of_tensors_made_and_dropped():
    there_before = [torch.zeros(1000)]

    def work() -> None:
        first, second = torch.zeros(1000), torch.zeros(500)
        del first
        there_before.clear()
        third = torch.zeros(700)
        assert second.shape != third.shape

    assert peak.peak_bytes(work, CPU) == 6000


def test_the_peak_of_a_backward_pass():
    x = torch.randn(10_000, requires_grad=True)

    def work() -> None:
        x.exp().exp().sum().backward()  # both outputs are saved; the inner gradient takes a third, then the second goes
        x.grad = None

    assert 120_000 <= peak.peak_bytes(work, CPU) < 160_100


# --- products


@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_products_are_those_of_the_formula(of, block, tmp_path):
    if block == "mlp":
        of = subject.subject(SMALL.run("mlp", 2, "cpu"), 2, CPU, tmp_path, quiet)
    eager, checkpoint, coded, half, call, *reusing = breakdown(of, "late", 1, quiet).values()
    model = of.model()
    square, positions, width = 16 * 16, 16, 16
    layers = [
        # a transposed sublayer's rows are features: width per position instead of one
        layer.weight.numel() * (width / positions if sublayer.transposed else 1) / square
        for sublayer in model.blocks[0].sublayers
        for layer in (sublayer.inner, sublayer.outer)
    ]
    head = model.vocab_size * width / square / 6  # lm_head, over 2 blocks · 3 calls
    small = 0.02  # the halting head
    assert eager["products"]["forward: products"] == pytest.approx(2 * sum(layers) + head, abs=small)
    assert eager["products"]["backward: weight gradients"] + eager["products"]["backward: input gradients"] == (
        pytest.approx(2 * (sum(layers) + head), abs=2 * small)
    )
    assert checkpoint["products"]["recompute: products"] == pytest.approx(sum(layers))
    if block == "attention":
        scores = 2 * positions / width
        assert eager["products"]["forward: attention"] == pytest.approx(2 * scores)
        assert eager["products"]["backward: attention"] == pytest.approx(2.5 * scores)
        assert checkpoint["products"]["recompute: attention"] == pytest.approx(scores)
    assert eager["bound"] == 1 < checkpoint["bound"]
    assert half["units"] == pytest.approx(coded["units"])
    assert call["products"]["recompute: products"] <= 1.001 * sum(layers)  # and no inner layer another time
    assert "backward: inner layers again" not in call["products"]
    for measured in (eager, checkpoint, coded, half, call, *reusing):
        assert sum(measured["shares"].values()) == pytest.approx(1)
    assert {"encode: products", "decode: products", "backward: inner layers again"} <= coded["products"].keys()


# --- codes against the bound


def test_coded_sites_are_held_to_the_bound_at_their_own_loss(trial):
    t = trial(LaserCodedStore(energy=0.99), batch_size=16, seq_len=16)
    for _ in range(3):
        t.step()
    sites = coded_sites(t.model, [t.loss, t.loss])
    assert sites.keys() == {"layers.0.h", "layers.0.h1", "layers.1.h", "layers.1.h1", "layers.1.h2"}
    for site, seen in sites.items():
        tracker = t.model.store.trackers[site]
        packs = seen["rows"] / (16 * 16)
        steps = packs * tracker.rank * 4 / seen["rows"]  # a float32 per direction and pack
        assert seen["bytes_per_row"] == pytest.approx(t.model.store.plan(site).bytes_per_row + steps)
        assert 0 < seen["lost_share"] < 0.04  # 1 - ε by the basis, as much by codes, on these very activations
        assert seen["ratio"] > seen["basis_ratio"] > 1  # no basis beats the spectrum's own
    assert min(s["ratio"] for s in sites.values()) <= over_bound(sites) <= max(s["ratio"] for s in sites.values())
    assert "pack" not in vars(t.model.store)


# --- the front


def test_what_fails_is_skipped_with_its_reason(of, monkeypatch):
    monkeypatch.setattr(front, "missing_compiler", lambda device: "needs a compiler")
    compared = (scales.EAGER, scales.CHECKPOINT, scales.Compared("compile", "budget 0.5", compile_budget=0.5))
    field = front.contenders(of, compared)

    def fails(*_):
        raise RuntimeError("out of memory\nand so on")

    monkeypatch.setattr(field[1].model.store, "call", fails)
    monkeypatch.setattr(
        front, "make_store", lambda config, seed: field[int(config == scales.CHECKPOINT.store)].model.store
    )
    eager, checkpoint, compiled = front.compare(of, "late", field, 2, quiet)
    assert eager["step_time_ratio"] == eager["saved_fraction"] == eager["peak_fraction"] == 1
    assert eager["skipped"] is None
    assert checkpoint["skipped"] == "RuntimeError: out of memory"
    assert compiled["skipped"] == "needs a compiler"
    for row in (checkpoint, compiled):
        assert (
            row["saved_fraction"] is row["step_time_ratio"] is row["grad_cosine"] is row["step_time_interval"] is None
        )


def test_every_step_of_a_situation_has_the_same_gradient(of):
    here, model = of.situation("late"), of.model()
    model.load_state_dict(of.weights("late"))
    first, second = (front.step(model, here, number, CPU)[1] for number in (1, 2))
    assert torch.equal(first, second)
    assert front.agreement(first, second) == pytest.approx((1, 0))
    assert front.agreement(-2 * first, first) == pytest.approx((-1, 3))
    assert int(here.carry.steps_B[0]) == subject.UNROLLED


# --- the command


@pytest.fixture
def small_quick(monkeypatch):
    model = dataclasses.replace(SMALL.model, layers=1)
    monkeypatch.setattr(command, "QUICK", dataclasses.replace(SMALL, model=model))


def test_the_report_is_whole(small_quick, tmp_path, capsys, monkeypatch):
    words = [
        "bench",
        "--quick",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "made" / "b.json"),
        "--cache",
        str(tmp_path),
    ]
    assert main(words) == 0
    report = json.loads((tmp_path / "made" / "b.json").read_text())
    expected = {(c.name, c.setting, b, s) for c in SMALL.compared for b in SMALL.blocks for s in SMALL.stages}
    assert {(r["store"], r["setting"], r["block"], r["stage"]) for r in report["rows"]} == expected
    for row in report["rows"]:
        assert row["skipped"] is None
        low, high = row["step_time_interval"]
        assert low <= row["step_time_ratio"] <= high
        assert 0 < row["saved_fraction"] <= 1.2
        assert row["peak_fraction"] > 0
        assert len(row["step_time_ratios"]) == SMALL.repetitions
        if row["store"] in ("eager", "checkpoint"):
            assert row["grad_cosine"] == pytest.approx(1)
            assert row["grad_relative_error"] == 0
    for block in SMALL.blocks:
        assert 0 < report["limit"][block]["laser"]["tracker_share"] < 1
        assert report["limit"][block]["laser-coded"]["layout_share"] > 0
        assert len(report["profile"][block]) == len(BROKEN_DOWN)
        depth = {(r["latent_steps"], r["store"]): r for r in report["depth"] if r["block"] == block}
        assert depth[2, "eager"]["of_shallowest_eager"] == 1 < depth[4, "eager"]["of_shallowest_eager"]
        assert depth[2, "checkpoint"]["saved_bytes"] < depth[4, "checkpoint"]["saved_bytes"]
        assert len(depth[4, "laser-coded"]["losses"]) == command.DEPTH_STEPS
    assert report["hardware"]["cores"] >= 1
    shown = capsys.readouterr()
    assert "mlp, n=2, late" in shown.out
    assert scales.AS_IT_COMES.setting in shown.out

    monkeypatch.setattr(subject, "train", lambda *_: pytest.fail("trained weights are in the cache"))
    monkeypatch.setattr(command, "trackers", lambda *_: {"anew": {"sites": {}, "tracker_share": 0, "layout_share": 0}})
    assert main([*words, "--sections", "limit"]) == 0
    again = json.loads((tmp_path / "made" / "b.json").read_text())
    assert set(again["limit"]["mlp"]) == {"anew"}
    for kept in ("rows", "depth", "profile"):
        assert again[kept] == report[kept]
    assert main([*words, "--sections", "limit", "--repetitions", "2"]) == 0  # other settings: nothing is kept
    assert json.loads((tmp_path / "made" / "b.json").read_text())["rows"] == []


def test_the_gpu_bench_runs_tiny_on_a_cpu(tmp_path, capsys):
    out = tmp_path / "g.json"
    assert main(["bench", "--gpu", "--tiny", "--device", "cpu", "--out", str(out), "--cache", str(tmp_path)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert {(r["store"], r["latent_steps"]) for r in rows} == {
        (store, n) for store in ("eager", "checkpoint", "laser-coded") for n in (2, 3)
    }
    assert all(r["samples_per_s"] > 0 and r["peak_bytes"] > r["saved_bytes"] > 0 for r in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_bench_without_a_gpu_says_so(tmp_path, capsys):
    assert main(["bench", "--gpu", "--out", str(tmp_path / "g.json")]) == 2
    assert "--gpu: no GPU is usable here; add --tiny" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--quick", "--gpu"], ["--tiny"], ["--depth-steps", "0"], ["--repetitions", "-1"]])
def test_settings_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["bench", "--out", "x.json", *words])
    assert refused.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_front_holds_every_store_at_enough_repetitions():
    names = {c.name for c in scales.CORE.compared}
    assert names == {
        "eager", "checkpoint", "laser", "laser-fused", "laser-coded", "quant", "asi", "random", "compile",
    }  # fmt: skip
    assert scales.CORE.repetitions >= 15
    assert {"eager", "checkpoint", "laser-fused", "laser-coded"} <= {c.name for c in scales.QUICK.compared}
    assert all(scales.AS_IT_COMES in scale.compared for scale in (scales.CORE, scales.QUICK, scales.GPU))
    assert scales.CORE.compared[0] == scales.QUICK.compared[0] == scales.GPU.compared[0] == scales.EAGER
