"""Convolutions and norms that are computed as one, or must not be, against plain forwards."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from replaying import CPU, Oracle, batches, compared, difference, made
from torch import Tensor, nn
from torch.nn import functional


class Pair(nn.Module):
    """A convolution, a norm, and something else in, between or around them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(
            3, 4, 3, padding=1, bias="bias" in how, padding_mode="circular" if how == "circular" else "zeros"
        )
        self.norm = nn.BatchNorm2d(4, affine=how != "no affine", eps=0.1)
        self.gate, self.mid, self.head = nn.Linear(3, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        nn.init.constant_(self.gate.bias, 3.0)
        self.relu, self.other = nn.ReLU(inplace=True), nn.BatchNorm2d(4)
        if how == "tied":
            self.twin = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.twin.weight = self.conv.weight
        if how == "hook":
            self.norm.register_forward_hook(lambda module, args, output: output * 2)
        if how == "hook between":
            self.conv.register_forward_hook(lambda module, args, output: output * 2)
        if how == "module between":
            self.between = nn.Identity()
        if how == "parametrized":
            nn.utils.parametrizations.weight_norm(self.conv)

    def body(self, x: Tensor) -> Tensor:
        how = self.how
        y = self.conv(x)
        if how == "used twice":
            return self.norm(y) + y
        if how == "altered before":
            return self.norm(y.mul_(2))
        if how == "altered after":
            z = self.norm(y)
            y += z
            return y
        if how == "two norms":
            return self.norm(y) + self.other(y)
        if how == "called twice":
            return self.norm(y) + self.other(self.conv(x * 2))
        if how == "turned":
            return self.norm(y.transpose(1, 2)[:, :4].transpose(2, 3))
        if how == "module between":
            return self.norm(self.between(y))
        if how == "tied":
            return self.norm(y) + self.twin(x)
        if how == "weight elsewhere":
            return self.norm(y) + functional.conv2d(x, self.conv.weight, padding=1)
        if how == "reset opens":
            return self.norm(y) if self.gate(x.mean((2, 3))).mean() > 0 else y
        if how == "gate between":
            return self.norm(y) if (self.gate(x.mean((2, 3))) + 0).mean() > 0 else y
        return self.norm(y)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "early gate":
            open_ = self.gate(x.mean((2, 3))).mean() > 0
            y = self.conv(x)
            y = self.norm(y) if open_ else y
        else:
            y = self.body(x)
        z = self.relu(y)
        z = z + self.mid(z)
        return self.head(z.mean((2, 3)))


PLAIN = ["plain", "bias", "no affine", "circular", "used twice", "altered before", "altered after", "two norms"]
PLAIN += [
    "called twice",
    "turned",
    "module between",
    "tied",
    "weight elsewhere",
    "hook",
    "hook between",
    "parametrized",
]


def pair(how: str) -> Callable[[], nn.Module]:
    return lambda: Pair(how)


@pytest.mark.parametrize("how", PLAIN)
def test_pairs(how: str):
    found = compared(made(pair(how)), batches(3, 4, 4, sizes=(6, 3)))
    assert not found.fallbacks, found.reasons
    assert not found.reasons
    assert found.worst < 1e-5


def test_in_one_dimension():
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(3, 6, 3, groups=3), nn.BatchNorm1d(6), nn.ReLU(True),
            nn.ConvTranspose1d(6, 4, 3), nn.BatchNorm1d(4), nn.Flatten(),
            nn.LazyLinear(8), nn.BatchNorm1d(8), nn.Linear(8, 3),
        )  # fmt: skip

    def initialised() -> Any:
        model = build()
        model(torch.randn(2, 3, 9))
        return model

    found = compared(made(initialised), batches(3, 9, sizes=(6, 3)))
    assert not found.reasons
    assert found.worst < 1e-5


@pytest.mark.parametrize("how", ["early gate", "reset opens", "gate between"])
def test_a_reset_after_which_the_norm_is_not_called(how: str):
    # The first values leave the way as it was, and replays are trusted: the later ones must not be wrong.
    model = made(pair(how))
    oracle, row = Oracle(model), Row("gate", ("gate.bias", "gate.weight"))
    batch = batches(3, 4, 4, sizes=(6,))[0]
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened = forwards.open(batch, [row, Row("mid", ("mid.weight",))])
        for bias in (4.0, 5.0, 6.0, 7.0, 8.0, -9.0, 4.0):
            values = {"gate.bias": torch.full((1,), bias), "gate.weight": torch.zeros(1, 3)}
            output, _ = opened.output(Variant(row, "random", values))
            assert difference(oracle(values, batch), output) < 1e-5, bias
            values = {"mid.weight": torch.full((4, 4, 3, 3), bias)}
            output, _ = opened.output(Variant(Row("mid", ("mid.weight",)), "random", values))
            assert difference(oracle(values, batch), output) < 1e-5


def test_a_batch_on_which_the_norm_is_not_called():
    class Chooses(Pair):
        def forward(self, x: Tensor) -> Tensor:
            sure = bool(x[0, 0, 0, 0] > 0)
            y = self.conv(x)
            y = self.norm(y) if sure else y
            return self.head(self.mid(self.relu(y)).mean((2, 3)))

    data = [Arguments((tensor.args[0].clone(),)) for tensor in batches(3, 4, 4, sizes=(6, 6, 6, 6))]
    for number, batch in enumerate(data):
        batch.args[0][0, 0, 0, 0] = 1.0 if number % 2 == 0 else -1.0
    found = compared(made(lambda: Chooses("plain")), data)
    assert found.worst < 1e-5
    assert found.replayed


def test_plain_forwards_are_plain():
    # What others compare with, and what statistics are estimated by, is the network as it is.
    model = made(pair("plain"))
    (batch,) = batches(3, 4, 4, sizes=(6,))
    seen: list[Any] = []
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        handle = model.norm.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
        forwards.full(batch)
        handle.remove()
    assert not torch.equal(*seen[0])
