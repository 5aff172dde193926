"""The tracked subspace, against exact spectra of planted streams."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laser_core.tracker import ENOUGH_ROWS, Policy, SubspaceTracker, drift, extended, least_rank, refined, spectrum

WIDTH, ROWS = 24, 400
EVERY_STEP = Policy(energy=0.95, update_every=1, patience=3)


def orthonormal(columns, seed=0, width=WIDTH):
    return torch.linalg.qr(torch.randn(width, columns, generator=torch.Generator().manual_seed(seed))).Q


def stream(basis, seed, noise=0.05, rows=ROWS):
    """Rows in the span of ``basis``, the leading directions stronger, and noise around them."""
    generator = torch.Generator().manual_seed(1000 + seed)
    scales = torch.linspace(2, 1, basis.shape[-1])
    x = (torch.randn(rows, basis.shape[-1], generator=generator) * scales) @ basis.T
    return x + noise * torch.randn(rows, basis.shape[0], generator=generator)


def update(tracker, step, *activations):
    tracker.begin_step(step)
    for x in activations:
        if tracker.observing:
            tracker.observe(x)
    return tracker.end_step(step)


def turned(basis, other, angle):
    """``basis`` rotated by ``angle`` towards ``other``, orthogonal to it."""
    return math.cos(angle) * basis + math.sin(angle) * other


# --- mathematics


@given(seed=st.integers(0, 10**6), columns=st.integers(1, WIDTH), rank=st.integers(1, WIDTH))
def test_one_power_iteration_gives_an_orthonormal_basis_and_energies_below_the_true(seed, columns, rank):
    x = stream(orthonormal(rank, seed), seed, noise=0.0).double()
    gram = x.T @ x
    probe = torch.linalg.qr(orthonormal(columns, seed + 1).double()).Q
    basis, energies = refined(probe, gram @ probe)
    torch.testing.assert_close(basis.T @ basis, torch.eye(columns, dtype=torch.float64), rtol=0, atol=1e-10)
    assert (energies.diff() <= 1e-6 * energies[0]).all()
    true = spectrum(gram)[1]
    assert (energies <= true[:columns] + 1e-6 * true[0]).all()


@given(seed=st.integers(0, 10**6))
def test_spectrum_splits_the_energy(seed):
    x = stream(orthonormal(6, seed), seed)
    directions, energies = spectrum(x.double().T @ x.double())
    torch.testing.assert_close(directions.T @ directions, torch.eye(WIDTH, dtype=torch.float64))
    torch.testing.assert_close(energies.sum(), x.double().square().sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close((x.double() @ directions).square().sum(0), energies, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 10**6), have=st.integers(1, 10), columns=st.integers(1, WIDTH))
def test_extended_is_orthonormal_and_keeps_what_it_had(seed, have, columns):
    basis = orthonormal(have, seed).double()
    longer = extended(basis, columns, seed)
    torch.testing.assert_close(longer.T @ longer, torch.eye(columns, dtype=torch.float64), rtol=0, atol=1e-5)
    assert torch.equal(longer[:, :have], basis[:, :columns])


def test_least_rank():
    energies = torch.tensor([6.0, 3.0, 1.0])
    assert [least_rank(energies, 10.0, share) for share in (0.5, 0.6, 0.61, 0.9, 0.95, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert least_rank(energies, 20.0, 0.9) == 4


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.3, math.pi / 2])
def test_drift_is_the_sine_of_the_planted_angle(angle, dtype, near):
    both = torch.linalg.qr(orthonormal(8).double()).Q
    other = turned(both[:, :4], both[:, 4:], angle).to(dtype)
    both = both.to(dtype)
    assert drift(both[:, :4], other) == pytest.approx(math.sin(angle), abs=near)
    assert drift(both[:, :4], both) == pytest.approx(0, abs=near)
    assert drift(both, both[:, :4]) == pytest.approx(0, abs=near)


# --- policy


def test_the_first_step_keeps_everything_and_finds_the_least_rank():
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    x = stream(orthonormal(5), 0)
    assert tracker.basis is None
    trace = update(tracker, 1, x)
    energies = spectrum(x.T @ x)[1]
    assert trace.event == "init"
    assert trace.fidelity == 1.0
    assert trace.rank == tracker.rank == least_rank(energies, float(energies.sum()), 0.95)
    assert sum(trace.energies) >= 0.95 > sum(trace.energies[:-1])
    assert trace.saved_bytes == (ROWS + WIDTH) * trace.rank * 4


def test_one_basis_serves_all_recursion_steps():
    x, y = stream(orthonormal(5), 0), stream(orthonormal(5, seed=9), 1)
    apart, together = SubspaceTracker("s", WIDTH, EVERY_STEP), SubspaceTracker("s", WIDTH, EVERY_STEP)
    for step in (1, 2):
        traces = update(apart, step, x, y), update(together, step, torch.cat((x, y)))
        assert traces[0].rank == traces[1].rank
        assert traces[0].fidelity == pytest.approx(traces[1].fidelity, abs=1e-5)
    assert drift(apart.basis, together.basis) < 1e-3


def test_fidelity_is_the_energy_that_the_basis_held():
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    update(tracker, 1, stream(orthonormal(5), 0))
    held = tracker.basis.clone()
    x = stream(orthonormal(5, seed=3), 1)
    trace = update(tracker, 2, x)
    assert trace.fidelity == pytest.approx(float((x @ held).square().sum() / x.square().sum()), rel=1e-5)
    assert trace.drift == pytest.approx(drift(held, tracker.basis), abs=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.02, 0.1])
def test_a_drifting_subspace_is_followed_within_one_percent_of_the_svd(angle):
    """The planted subspace turns by ``angle`` at every update; the basis after each is compared with the exact one."""
    both = orthonormal(8)
    policy = Policy(rank=4, adapt=False, update_every=1)
    tracker = SubspaceTracker("s", WIDTH, policy)
    for step in range(1, 40):
        x = stream(turned(both[:, :4], both[:, 4:], angle * step), step)
        trace = update(tracker, step, x)
        exact = spectrum(x.T @ x)[0][:, :4].float()
        assert (x @ tracker.basis).square().sum() >= 0.99 * (x @ exact).square().sum()
        torch.testing.assert_close(tracker.basis.T @ tracker.basis, torch.eye(4), rtol=0, atol=1e-5)
        assert trace.rank == 4
        assert trace.event == ("init" if step == 1 else "update")


def test_a_stationary_stream_never_resets_and_settles():
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    traces = [update(tracker, step, stream(orthonormal(6), step, noise=0.2)) for step in range(1, 100)]
    events = [trace.event for trace in traces]
    assert "reset" not in events
    assert "fallback" not in events
    assert set(events[20:]) == {"update"}
    assert min(trace.fidelity for trace in traces[20:]) >= 0.95


def test_a_planted_jump_is_answered_within_patience_updates():
    """The stream leaves for as many new directions, then for so many that growth can't follow: that resets."""
    tracker = SubspaceTracker("s", 64, EVERY_STEP)
    everything = orthonormal(64, width=64)
    traces = {}
    for step in range(1, 40):
        basis = everything[:, :4] if step < 10 else everything[:, 4:8] if step < 20 else everything[:, 8:48]
        traces[step] = update(tracker, step, stream(basis, step))
    assert traces[10].fidelity < 0.1
    assert traces[10].event == "grow"
    assert all(traces[step].fidelity >= 0.95 for step in range(13, 20))
    assert traces[20].fidelity < 0.1
    resets = [step for step, trace in traces.items() if trace.event == "reset"]
    assert len(resets) == 1
    assert 20 < resets[0] <= 20 + EVERY_STEP.patience
    assert all(traces[step].fidelity >= 0.9 for step in range(resets[0] + 1, 40))
    assert all(traces[step].fidelity >= 0.95 for step in range(30, 40))


