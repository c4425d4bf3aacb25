"""Replay against plain forwards, on networks made to break it: all of it is replayed, and right."""

from collections.abc import Callable
from typing import Any

import nasty_networks as nasty
import pytest
import torch
from lyrx.engine.forwards import Row
from lyrx.engine.replay.replayer import Arguments
from replaying import Found, batches, compared, made
from torch import Tensor, nn
from torch.nn.utils import parametrizations

WIDTH = nasty.WIDTH


def check(build: Callable[[], nn.Module], data: list[Arguments] | None = None, **more: Any) -> Found:
    found = compared(made(build), data or batches(WIDTH), **more)
    assert not found.fallbacks
    assert not found.reasons
    assert not found.full
    assert found.replayed
    assert found.worst <= 1e-6
    return found


@pytest.mark.parametrize("name", nasty.NETWORKS)
def test_networks(name: str):
    check(nasty.NETWORKS[name], kinds=("random", "zero", "noise"))


@pytest.mark.parametrize("name", ["in-place chain", "views", "repeated", "nested outputs"])
def test_networks_in_bfloat16(name: str):
    check(lambda: nasty.NETWORKS[name]().bfloat16(), batches(WIDTH, dtype=torch.bfloat16))


def test_a_choice_between_tensors():
    # Which of two tensors goes on: the calls and the operations are the same ones.
    first, second = batches(WIDTH, sizes=(8, 8))
    first.args[0][0, 0], second.args[0][0, 0] = 1.0, -1.0
    check(nasty.Picks, [first, second, first])
    check(nasty.PicksWeight, [first, second, first])


def test_ways_that_the_data_choose():
    data = [Arguments((sign * batch.args[0].abs(),)) for batch in batches(WIDTH, sizes=(8, 8)) for sign in (1, -1)]
    # What stands behind every choice cannot change one.
    after = [Row(name, (f"{name}.weight",)) for name in ("head", "left", "right")]
    check(nasty.Branches, data, rows=after)


def test_keywords():
    generator = torch.Generator().manual_seed(1)
    data = [
        Arguments((), {"tokens": torch.randn(size, WIDTH, generator=generator), "mask": mask} | more)
        for size, more in ((8, {}), (3, {}), (8, {}))
        for mask in [(torch.rand(size, WIDTH, generator=generator) > 0.3).long()]
    ]
    check(nasty.Keywords, data)
    # Another signature is another way through the network.
    data.append(Arguments((), {**data[0].kwargs, "other": torch.randn(8, WIDTH, generator=generator)}))
    check(nasty.Keywords, data)


def test_several_inputs():
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True)), nn.Linear(WIDTH, 3)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            one.sub_(other)
            return self.head(self.body(one).mul_(self.body(other)))

    data = [Arguments((batch.args[0], batch.args[0].flip(0))) for batch in batches(WIDTH)]
    check(Siamese, data)


class Attends(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.how = nn.Linear(8, 8), how
        if how == "attention":
            self.mid: nn.Module = nn.MultiheadAttention(8, 2, batch_first=True)
        elif how == "several attentions":
            self.mid = nn.MultiheadAttention(8, 2, kdim=8, vdim=8)
        elif how == "lstm":
            self.mid = nn.LSTM(8, 8, 2, batch_first=True, bidirectional=True, proj_size=4)
        elif how == "gru":
            self.mid = nn.GRU(8, 8, batch_first=True)
        elif how == "decoder":
            self.mid = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        else:
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=how == "norm first")
            self.mid = nn.TransformerEncoder(layer, 1) if how != "norm first" else layer
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        x = self.first(x)
        if self.how == "attention":
            x = self.mid(x, x, x, key_padding_mask=pad)[0]
        elif self.how == "several attentions":
            y = x.transpose(0, 1)
            x = (self.mid(y, y, y.clone(), need_weights=True)[0] + self.mid(y, y, y)[0]).transpose(0, 1)
        elif self.how in ("lstm", "gru"):
            x = self.mid(x)[0]
        elif self.how == "decoder":
            x = self.mid(x, x + 1)
        elif self.how == "padded":
            x = self.mid(x, src_key_padding_mask=pad)
        else:
            x = self.mid(x)
        return self.head(x.mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize(
    "how", ["attention", "several attentions", "lstm", "gru", "decoder", "encoder", "norm first", "padded"]
)
def test_sequences(how: str):
    generator = torch.Generator().manual_seed(2)
    data = []
    for size in (6, 3):
        lengths = torch.tensor([4, *torch.randint(1, 4, (size - 1,), generator=generator)])
        data.append(
            Arguments((torch.randn(size, 4, 8, generator=generator), torch.arange(4)[None] >= lengths[:, None]))
        )
    found = compared(made(lambda: Attends(how)), data, kinds=("random",))
    assert not found.reasons
    assert found.worst <= 1e-5


@pytest.mark.parametrize("how", ["weight norm", "spectral norm", "orthogonal", "scripted"])
def test_computed_weights(how: str):
    def build() -> nn.Module:
        middle: Any = nn.Linear(WIDTH, WIDTH)
        if how == "weight norm":
            middle = parametrizations.weight_norm(middle)
        elif how == "spectral norm":
            middle = parametrizations.spectral_norm(middle)
        elif how == "orthogonal":
            middle = parametrizations.orthogonal(middle, use_trivialization=False)
        else:
            middle = torch.jit.script(nn.Sequential(middle, nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH)))
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), middle, middle, nn.Linear(WIDTH, 3))

    check(build, kinds=("random",))


def test_users_hooks():
    def build() -> nn.Module:
        model = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        )
        model[0].register_forward_hook(lambda module, args, output: output * 2)
        model[1].register_forward_hook(lambda module, args, output: output.mul_(0.5))
        model[2].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
        model[2].register_forward_hook(lambda module, args, output: args[0].sub_(1))
        model.register_forward_hook(lambda module, args, output: output + 1)
        return model

    check(build)


def test_weights_tied_by_a_transpose():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.encode, self.decode = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
            self.decode.weight = nn.Parameter(self.encode.weight.t())
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.decode(torch.tanh(self.encode(self.body(x)))))

    # One of them alone, and both with values that contradict each other: what is written last is what counts.
    found = check(Tied, copied=lambda: made(Tied))
    assert found.replayed > 20


def test_a_layout_that_a_network_was_written_for():
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.conv(x))
            return self.head(x.view(len(x), -1))

    check(Views, batches(3, 8, 8, sizes=(4, 2)))


def test_a_layout_that_a_network_counts_on():
    class Strides(nn.Module):
        """In another memory order it would not fail, but give other numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.conv(x))
            return self.head(torch.as_strided(x, (len(x), 256), (256, 1)))

    check(Strides, batches(3, 8, 8, sizes=(4, 2)))


def test_inference_mode_inside():
    class Inside(nn.Sequential):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    check(lambda: Inside(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)))


def test_complex_views():
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.conj, self.b = nn.Linear(WIDTH, WIDTH), nasty.Conjugate(), nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conj(torch.fft.fft(self.a(x)))
            y[:, 0] += 1
            return self.b(y.imag * y.real)

    check(Waves)
