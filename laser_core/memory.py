"""Counts what is held between forward and backward: every saved tensor's storage once, by site and kind.

Weights and buffers aren't counted: they exist anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from laser_core.events import Memory, SiteBytes
from laser_core.layers import Linear
from laser_core.model import TRM
from laser_core.stores.base import ActivationStore

Account = Counter[tuple[str, str]]  # bytes by (site, kind)


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
    sites = tuple(SiteBytes(site, kind, saved_bytes) for (site, kind), saved_bytes in account.items())
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
            account[model.store.labels.get(address, places[-1])] += tensor.untyped_storage().nbytes()
        return tensor

    with ExitStack() as stack, saved_tensors_hooks(pack, lambda tensor: tensor):
        for module, place in _places(model).items():
            stack.enter_context(_entered(module, places, place))
        yield account


def _places(model: TRM) -> dict[nn.Module, tuple[str, str]]:
    places: dict[nn.Module, tuple[str, str]] = {model: ("model", "other")}
    places |= {child: (name, "embedding" if "embedding" in name else "head") for name, child in model.named_children()}
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