def test_rank_grows_and_shrinks_with_the_streams():
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    everything = orthonormal(WIDTH)
    ranks, events = {}, {}
    for step in range(1, 60):
        planted = 4 if step < 20 else 9 if step < 40 else 3
        trace = update(tracker, step, stream(everything[:, :planted], step))
        ranks[step], events[step] = trace.rank, trace.event
    assert ranks[19] == 4
    assert 8 <= ranks[39] <= 10
    assert ranks[59] == 3
    assert "grow" in (events[20], events[21])
    assert "shrink" in [events[step] for step in range(40, 45)]


def test_a_site_kept_in_full_comes_back_when_its_spectrum_allows():
    """Looks at it come at intervals that double, up to a limit."""
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    everything = orthonormal(WIDTH)
    traces = {}
    for step in range(1, 80):
        planted = WIDTH if step < 40 else 3
        traces[step] = update(tracker, step, stream(everything[:, :planted], step, rows=60))
    looked = [step for step, trace in traces.items() if trace is not None]
    assert looked[:7] == [1, 3, 7, 15, 31, 47, 48]
    assert [traces[step].event for step in looked[:5]] == ["fallback"] * 5
    assert traces[47].event == "shrink"
    assert traces[47].rank == tracker.rank == 3
    assert tracker.basis.shape == (WIDTH, 3)


