"""Replay against plain forwards on networks that nobody wrote."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lyrx.engine.replay.replayer import Arguments
from replaying import compared
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 4

# (operation, register it works on, another register, number): a register holds a tensor float[batch, WIDTH].
INSTRUCTIONS = st.tuples(
    st.sampled_from(
        [
            *("linear", "linear", "block", "block", "functional", "add", "copy", "view"),
            *("add_", "mul_", "relu_", "half_", "column_", "identity", "swap", "both", "returns", "list", "input_"),
        ]
    ),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 3),
)


class Half(nn.Module):
    """Halves what it is given, in place, and returns it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(0.5)


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Both(nn.Module):
    """Returns a view of one and a sum into the other."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        z = self.inner(x)
        y += z
        return {"first": z.view(-1).view(x.shape), "second": [y]}


class Block(nn.Module):
    """A sub-network of instructions on its own registers, which shares modules with the others."""

    def __init__(self, program: list[Any], linears: nn.ModuleList, others: nn.ModuleDict, depth: int) -> None:
        super().__init__()
        self.linears, self.others = linears, others
        self.steps: list[Any] = []
        self.blocks = nn.ModuleList()
        for operation, one, other, number in program:
            if operation == "block" and depth:
                # What follows goes into a block of its own, which is called here.
                self.blocks.append(Block(program[number + 1 : number + 4], linears, others, depth - 1))
                self.steps.append(("block", one, len(self.blocks) - 1, number))
            elif operation != "block":
                self.steps.append((operation, one, other, number))

    def forward(self, x: Tensor) -> Tensor:
        r = [x, x, x + 1]
        for operation, i, j, number in self.steps:
            linear = self.linears[number]
            if operation == "linear":
                r[i] = linear(r[j])
            elif operation == "functional":
                r[i] = functional.linear(r[j], linear.weight)
            elif operation == "block":
                r[i] = self.blocks[j](r[i])
            elif operation == "add":
                r[i] = r[i] + r[j]
            elif operation == "copy":
                r[i] = r[j]
            elif operation == "view":
                r[i] = r[j].t().t()
            elif operation == "add_":
                r[i] += r[j]
            elif operation == "mul_":
                r[i].mul_(0.7)
            elif operation == "relu_":
                r[i] = self.others["relu"](r[i])
            elif operation == "half_":
                r[i] = self.others["halving"](r[j])
            elif operation == "column_":
                r[i][:, number] += r[j][:, 0] * 0.5
            elif operation == "identity":
                r[i] = self.others["same"](r[j])
            elif operation == "swap":
                r[i], r[j] = r[j], r[i]
            elif operation == "both":
                found = self.others[f"both{number}"](r[i], r[j])
                r[i], r[j] = found["first"], found["second"][0]
            elif operation == "returns":
                r[i] = functional.linear(r[i], self.others["bank"]())
            elif operation == "list":
                r = [tensor * 1 for tensor in r]
            elif operation == "input_":
                x.add_(r[i].mean())
        return r[0] + r[1] * 2 + r[2] * 3


class Bank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5)

    def forward(self) -> Tensor:
        return self.weight


def network(program: list[Any]) -> nn.Module:
    torch.manual_seed(5)
    linears = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(4)])
    others = nn.ModuleDict({"relu": nn.ReLU(inplace=True), "halving": Half(), "same": Identity(), "bank": Bank()})
    others.update({f"both{number}": Both(linears[number]) for number in range(4)})
    return Block(program, linears, others, 2).eval()


PROGRAMS = st.lists(INSTRUCTIONS, min_size=2, max_size=14)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS)
def test_random_networks(program: list[Any]):
    replays_as_it_computes(program)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS)
def test_many_random_networks(program: list[Any]):
    replays_as_it_computes(program)


def replays_as_it_computes(program: list[Any]) -> None:
    model = network(program)
    generator = torch.Generator().manual_seed(9)
    data = [Arguments((torch.randn(size, WIDTH, generator=generator),)) for size in (4, 3)]
    found = compared(model, data, kinds=("random",), tolerance=1e-5)
    assert not found.fallbacks
    assert not found.reasons
