"""Networks whose own code looks at numbers: what it does then is another variant's, or another batch's, business."""

import copy
import ctypes
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.precision import Precision
from lyrx.engine.replay.looks import noticed
from lyrx.engine.replay.replayer import Arguments
from replaying import CPU, Oracle, compared, difference, made, values_for
from test_folding import folded
from torch import Tensor, nn

WIDTH = 6
POINTER = ctypes.POINTER(ctypes.c_float)


LOOKS: dict[str, Callable[[Tensor], bool]] = {
    "list": lambda x: sum(x[0].tolist()) > 4,
    "array": lambda x: float(x.numpy().max()) > 4,
    "array of NumPy's": lambda x: float(np.asarray(x).max()) > 4,
    "DLPack": lambda x: float(np.from_dlpack(x).max()) > 4,
    "address": lambda x: max(ctypes.cast(x.data_ptr(), POINTER)[: x.numel()]) > 4,
    "copy": lambda x: max(map(max, copy.deepcopy(x).tolist())) > 4,
    "pickle": lambda x: max(map(max, pickle.loads(pickle.dumps(x)).tolist())) > 4,
    "memory": lambda x: max(x.storage().tolist()) > 4,
    "number": lambda x: x.max().item() > 4,
    "places": lambda x: len((x > 4).nonzero()) > 0,
    "mask": lambda x: len(x[x[:, 0] > 4]) > 0,
    "different ones": lambda x: len(x.gt(4).unique()) > 1,
}


class Looks(nn.Module):
    """The same calls and operations either way: only a number is another one. On the slice nothing is to be seen."""

    def __init__(self, looks: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.looks = looks

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        return self.head(x * (2.0 if self.looks(x) else -1.0))


def quiet_and_loud() -> list[Arguments]:
    generator = torch.Generator().manual_seed(7)
    return [Arguments((scale * torch.randn(8, WIDTH, generator=generator),)) for scale in (0.1, 8, 0.1, 8)]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("how", LOOKS)
def test_what_decides_keeps_variants_apart(how: str):
    rows = [Row("a", ("a.weight", "a.bias")), Row("head", ("head.weight", "head.bias"))]
    found, reasons = folded(made(lambda: Looks(LOOKS[how])), quiet_and_loud(), rows)
    assert "depends on numbers" in reasons["a"]
    assert found == {"head"}  # nothing that it changes decides anything


def test_one_number_of_all_examples_keeps_variants_apart():
    class Largest(Looks):
        def forward(self, x: Tensor) -> Tensor:
            x = self.b(self.a(x))
            return self.head(torch.where(x.max() > 4, 2 * x, -x))

    rows = [Row("a", ("a.weight", "a.bias")), Row("head", ("head.weight", "head.bias"))]
    found, reasons = folded(made(lambda: Largest(bool)), quiet_and_loud(), rows)
    assert "examples are put together" in reasons["a"]
    assert found == {"head"}


def test_one_number_of_all_weights_does_not():
    class Scaled(Looks):
        def forward(self, x: Tensor) -> Tensor:
            x = self.b(self.a(x))
            return self.head(x / self.head.weight.norm())

    found, reasons = folded(made(lambda: Scaled(bool)), quiet_and_loud(), [Row("a", ("a.weight", "a.bias"))])
    assert found == {"a"}, reasons


class ByTheWay(nn.Module):
    """Looks at what a layer found that nothing else needs, and goes on with another number."""

    def __init__(self, looks: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.aside, self.b, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.looks = looks

    def forward(self, x: Tensor) -> Tensor:
        factor = 2.0 if self.looks(self.aside(x)) else -1.0
        return self.head(self.b(x) * factor)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("how", LOOKS)
def test_what_was_looked_at_is_there_in_every_replay(how: str):
    rows = [Row(name, (f"{name}.weight", f"{name}.bias")) for name in ("b", "head")]
    found = compared(made(lambda: ByTheWay(LOOKS[how])), quiet_and_loud(), rows=rows, kinds=("random",))
    assert found.replayed


def test_a_weight_that_is_only_read_as_a_list():
    class Gained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head, self.gain = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3), nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            first, _ = self.gain.tolist()
            return self.head(self.a(x) * (2.0 if first > 0 else -1.0))

    model = made(Gained)
    (batch,) = quiet_and_loud()[:1]
    row, oracle = Row("gain", ("gain",)), Oracle(model)
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened = forwards.open(batch, [row])
        for value in (3.0, 4.0, 5.0, 6.0, 7.0, -1.0):  # the first ones have no effect
            values = {"gain": torch.full((2,), value)}
            output, _ = opened.output(Variant(row, "random", values))
            assert difference(oracle(values, batch), output) < 1e-6


def test_a_mask_is_looked_at_but_places_are_not():
    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.a(x)[:, torch.arange(WIDTH - 1, -1, -1)])

    found, reasons = folded(made(Picks), quiet_and_loud(), [Row("a", ("a.weight",))])
    assert found == {"a"}, reasons


def test_methods_are_torchs_own_afterwards():
    names = ("tolist", "numpy", "storage", "data_ptr", "__dlpack__", "__deepcopy__", "__reduce_ex__")
    own, own_function = [getattr(Tensor, name) for name in names], torch.to_dlpack
    seen: list[Tensor] = []
    tensor = torch.arange(3)
    with noticed(seen.append):
        assert tensor.tolist() == [0, 1, 2]
        assert np.asarray(tensor).sum() == 3
        assert np.from_dlpack(nn.Parameter(torch.ones(2)).detach()).sum() == 2
        before = len(seen)
        torch.utils.dlpack.to_dlpack(tensor)
        assert len(seen) > before
    assert len(seen) >= 4
    assert torch.utils.dlpack.to_dlpack is torch.to_dlpack is own_function
    assert [getattr(Tensor, name) for name in names] == own
    assert "tolist" not in vars(Tensor)
    made_before = len(seen)
    tensor.tolist()
    assert len(seen) == made_before


def test_values_of_other_tensors_than_the_rows_are_each_variants_own():
    """A row's statistics that were estimated anew come with those of the norms it feeds."""
    model = made(lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 3)))
    (batch,) = quiet_and_loud()[:1]
    row, oracle = Row("0", ("0.weight",)), Oracle(model)
    variants = []
    for seed in range(3):
        values = values_for(model, row.tensors, "random", seed)
        values |= {"1.running_mean": torch.full((WIDTH,), float(seed)), "1.running_var": torch.full((WIDTH,), 2.0)}
        variants.append(Variant(row, "random", values))
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        output = forwards.open(batch, [row]).outputs(variants)
        assert output is not None, forwards.unfolded
    expected = torch.cat([oracle(variant.values, batch) for variant in variants])
    assert difference(expected, output) < 1e-5