def test_full_rank_is_kept_without_looking_again():
    tracker = SubspaceTracker("s", WIDTH, Policy(energy=1.0, update_every=1))
    trace = update(tracker, 1, stream(orthonormal(3), 0, noise=0.0))
    assert (trace.event, trace.rank) == ("fallback", WIDTH)
    tracker.begin_step(2)
    assert not tracker.observing


def test_updates_come_at_doubling_intervals_and_at_once_after_a_miss():
    tracker = SubspaceTracker("s", WIDTH, Policy(energy=0.9, update_every=6))
    jump = stream(orthonormal(3, seed=8), 0)
    steps = [
        step for step in range(1, 35) if update(tracker, step, jump if step >= 20 else stream(orthonormal(3), step))
    ]
    assert steps == [1, 3, 7, 13, 19, 25, 26, 28, 32]
    fixed = SubspaceTracker("s", WIDTH, Policy(rank=3, adapt=False, update_every=4))
    assert [step for step in range(1, 14) if update(fixed, step, stream(orthonormal(3), step))] == [1, 5, 9, 13]


@pytest.mark.parametrize("rank", [4, 20])
def test_a_sample_of_many_rows_stands_for_all(rank):
    """From the second step on, whether the update is made from a sketch or, where the basis is wide, from all directions."""
    tracker = SubspaceTracker("s", WIDTH, Policy(rank=rank, adapt=False, update_every=1))
    basis = orthonormal(WIDTH)[:, :rank]
    for step in range(1, 6):
        x = stream(basis, step, rows=30 * ENOUGH_ROWS)
        held = None if tracker.basis is None else float((x @ tracker.basis).square().sum() / x.square().sum())
        trace = update(tracker, step, *x.chunk(6))
        exact = spectrum(x.T @ x)[0][:, :rank].float()
        assert (x @ tracker.basis).square().sum() >= 0.999 * (x @ exact).square().sum()
        assert held is None or trace.fidelity == pytest.approx(held, abs=2e-3)
        assert held is None or len(trace.fidelities) == 6
        assert trace.saved_bytes == (len(x) + WIDTH) * rank * 4


@pytest.mark.parametrize("positions", [2, 3, 5, 81])
def test_a_sample_sees_every_position(positions):
    """Energy in one position of a puzzle alone is found whichever it is, where every 30th row would miss most."""
    rows = 30_780
    assert rows // ENOUGH_ROWS == 30
    assert rows % 30 == rows % 81 == 0
    for position in range(min(positions, 7)):
        tracker = SubspaceTracker("s", WIDTH, Policy(rank=1, adapt=False, update_every=1))
        x = torch.zeros(rows, WIDTH)
        x[position::positions, 3] = 1
        update(tracker, 1, torch.ones(rows, WIDTH))
        for step in (2, 3):
            update(tracker, step, x)
        assert abs(float(tracker.basis[3, 0])) > 0.99


