"""Replay against plain forwards where PyTorch is used in unusual ways."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lyrx.engine.forwards import Row
from replaying import batches, compared, made
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WIDTH = 6


def lin(outputs: int = WIDTH) -> nn.Linear:
    return nn.Linear(WIDTH, outputs)


def base() -> nn.Module:
    return nn.Sequential(lin(), nn.ReLU(inplace=True), lin(), nn.BatchNorm1d(WIDTH), lin(3))


class Three(nn.Module):
    """Three layers, for what follows to combine."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = lin(), lin(), lin(3)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = base()

    def forward(self, x: Tensor) -> Tensor:
        tensors = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        return torch.func.functional_call(self.net, tensors, (x,))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = base(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False))


class ThroughNumPy(Three):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = torch.from_numpy(y.numpy() * 2)
        y.relu_()
        return self.c(self.b(z) + y)


class ReadByNumPy(nn.Module):
    """NumPy reads what a module then alters."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.relu, self.b, self.c = lin(), nn.ReLU(inplace=True), lin(), lin(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        total = float(y.numpy().sum())
        self.relu(y)
        return self.c(self.b(y) * total)


class OutOfSight(Three):
    """Writes that count no versions."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = self.b(y)
        y.data.mul_(2)
        y.data = y.data + 1
        return self.c(y + z)


class Shapes(Three):
    """In place, but of the shape only."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y.unsqueeze_(1)
        y.squeeze_(1)
        return self.c(self.b(y.t_().t_()))


class Generates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([lin() for _ in range(3)]), lin(3)

    def steps(self, x: Tensor) -> Iterator[Tensor]:
        for layer in self.layers:
            x = layer(x)
            yield x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(sum(self.steps(x), torch.zeros(())))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.lstm, self.head = lin(), nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).view(len(x), 3, 2)
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3] + [2] * (len(x) - 1)), batch_first=True)
        found, (hidden, _) = self.lstm(packed)
        return self.head(nn.utils.rnn.pad_packed_sequence(found, batch_first=True)[0].sum(1) + hidden[-1])


class Called(Three):
    """With a call of its own, so that its forward is never used."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)).mul_(2))


class Directly(nn.Module):
    """Calls the forward of a module, not the module."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = base(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body.forward(x))


class CompiledInside(Three):
    def forward(self, x: Tensor) -> Tensor:
        @torch.compile(backend="eager")
        def inner(y: Tensor) -> Tensor:
            return torch.relu(self.a(y))

        return self.c(self.b(inner(x)))


def compiled_in_place() -> nn.Module:
    model = base()
    model.compile(backend="eager")
    model[2].compile(backend="eager")
    return model


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(base().eval(), torch.randn(4, WIDTH))  # type: ignore[return-value]


EXACT: dict[str, Callable[[], nn.Module]] = {
    "scripted": lambda: torch.jit.script(base()),  # type: ignore[dict-item,return-value]
    "traced": traced,
    "symbolic": lambda: torch.fx.symbolic_trace(base()),
    "data parallel": lambda: nn.DataParallel(base()),
    "compiled": lambda: torch.compile(base(), backend="eager"),  # type: ignore[return-value]
    "compiled ahead": lambda: nn.Sequential(lin(), torch.compile(base(), backend="aot_eager"), nn.Linear(3, 3)),
    "compiled in place": compiled_in_place,
    "compiled function": CompiledInside,
    "functional": Functional,
    "checkpointed": Checkpointed,
    "numpy": ThroughNumPy,
    "read by numpy": ReadByNumPy,
    "out of sight": OutOfSight,
    "shapes": Shapes,
    "generator": Generates,
    "packed": Packed,
    "call": Called,
    "directly": Directly,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str):
    found = compared(made(EXACT[name]), batches(WIDTH), kinds=("random",))
    assert not found.reasons
    assert found.replayed
    assert found.worst < 1e-6


class Mapped(Three):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(torch.vmap(self.a)(x)))


class Derived(Three):
    """Answers with a gradient, whose graph a replay has not got."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = self.a(x).detach().requires_grad_()
            (gradient,) = torch.autograd.grad(torch.tanh(self.b(x)).sum(), x)
        return self.c(gradient)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Mapped, "without plain memory"),
        (Derived, "differentiated Tensor"),  # "The ..." or "One of the ...s", by version of torch
    ],
)
def test_right_all_the_same(build: Callable[[], nn.Module], reason: str):
    found = compared(made(build), batches(WIDTH), kinds=("random",))
    assert found.reasons
    assert all(reason in one for one in found.reasons), found.reasons


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_quantised():
    model: Any = nn.Sequential(lin(), nn.ReLU(), torch.ao.quantization.quantize_dynamic(nn.Sequential(lin())), lin(3))
    found = compared(model, batches(WIDTH), rows=[Row("0", ("0.weight",)), Row("3", ("3.weight",))])
    assert not found.reasons
