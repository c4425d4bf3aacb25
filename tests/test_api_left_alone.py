"""`probe` leaves a caller's network and generators as they were, wherever it is interrupted."""

import contextlib
import copy
import random
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.interventions import applied
from lyrx.engine.replay.swap import Swap
from replaying import fingerprint
from test_api import network
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WHERE = ("interventions.py", "swap.py", "purity.py", "state.py", "contextlib.py")
"""Where values are put in place and taken out again: an interrupt must not come in the wrong moment there."""


def generators() -> list[Any]:
    numpy: Any = np.random.get_state()
    return [torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2:], random.getstate()]


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 1, 8, 8, generator=generator), torch.randint(0, 4, (12,), generator=generator)


def interrupted(line: int, action: Callable[[], Any], function: str = "") -> int:
    """Act, and raise KeyboardInterrupt at the given one of the lines in WHERE; returns how many were carried out.

    `function`: only of functions of this name.
    """
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == line:
                raise KeyboardInterrupt
        return local

    def begin(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        return local if code.co_filename.endswith(WHERE) and function in ("", code.co_name) else None

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            action()
    finally:
        sys.settrace(before)
    return count


def test_an_interrupt_at_any_moment(data):
    torch.manual_seed(0)
    model = network()
    model.train()
    model[1].eval()
    start = copy.deepcopy(network(5).state_dict())
    numbers = generators()
    for evaluator in ("full", "replay"):
        options = {"model": model, "data": data, "checkpoints": {0: start}, "evaluator": evaluator}
        before = fingerprint(model)
        lines = interrupted(0, partial(probe, **options))
        assert lines > 1000
        for line in random.Random(3).sample(range(1, lines + 1), 30):
            interrupted(line, partial(probe, **options))
            assert fingerprint(model) == before, line
            assert generators() == numbers, line
            assert torch.is_grad_enabled(), line


def test_an_interrupt_while_values_are_copied_in_or_back(monkeypatch: pytest.MonkeyPatch):
    model, plain = network(), Tensor.copy_
    values = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    before, copied, stop = fingerprint(model), 0, 0

    def copy_(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        nonlocal copied
        copied += 1
        if copied == stop:
            raise KeyboardInterrupt
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Tensor, "copy_", copy_)
    for stop in range(1, 2 * len(values) + 1):
        copied = 0
        with contextlib.suppress(KeyboardInterrupt), applied(model, values):
            assert not model[0].weight.any()
        assert copied >= stop
        assert fingerprint(model) == before, stop


def test_an_interrupt_while_tensors_are_pointed_elsewhere_or_back():
    model = network()
    values = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    before, swap = fingerprint(model), Swap(model)

    def once() -> None:
        with swap.swapped(values):
            assert not model[0].weight.any()

    lines = interrupted(0, once, function="_point")
    assert lines > 2 * len(values)
    for line in range(1, lines + 1):
        assert interrupted(line, once, function="_point") >= line
        assert fingerprint(model) == before, line


class Remembers(nn.Module):
    """Makes tables as it needs them, and keeps them in a dict and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.tables, self.sizes = nn.Linear(64, 4), {3: torch.zeros(4)}, [3]

    def forward(self, x: Tensor) -> Tensor:
        if len(x) not in self.tables:
            self.tables[len(x)] = torch.zeros(4)
            self.sizes.append(len(x))
        return self.a(x.flatten(1)) + self.tables[len(x)]


def test_what_a_network_remembers_of_the_probe_is_forgotten(data):
    model = Remembers()
    tables, sizes = model.tables, model.sizes
    probe(model, data, at=["zero"])
    assert model.tables is tables
    assert list(tables) == [3]
    assert model.sizes is sizes
    assert sizes == [3]


class Draws(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        noise = np.random.rand() + random.random()
        return self.a(nn.functional.dropout(x.flatten(1), training=True)) + noise


@pytest.mark.filterwarnings("ignore:what the network says")
def test_generators_go_on_where_they_were(data):
    np.random.seed(4)
    random.seed(4)
    torch.manual_seed(4)
    loader, model = DataLoader(TensorDataset(*data), batch_size=5, shuffle=True), Draws()
    before = generators()
    one = probe(model, loader, at=["zero", "noise:1"])
    assert generators() == before
    assert one.n.min() == 12
    torch.rand(3)
    moved = generators()
    with pytest.raises(ZeroDivisionError):
        probe(model, loader, at=["zero"], on_look=lambda result: 1 / 0)
    assert generators() == moved


@pytest.mark.filterwarnings("ignore:what the network says")
def test_what_is_drawn_comes_from_the_seed(data):
    torch.manual_seed(0)
    model = Draws()
    first = probe(model, data, at=["noise:1"], seed=3)
    torch.rand(7)
    np.testing.assert_array_equal(probe(model, data, at=["noise:1"], seed=3).loss, first.loss)
    assert (probe(model, data, at=["noise:1"], seed=4).loss != first.loss).any()