@pytest.mark.parametrize(("rank", "rows"), [(8, 780), (300, 780), (400, 3888)])
def test_as_many_rows_are_looked_at_as_directions_are_sought(rank, rows):
    """Of six times 648, whose divisors leave strides of 5, 7 …: every fifth where 16 or 308 directions are probed, and all
    where the whole spectrum is wanted, of 768."""
    tracker, seen = SubspaceTracker("s", 768, Policy(rank=rank, adapt=False, update_every=1)), []
    plain = tracker._sample

    def watched(*given):
        seen.append(len(plain(*given)))
        return plain(*given)

    tracker._sample = watched
    for step in (1, 2):
        seen.clear()
        update(tracker, step, *stream(orthonormal(768, width=768), step, rows=6 * 648).chunk(6))
    assert abs(sum(seen) - rows) <= 6


def test_a_sample_is_the_same_of_the_whole_batch_for_any_number_of_processes(monkeypatch):
    x = torch.arange(6000.0).repeat_interleave(WIDTH).view(-1, WIDTH)
    drawn = {}
    for processes in (1, 2, 3):
        monkeypatch.setattr("laser_core.tracker.size", lambda count=processes: count)
        drawn[processes] = []
        for number, part in enumerate(x.chunk(processes)):
            monkeypatch.setattr("laser_core.tracker.place", lambda own=number: own)
            tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
            tracker.load_state_dict(tracker.state_dict() | {"rows": 12_000, "updates": 3})
            drawn[processes].append(tracker._sample(part, WIDTH))
    assert len(drawn[1][0]) < len(x) / 10
    assert torch.equal(torch.cat(drawn[2]), drawn[1][0])
    assert torch.equal(torch.cat(drawn[3]), drawn[1][0])


def test_a_rank_leaves_room_for_what_the_next_batch_takes_away():
    """Batches of few rows: a basis fits its own better than the next, and yet the next ones are held."""
    tracker, everything = SubspaceTracker("s", WIDTH, EVERY_STEP), orthonormal(WIDTH)
    scales = 0.7 ** torch.arange(WIDTH)
    traces = []
    for step in range(1, 200):
        generator = torch.Generator().manual_seed(step)
        traces.append(update(tracker, step, (torch.randn(12, WIDTH, generator=generator) * scales) @ everything.T))
    fidelities = [trace.fidelity for trace in traces[20:]]
    assert sum(fidelities) / len(fidelities) > EVERY_STEP.energy
    assert "reset" not in [trace.event for trace in traces[20:]]
    assert max(trace.rank for trace in traces[20:]) < WIDTH / 2


def with_a_tail_of_its_own(step):
    """Four directions that all batches have, and a twentieth of the energy in six of twenty that are this batch's."""
    everything = orthonormal(WIDTH)
    chosen = torch.randperm(WIDTH - 4, generator=torch.Generator().manual_seed(step))[:6] + 4
    strong, weak = stream(everything[:, :4], step, noise=0.0), stream(everything[:, chosen], step + 1000, noise=0.0)
    return strong / strong.norm() + weak / weak.norm() * math.sqrt(0.05)


def test_where_batches_have_tails_of_their_own_the_rank_grows_until_it_holds_them():
    """A reset finds the rank of one batch, and undoes what growth has found; the next batch would miss again."""
    late = []
    for number in range(5):
        tracker = SubspaceTracker("s", WIDTH, Policy(energy=0.99, update_every=1, bits=8))
        traces = [update(tracker, step, with_a_tail_of_its_own(200 * number + step)) for step in range(1, 40)]
        assert traces[0].rank <= 10
        assert min(trace.fidelity for trace in traces[1:4]) < 0.98
        late += traces[15:]
    assert sum(trace.fidelity for trace in late) / len(late) > 0.988
    assert [trace.event for trace in late].count("reset") <= len(late) // 40


