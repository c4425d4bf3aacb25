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
from lyrx.engine.errors import RestoreError
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


class Constrained(nn.Linear):
    """Gives its weight other memory in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.5)
        return super().forward(x)


class Averages(nn.Module):
    """Puts another tensor in the place of a buffer in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return x - 2 * self.mean


@pytest.mark.filterwarnings("ignore:what the network says")
@pytest.mark.parametrize("evaluator", ["replay", "full"])
def test_networks_that_put_others_in_the_place_of_their_weights(data, evaluator: Any):
    def build() -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), Constrained(64, 16), nn.ReLU(), Constrained(16, 16), nn.ReLU(), Averages())

    torch.manual_seed(6)
    model, start = build(), build()
    states = {0: copy.deepcopy(start.state_dict())}
    with torch.no_grad():
        data = data[0], copy.deepcopy(model)(data[0]).argmax(1)
    data[1][:2] = (data[1][:2] + 1) % 4
    before = fingerprint(model)
    result = probe(model, data, states, evaluator=evaluator, batch_size=16)
    assert fingerprint(model) == before
    assert result.layers == ("1", "3", "5.a")
    errors = []
    for layer in (None, "1.", "3.", "5.a."):
        other = copy.deepcopy(model).eval()
        other.load_state_dict(
            {name: v for name, v in states[0].items() if layer and name.startswith(layer)}, strict=False
        )
        with torch.no_grad():
            errors.append(float((other(data[0]).argmax(1) != data[1]).double().mean()))
    assert [result.baseline, *result.error[:, 0]] == pytest.approx(errors)
    assert len(set(errors)) > 1


class Clamps(nn.Linear):
    """Alters its weights in each forward after so many."""

    after = 0

    def forward(self, x: Tensor) -> Tensor:
        self.after -= 1
        if self.after < 0:
            self.weight.data.clamp_(-0.05, 0.05)
        return super().forward(x.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_network_that_alters_its_weights_is_refused_and_left_as_it_was(data, dtype: torch.dtype):
    model = nn.Sequential(nn.Flatten(), Clamps(64, 4)).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        RestoreError, match=r"in a forward the network's weights became others: 1\.weight\. If .* a changed copy"
    ) as raised:
        probe(model, (data[0].to(dtype), data[1]), at=["zero", "noise:1"])
    assert "\n" not in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_one_that_alters_them_later_on_is_refused_in_the_end_and_left_as_it_was(data):
    model = nn.Sequential(nn.Flatten(), Clamps(64, 4))
    model[1].after = 2  # type: ignore[assignment]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RestoreError, match=r"no longer what it was: 1\.weight\. If .* a changed copy"):
        probe(model, data, at=["zero", "noise:1"], evaluator="full")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
