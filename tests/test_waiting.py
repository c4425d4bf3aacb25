"""That a GPU need not wait for the host within a batch: no cell's numbers are asked for while it is computed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lyrx.engine import probe, sweep
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "unique", "_unique2"}
"""Operations whose result the host has to know before it can go on."""


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x += self.block(x)
        return self.head(x.mean((2, 3)))


class Inquisitive(Convolutional):
    """The network itself asks: this many times a batch the test has to see it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


class Watch(TorchDispatchMode):
    """Counts what is asked for, by batch of the sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = 0
        self.inside = False
        self.asked: Counter[int] = Counter()

    def ask(self) -> None:
        if self.inside:
            self.asked[self.batch] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().removeprefix("aten::").split(".")[0] in ASKING:
            self.ask()
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    batch, hand_over = sweep.Sweep._batch, sweep._hand_over

    def counted(self: sweep.Sweep, *rest: Any) -> None:
        watch.batch += 1
        watch.inside = True
        try:
            batch(self, *rest)
        finally:
            watch.inside = False

    def handed_over(*rest: Any) -> None:
        # A GPU's are handed over behind the last cell of the batch.
        before, watch.inside = watch.inside, False
        hand_over(*rest)
        watch.inside = before

    monkeypatch.setattr(sweep.Sweep, "_batch", counted)
    monkeypatch.setattr(sweep, "_hand_over", handed_over)
    # These ask without an operation of their own.
    for name in ("tolist", "numpy", "cpu"):
        plain: Callable[..., Any] = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda self, *rest, plain=plain: watch.ask() or plain(self, *rest))
    return watch


def measured(watch: Watch, network: nn.Module, **options: Any) -> list[int]:
    """What was asked for in each batch but the first, where replays are compared with full forwards."""
    torch.manual_seed(0)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    inputs, targets = torch.randn(640, 3, 8, 8), torch.randint(0, 4, (640,))
    with watch:
        probe(
            network.eval(), (inputs, targets), checkpoints={0: start, 1: network.state_dict()}, exact=True,
            build=type(network), draws=3, device="cpu", **options,
        )  # fmt: skip
    assert watch.batch > 6
    return [watch.asked[batch] for batch in range(2, watch.batch + 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 64},
        {"batch_size": 32, "granularity": "module"},
        {"batch_size": 16},
        {"batch_size": 64, "precision": "bf16"},
    ],
    ids=["replay", "modules", "small batches", "bf16"],
)
def test_nothing_is_asked_for_within_a_batch(watch: Watch, options: dict[str, Any]):
    assert set(measured(watch, Convolutional(), **options)) == {0}


def test_what_the_network_itself_asks_is_seen(watch: Watch):
    # And what a full forward asks, which compares the trained weights bit for bit when they are back.
    assert min(measured(watch, Inquisitive(), batch_size=64)) > 0
