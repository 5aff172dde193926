"""Counts what is held between forward and backward: every saved tensor's storage once, by site and kind.

``measure`` and ``recorded`` count what autograd really saves; ``predicted`` is the formula that must agree to the byte.
Weights and buffers aren't counted: they exist anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from laser_core.events import Memory, SiteBytes
from laser_core.layers import Attention, Linear
from laser_core.model import TRM
from laser_core.stores.base import ActivationStore
from laser_core.stores.fused import Fused, code_sites
from laser_core.stores.laser_coded import LaserCoded
from laser_core.stores.quant import Quant
from laser_core.stores.tracked import TrackedStore

Account = Counter[tuple[str, str, int]]  # bytes by site, kind and recursion step (-1 outside of the recursion)
Totals = Counter[tuple[str, str]]  # bytes by site and kind


def measure(model: TRM, forward: Callable[[], Tensor], step: int, eager_bytes: int | None = None) -> Memory:
    """Memory of one forward pass with the model's store as it stands, beside eager training's.

    ``forward`` builds the loss from the model and returns it; it is called here once or twice, and must leave no trace of
    it (as ``supervision_step`` and ``act_loss`` do). Call between training steps. Eager bytes depend on shapes alone: give
    those of an earlier measurement to spare the second call.
    """
    with recorded(model) as account:
        loss = forward()
    del loss
    if eager_bytes is None:
        eager_bytes = eager_account(model, forward).total()
    sites = tuple(SiteBytes(site, kind, held, step) for (site, kind, step), held in account.items())
    return Memory(step, account.total(), eager_bytes, sites)


def eager_account(model: TRM, forward: Callable[[], Tensor]) -> Account:
    """What eager training of the same model on the same shapes holds."""
    store, model.store = model.store, ActivationStore()
    try:
        with recorded(model) as account:
            loss = forward()
        del loss
    finally:
        model.store = store
    return account


@contextmanager
def recorded(model: TRM) -> Iterator[Account]:
    """Counts the tensors saved for backward by what runs inside. Their graph must be alive until the block ends."""
    account: Account = Counter()
    seen = {_address(tensor) for tensor in (*model.parameters(), *model.buffers())}
    places = [("loss", "loss")]  # what is saved outside of the model belongs to the loss

    def pack(tensor: Tensor) -> Tensor:
        address = _address(tensor)
        if address not in seen:
            seen.add(address)
            site, kind = model.store.labels.get(address, places[-1])
            account[site, kind, model.store.recursion_step] += tensor.untyped_storage().nbytes()
        return tensor

    with ExitStack() as stack, saved_tensors_hooks(pack, lambda tensor: tensor):
        for module, place in _places(model).items():
            stack.enter_context(_entered(module, places, place))
        yield account


def totals(account: Account) -> Totals:
    """The account without its recursion steps."""
    sums: Totals = Counter()
    for (site, kind, _), held in account.items():
        sums[site, kind] += held
    return sums


# --- the formula -------------------------------------------------------------------------------------------------------

HALF, FLOAT, DOUBLE, INT64, BOOL = 2, 4, 8, 8, 1  # bytes


def predicted(model: TRM, batch_size: int) -> Totals:
    """Bytes of one forward pass by site and kind, for the stores ``none``, ``laser``, ``laser-fused``, ``laser-coded`` and
    ``quant`` with the bases they have now and no ``reuse``; float32, attention by PyTorch's flash kernel (the one on CPUs)."""
    config, cells = model.config, batch_size * model.seq_len
    calls = config.latent_steps + 1
    account: Totals = Counter({("token_embedding", "embedding"): cells * INT64})
    recursion = _predicted_fused if isinstance(model.store, Fused) else _predicted_eager
    rows = batch_size * (model.puzzle_positions + model.seq_len)
    account += recursion(model, calls, rows)
    if account[model.blocks[-1].name + ".h2", "code"] < calls * rows * config.width * FLOAT:
        account["lm_head", "head"] = rows * config.width * FLOAT  # the answer, unless it is kept in full already
    per_cell = 4 * model.vocab_size * DOUBLE + model.vocab_size * BOOL + DOUBLE + INT64 + BOOL
    per_puzzle = INT64 + 2 * FLOAT + FLOAT  # labelled cells, the halting head's two outputs, exactness
    account["loss", "loss"] = cells * per_cell + batch_size * per_puzzle
    return account