def test_growth_that_helps_before_the_reset_makes_it_needless():
    """After as many misses as patience allows, the rank would be found anew; unless the basis holds the batch after all."""
    tracker, wide = SubspaceTracker("s", WIDTH, Policy(energy=0.99, update_every=1, bits=8)), orthonormal(12)
    traces = [update(tracker, step, stream(wide[:, : 2 + step], step)) for step in range(1, 5)]
    assert [trace.event for trace in traces] == ["init", "grow", "grow", "grow"]
    lost = SubspaceTracker("s", WIDTH, tracker.policy)
    lost.load_state_dict(tracker.state_dict())
    assert update(lost, 5, stream(orthonormal(12, seed=1), 5)).event == "reset"
    assert update(tracker, 5, stream(wide[:, :5], 5)).event == "shrink"
    assert update(tracker, 6, stream(wide[:, 4:9], 6)).event == "grow"  # and patience begins anew


def test_shares_are_those_of_a_batch_to_come():
    tracker = SubspaceTracker("s", WIDTH, Policy(rank=WIDTH - 1, adapt=False, update_every=1, bits=8))
    for step in range(1, 6):
        update(tracker, step, with_a_tail_of_its_own(step))
    x = with_a_tail_of_its_own(6)
    held = (x @ tracker.basis).square().sum(0) / x.square().sum()
    assert held[10:].sum() > 0.015  # of directions that the last batch had none of
    assert 0.5 * held[10:].sum() < tracker.shares[10:].sum() < 2 * held[10:].sum()
    assert (tracker.shares.diff() <= 0).all()


@pytest.mark.parametrize("rows", [12, 3 * ENOUGH_ROWS + 1])
def test_state_resumes_to_the_bit(rows):
    tracker, other = SubspaceTracker("s", WIDTH, EVERY_STEP), SubspaceTracker("s", WIDTH, EVERY_STEP)
    for step in range(1, 30):
        x = stream(orthonormal(3 + step // 4, seed=step // 10), step, rows=rows)
        trace = update(tracker, step, x)
        if step > 1:
            state = {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in other.state_dict().items()}
            other = SubspaceTracker("s", WIDTH, EVERY_STEP)
            other.load_state_dict(state)
        assert update(other, step, x) == trace
        assert (tracker.basis is None) == (other.basis is None)
        assert tracker.basis is None or torch.equal(tracker.basis, other.basis)


def test_a_state_from_before_samples_is_taken_up():
    tracker, other = SubspaceTracker("s", WIDTH, EVERY_STEP), SubspaceTracker("s", WIDTH, EVERY_STEP)
    update(tracker, 1, stream(orthonormal(3), 1))
    other.load_state_dict({name: value for name, value in tracker.state_dict().items() if name not in ("rows", "fall")})
    assert update(other, 3, stream(orthonormal(3), 3)).fidelity > EVERY_STEP.energy


def test_directions_stay_orthonormal_where_a_probe_knows_next_to_nothing():
    basis = orthonormal(WIDTH)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(400, 6, generator=generator) @ basis[:, 10:16].T
        probe = basis[:, :8]
        directions, energies = refined(probe, x.T @ (x @ probe))
        torch.testing.assert_close(directions.T @ directions, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-8)
        assert torch.isfinite(energies).all()


def test_silent_activations_are_no_trouble():
    tracker = SubspaceTracker("s", WIDTH, EVERY_STEP)
    assert update(tracker, 1, torch.zeros(ROWS, WIDTH)).rank == 1
    trace = update(tracker, 2, torch.zeros(ROWS, WIDTH))
    assert trace.fidelity == 1.0
    torch.testing.assert_close(tracker.basis.T @ tracker.basis, torch.eye(1))
