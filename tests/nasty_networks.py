"""Networks that do what networks should not do, for the tests of replay."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 6


def lin(inputs: int = WIDTH, outputs: int = WIDTH) -> nn.Linear:
    return nn.Linear(inputs, outputs)


class InPlaceChain(nn.Module):
    """In-place activations, sums into a tensor that was returned long ago, work on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = lin(), lin(), lin(), lin(WIDTH, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        identity = self.relu(self.a(x))
        out = self.relu(self.b(identity))
        out += identity
        out = self.c(out)
        identity.add_(out)
        out += identity
        x.add_(identity)
        return self.d(self.relu(out + x))


class Aliased(nn.Module):
    """y = conv(x); z = relu_(y); y + z, and a write through a view of what an earlier layer returned."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm1d(4)
        self.mid = nn.Conv1d(4, 4, 1)
        self.head = nn.Linear(4 * WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.unsqueeze(1))
        z = torch.relu_(y)
        w = self.norm(y + z)
        m = self.mid(w)
        w[:, :2].mul_(2.0)
        y.view(-1)[::2] += 1.0
        return self.head((m + w + z).flatten(1))


class Views(nn.Module):
    """Chunks, expands, transposes, an in-place write to one chunk that others see."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = lin(WIDTH, 3 * WIDTH), lin(3 * WIDTH, WIDTH)
        self.token = nn.Parameter(torch.randn(1, WIDTH))
        self.head = lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.qkv(x)
        q, k, v = packed.chunk(3, dim=1)
        k.mul_(0.3)
        token = self.token.expand(len(x), -1)
        mixed = self.proj(packed)
        v += mixed
        return self.head(q + v.t().contiguous().t() + token + packed[:, :WIDTH])


class Repeated(nn.Module):
    """One module called three times, its weight used before it is called, and again after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.last = lin(), lin(), lin(WIDTH, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.linear(self.first(x), self.shared.weight)
        for _ in range(3):
            x = self.act(self.shared(x))
        return self.last(x) + functional.linear(x, self.shared.weight[:3])


class Bank(nn.Module):
    """A module that returns its weight; one that returns it detached."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.4)

    def forward(self, raw: bool) -> Tensor:
        return self.weight.data if raw else self.weight


class Banks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.a, self.b = Bank(), Bank(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.one(False), self.two(True)
        return self.b(functional.linear(torch.tanh(functional.linear(self.a(x), two)), one))


@dataclasses.dataclass
class Answer:
    scores: Tensor
    extra: dict[str, Any]
    name: str = "answer"


class Pair(NamedTuple):
    left: Tensor
    right: Tensor | None


class Splits(nn.Module):
    """Returns a named tuple in a dataclass in an ordered dict in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = lin(), lin()

    def forward(self, x: Tensor) -> list[Any]:
        left, right = self.a(x), self.b(x)
        answer = Answer(left, {"pair": Pair(right, None), "list": [left, (right, 3)]})
        return [collections.OrderedDict(answer=answer, again=left)]


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.splits, self.deep, self.head = Splits(), Splits(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Answer:
        (found,) = self.splits(x)
        answer = found["answer"]
        answer.extra["list"][0].relu_()
        answer.extra["list"].append(x)
        x = answer.scores + answer.extra["pair"].left + found["again"] + answer.extra["list"][2]
        (found,) = self.deep(x)
        return Answer(self.head(found["answer"].scores), {"deep": found["again"]})


class Opaque:
    def __init__(self, value: Tensor) -> None:
        self.value = value


class Wrapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(lin(), nn.ReLU(), lin())

    def forward(self, x: Tensor) -> Opaque:
        return Opaque(self.inner(x))


class Opaques(nn.Module):
    """A module returns an object that nobody can take apart; another one a set of attributes on a tensor's side."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapping, self.mid, self.head = Wrapping(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        wrapped = self.wrapping(x)
        x = self.mid(x)
        x += wrapped.value
        return self.head(x.relu_())


class Returning(nn.Module):
    """Modules that return what they are given; in evaluation mode dropout is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.drop, self.a, self.b, self.c = nn.Identity(), nn.Dropout(), lin(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(x)
        y = self.drop(self.a(x))
        z = self.drop(self.same(y))
        z.relu_()
        y = self.b(self.drop(y))
        z -= y
        w = self.same(x)
        w *= 2
        return self.c(self.same(y + z + x))


class Keywords(nn.Module):
    """Tensors as keywords only, some of them not there."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = lin(), lin(WIDTH, 3)

    def forward(self, *, tokens: Tensor, mask: Tensor, other: Tensor | None = None) -> dict[str, Tensor]:
        hidden = self.a(tokens).masked_fill_(mask == 0, 0.0)
        return {"logits": self.b(hidden if other is None else hidden + other)}


class Branches(nn.Module):
    """A way through it that the data choose, and another choice that a reset can change."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.left, self.right, self.gate, self.head = lin(), lin(), lin(), lin(WIDTH, 1), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) if x.sum() > 0 else self.a(x).neg()
        x = self.left(x) if self.gate(x).mean() > 0 else self.right(x).relu_()
        return self.head(x)


class Picks(nn.Module):
    """Chooses by the data between two tensors: the same calls, the same operations, another result."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.mid, self.head = lin(), lin(), lin(), lin(WIDTH, 3)

    def choose(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return a if x[0, 0].item() > 0 else b

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mid(self.choose(x)).relu_())


class PicksWeight(nn.Module):
    """Chooses by the data between two weights of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = lin(), lin(WIDTH, 3)
        self.one, self.two = nn.Parameter(torch.randn(WIDTH, WIDTH)), nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.one if x[0, 0].item() > 0 else self.two
        return self.head(functional.linear(self.a(x), weight))


class Conjugate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 1.5).conj()


class WritesWhenReset(nn.Module):
    """Works in place on what it was given, but only on a way that nothing but a reset network goes."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.gate, self.head = lin(), lin(WIDTH, 1), lin(WIDTH, 3)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.early(x)
        if self.gate(y).mean() < 0.9:
            y.mul_(3.0)
            x.add_(1.0)
        return self.head(y + x)


class Catches(nn.Module):
    """Takes another way when a layer raises, whatever it raises; a module that raises stays in a sum."""

    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = lin()

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            if y.mean() > 0:
                raise RuntimeError("too large")
            return y

    def __init__(self) -> None:
        super().__init__()
        self.a, self.picky, self.other, self.head = lin(), self.Picky(), lin(), lin(WIDTH, 3)
        self.block = nn.Sequential(lin(), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        try:
            y = self.picky(x)
        except Exception:
            y = self.other(x)
        y = y + self.block(x)
        y.relu_()
        return self.head(self.block(y))


class Accumulates(nn.Module):
    """Layers that put what they find into a list of their caller's."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = lin()

        def forward(self, x: Tensor, found: list[Tensor]) -> Tensor:
            x = torch.relu(self.fc(x))
            found.append(x)
            return x

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(3)])
        self.head = lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for layer in self.layers:
            x = layer(x, found)
        return self.head(sum(found, torch.zeros(())))


class Keeps(nn.Module):
    """Keeps something from one forward to the next, where every module sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = lin(), lin(), lin(WIDTH, 3)
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = None
        self.last = self.a(x)
        return self.head(self.b(x) + self.last)


class KeepsAside(nn.Module):
    """Keeps what a layer found in an object of its own, by a hook: no module's attribute changes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = lin(), lin(), lin(), lin(WIDTH, 3)
        self.aside = Opaque(torch.zeros(0))
        self.a.register_forward_hook(self._look)

    def _look(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.aside.value = output

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.b(self.a(x)))
        return self.head(x + self.aside.value)


class Counts(nn.Module):
    """Alters a buffer in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = lin(), lin(WIDTH, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.a(x) + 0 * self.calls)


class AlwaysLearns(nn.Module):
    """Batch statistics, and running ones that are altered although it is evaluated; no schema says so."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.head = lin(), nn.BatchNorm1d(WIDTH), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.batch_norm(self.a(x), self.norm.running_mean, self.norm.running_var, training=True)
        return self.head(x)


class Draws(nn.Module):
    """Random numbers that do not matter in the end, of a generator that is asked for."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.a, self.head, self.source = lin(), lin(WIDTH, 3), source

    def forward(self, x: Tensor) -> Tensor:
        if self.source == "torch":
            noise: Any = torch.rand(())
        elif self.source == "numpy":
            noise = np.random.rand()
        else:
            noise = torch.rand((), generator=torch.Generator().manual_seed(1))
        return self.head(self.a(x) + 0 * noise)


class NoModules(nn.Module):
    """Parameters only, one of them transposed before it is used, one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5)
        self.b = nn.Parameter(torch.randn(3, WIDTH) * 0.5)
        self.unused = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(torch.relu_(x @ self.a.t()), self.b)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.never, self.head = lin(), nn.Sequential(lin(), nn.BatchNorm1d(WIDTH)), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.a(x)))


class BySize(nn.Module):
    """Other operations for a single example, other ones for an even number of them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = lin(), lin(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        if len(x) == 1:
            return self.head(self.c(x))
        return self.head(self.b(x).relu_() if len(x) % 2 else self.c(self.b(x)).t().contiguous().t())


# Those whose every row is replayed; the others are met one by one.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "in-place chain": InPlaceChain,
    "aliases": Aliased,
    "views": Views,
    "repeated": Repeated,
    "returned weights": Banks,
    "nested outputs": Nested,
    "opaque outputs": Opaques,
    "returned inputs": Returning,
    "no modules": NoModules,
    "unused": Unused,
    "by size": BySize,
    "catches": Catches,
    "lists of the caller's": Accumulates,
}