def _predicted_eager(model: TRM, calls: int, rows: int) -> Totals:
    """The recursion kept by eager training, with the inputs of linear layers coded where they have a basis."""
    account: Totals = Counter()
    width, heads = model.config.width, model.config.heads
    places = _places(model)
    for sublayer in (s for block in model.blocks for s in block.sublayers):
        width_in, width_out = sublayer.inner.weight.shape[1], sublayer.outer.weight.shape[1]
        lines = rows * width // width_in  # what the sublayer's linear layers see as rows
        account += _coded(model.store, sublayer.inner.site, "linear", calls, lines, width_in)
        if isinstance(sublayer, Attention):  # queries, keys and values (packed, then rotated), output, log-sum-exp
            per_row = (6 if sublayer.core.rope else 4) * width + heads
            account[places[sublayer.core]] = calls * rows * per_row * FLOAT
        else:  # gate, up, silu(gate)
            account += _coded(model.store, sublayer.outer.site, "linear", calls, lines, width_out)
            account[places[sublayer.core]] = calls * lines * 3 * width_out * FLOAT
        account[places[sublayer.norm]] = calls * lines * (width_in + 1) * FLOAT
    return account


def _predicted_fused(model: TRM, calls: int, rows: int) -> Totals:
    """The recursion kept as packs of h, h1 and h2, and inverse norms; or of a call's input alone."""
    assert isinstance(model.store, Fused)
    width = model.config.width
    first, *after = code_sites(model.blocks)
    account = _coded(model.store, first, "code", calls, rows, width)
    if model.store.keeps == "call":
        return account
    for sublayer, site in zip((s for block in model.blocks for s in block.sublayers), after, strict=True):
        account += _coded(model.store, site, "code", calls, rows, width)
        account[site, "norm"] = calls * rows * width // sublayer.inner.weight.shape[1] * FLOAT
    return account


def _coded(store: ActivationStore, site: str, kind_in_full: str, calls: int, rows: int, width: int) -> Totals:
    if isinstance(store, Quant):
        groups = calls * -(-rows * width // store.group)
        return Counter({(site, "code"): groups * store.group * store.bits // 8, (site, "scale"): groups * 2 * HALF})
    tracker = store.trackers.get(site) if isinstance(store, TrackedStore) else None
    if tracker is None or tracker.basis is None:
        return Counter({(site, kind_in_full): calls * rows * width * FLOAT})
    per_call = rows * tracker.rank * FLOAT
    if isinstance(store, LaserCoded):  # a step for each direction beside the codes
        per_call = round(rows * store.row_bytes(site)) + tracker.rank * FLOAT
    return Counter({(site, "code"): calls * per_call, (site, "basis"): width * tracker.rank * FLOAT})


# --- places ------------------------------------------------------------------------------------------------------------


def _places(model: TRM) -> dict[nn.Module, tuple[str, str]]:
    places: dict[nn.Module, tuple[str, str]] = {
        child: (name, "embedding" if "embedding" in name else "head") for name, child in model.named_children()
    }
    for block in model.blocks:
        for index, sublayer in enumerate(block.sublayers):
            prefix = sublayer.inner.site.rpartition(".")[0]
            places |= {layer: (layer.site, Linear.kind) for layer in (sublayer.inner, sublayer.outer)}
            places[sublayer.core] = (f"{prefix}.{sublayer.core.kind}", sublayer.core.kind)
            places[sublayer.norm] = (f"{block.name}.norm{index + 1}", sublayer.norm.kind)
    return places


@contextmanager
def _entered(module: nn.Module, places: list[tuple[str, str]], place: tuple[str, str]) -> Iterator[None]:
    """Keeps ``place`` on top of ``places`` while ``module`` is at work."""
    before = module.register_forward_pre_hook(lambda *_: places.append(place))
    after = module.register_forward_hook(lambda *_: places.pop() and None, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
