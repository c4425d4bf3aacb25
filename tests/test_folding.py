"""Variants of a row as one batch: what plain forwards give, or one by one."""

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

import nasty_networks as nasty
import pytest
import torch
from architectures import ARCHITECTURES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lyrx.engine.folding import most_folded
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.memory import BatchSize
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from lyrx.engine.sharing import Alone, Shared, Sharing
from lyrx.engine.sweep import Sweep, Work
from lyrx.engine.trained import measure_baseline
from lyrx.store.stopping import Rule
from replaying import CPU, Oracle, batches, difference, fingerprint, made, rows_of, tensors_of, values_for
from test_replay_random import INSTRUCTIONS, network
from test_sharing import colleagues, together
from torch import Tensor, nn
from torch.nn import functional

WIDTH = nasty.WIDTH
lin = nasty.lin

__all__ = ["colleagues"]


def folded(
    model: nn.Module,
    data: Sequence[Arguments],
    rows: Sequence[Row] | None = None,
    variants: int = 3,
    tolerance: float = 1e-4,
    copied: Callable[[], nn.Module] | None = None,
) -> tuple[set[str], dict[str, str]]:
    """(rows that were folded on every batch, rows that were not and why); asserts that what was folded is right."""
    rows = rows_of(model) if rows is None else rows
    oracle, before = Oracle(model, copied=copied), fingerprint(model)
    done: dict[str, list[bool]] = {}
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(data[0])
        packs = [
            [
                Variant(row, "random", {n: forwards.swap.fitted(n, v) for n, v in values.items()})
                for seed in range(variants)
                if (values := values_for(model, row.tensors, "random", 100 * seed + number))
            ]
            for number, row in enumerate(rows)
        ]
        for arguments in data:
            opened = forwards.open(arguments, rows)
            for pack in filter(None, packs):
                output = opened.outputs(pack)
                done.setdefault(pack[0].row.name, []).append(output is not None)
                if output is None:
                    continue
                expected = [tensors_of(oracle(variant.values, arguments)) for variant in pack]
                joined = [torch.cat(members) for members in zip(*expected, strict=True)]
                away = difference(joined, tensors_of(output))
                assert away <= tolerance, f"{pack[0].row.name}: {away:.1e} away from plain forwards"
        reasons = dict(forwards.unfolded)
    assert fingerprint(model) == before
    return {row for row, found in done.items() if all(found)}, reasons


class Attending(nn.Module):
    """Attention and a feed-forward layer with norms and a table of positions, float[batch, 4, 8]."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.positions = nn.Embedding(4, 8)
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions(torch.arange(4))
        y = self.norm(x) if self.batch_first else self.norm(x).transpose(0, 1)
        y = self.attention(y, y, y, need_weights=False)[0]
        x = x + (y if self.batch_first else y.transpose(0, 1))
        return self.head((x + self.down(functional.gelu(self.up(x)))).mean(1))


class Residual(nn.Module):
    """Convolutions with norms, sums in place, channels that are put together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.last, self.relu, self.head = nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        y = self.two(self.relu(self.one(x)))
        y += x
        return self.head(self.relu(self.last(torch.cat([x, y], 1))).mean((2, 3)))


def fcn() -> nn.Module:
    return nn.Sequential(nn.Flatten(), lin(), nn.ReLU(inplace=True), lin(), nn.ReLU(inplace=True), lin(WIDTH, 3))


def modules_of(model: nn.Module) -> list[Row]:
    """A row for each module with tensors of its own."""
    rows = []
    for path, module in model.named_modules():
        own = [*module._parameters, *module._buffers]
        names = (f"{path}.{name}" for name in own if getattr(module, name) is not None)
        tensors = tuple(name for name in names if name in model.state_dict())
        if path and tensors and not path.endswith("out_proj"):
            rows.append(Row(path, tensors))
    return rows


@pytest.mark.parametrize(
    ("build", "shape"),
    [(fcn, (WIDTH,)), (Residual, (3, 6, 6)), (lambda: nn.Sequential(Residual().double()), (3, 6, 6))],
)
def test_networks_without_tricks_are_folded(build: Callable[[], nn.Module], shape: tuple[int, ...]):
    model = made(build)
    dtype = next(model.parameters()).dtype
    rows = modules_of(model)
    assert len(rows) >= 3
    found, reasons = folded(model, batches(*shape, sizes=(8, 5, 1, 12), dtype=dtype), rows)
    assert found == {row.name for row in rows}, reasons


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention(batch_first: bool):
    model = made(lambda: Attending(batch_first))
    found, reasons = folded(model, batches(4, 8, sizes=(8, 6, 2, 1)), modules_of(model))
    assert "positions" in reasons  # a table has no axis of examples
    # What attention has returned is handed out from there on: its first axis are the places.
    assert found == ({"up", "down", "head", "norm", "attention"} if batch_first else {"norm"})


@pytest.mark.parametrize("first", [4, 8])
def test_a_table_as_long_as_a_batch(first: int):
    # Four examples of four places: what is of the examples cannot be told from what is of the places.
    model = made(Attending)
    for variants in (2, 3):
        folded(model, batches(4, 8, sizes=(first, 4, 2, 12, 1)), modules_of(model), variants)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **nasty.NETWORKS,
    "branches": nasty.Branches,
    "picks": nasty.Picks,
    "picks a weight": nasty.PicksWeight,
    "writes when reset": nasty.WritesWhenReset,
    "keeps": nasty.Keeps,
    "counts": nasty.Counts,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("variants", [2, 5])
def test_nasty_networks(name: str, variants: int):
    model = made(NETWORKS[name])
    found, _ = folded(
        model, batches(WIDTH, sizes=(8, 5, 1, 3, 8)), variants=variants, copied=lambda: made(NETWORKS[name])
    )
    if name in ("in-place chain", "views", "unused", "lists of the caller's"):
        assert found
    if name in ("keeps", "counts"):
        assert not found
    if name == "no modules":
        assert found == {"unused"}


@pytest.mark.parametrize(
    "name",
    ["vit", "lstm", "tied head"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("swin", "gpt2", "bert", "unet", "densenet")],
)
def test_architectures(name: str):
    architecture = ARCHITECTURES[name]
    model = made(architecture.build).eval()
    generator = torch.Generator().manual_seed(1)
    rows = modules_of(model)
    rows = rows[:: max(1, len(rows) // 6)] + rows[-1:]
    folded(model, [architecture.batch(size, generator) for size in (8, 2, 1)], rows, variants=2)


PROGRAMS = st.lists(INSTRUCTIONS, min_size=2, max_size=12)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS, st.integers(2, 4))
def test_random_networks(program: list[Any], variants: int):
    folded(network(program), batches(4, sizes=(4, 3, 8)), variants=variants)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS, st.integers(2, 4))
def test_many_random_networks(program: list[Any], variants: int):
    folded(network(program), batches(4, sizes=(4, 3, 8)), variants=variants)


class Mixed(nn.Module):
    """Examples that know of each other: `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.head, self.how = lin(), lin(), lin(WIDTH, 3), how

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        if self.how == "mean":
            x = x - x.mean(0)
        elif self.how == "size":
            x = x / len(x)
        elif self.how == "reshaped":
            x = x.view(WIDTH, -1).t()
        elif self.how == "first":
            x = x + x[:1]
        elif self.how == "large":  # on the slice nothing is to be seen of it
            x = x * 2 if len(x) > 20 else x
        elif self.how == "decides":
            x = x * 2 if x.sum() > 0 else x
        return self.head(x)


@pytest.mark.parametrize("how", ["mean", "size", "reshaped", "first", "large", "decides"])
def test_examples_that_know_of_each_other_are_not_folded(how: str):
    rows = [Row("a", ("a.weight",)), Row("head", ("head.weight", "head.bias"))]
    found, reasons = folded(made(lambda: Mixed(how)), batches(WIDTH, sizes=(8, 8, 12)), rows)
    assert "a" in reasons
    assert "a" not in found
    if how == "decides":
        assert "depends on numbers" in reasons["a"]
        assert "head" in found  # nothing that it changes decides anything


def test_what_fails_or_strays_is_not_folded():
    class Refuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = lin(), lin(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 8:
                raise ValueError("too many")
            return self.head(self.a(x))

    found, reasons = folded(made(Refuses), batches(WIDTH, sizes=(8, 8)), [Row("a", ("a.weight",))])
    assert not found
    assert "too many" in reasons["a"]


@pytest.mark.parametrize(
    ("axes", "reason"), [((0, 1), "examples are put together"), ((0,), "without an axis of examples")]
)
def test_a_loss_over_the_batch_is_no_output_of_examples(axes: tuple[int, ...], reason: str):
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = lin(), lin(WIDTH, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            logits = self.head(self.a(x))
            return {"loss": logits.mean(axes), "logits": logits}

    found, reasons = folded(made(WithLoss), batches(WIDTH, sizes=(8, 8)), [Row("a", ("a.weight",))])
    assert not found
    assert reason in reasons["a"]


def test_equal_values_prove_nothing():
    """Folding that ignored which values are whose would pass with values that are alike."""
    model = made(fcn)
    (batch,) = batches(WIDTH, sizes=(8,))
    row, same = Row("1", ("1.weight",)), model.state_dict()["1.weight"].clone()
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened, plain = forwards.open(batch, [row]), []
        counted = forwards.reference
        forwards.reference = lambda *args: plain.append(0) or counted(*args)  # type: ignore[method-assign]
        pack = [Variant(row, "x", {"1.weight": same}), Variant(row, "x", {"1.weight": same})]
        for _ in range(3):
            plain.clear()
            assert opened.outputs(pack) is not None
            assert len(plain) >= 2  # still checked
        pack = [Variant(row, "x", {"1.weight": torch.randn(WIDTH, WIDTH)}) for _ in range(2)]
        opened.outputs(pack)
        plain.clear()
        opened.outputs(pack)
        assert not plain


def test_when_variants_are_folded():
    assert most_folded("cuda", 64, 2048) == 32
    assert most_folded("cuda", 1500, 2048) == 1
    assert most_folded("cpu", 8, 1024) == 16
    assert most_folded("cpu", 64, 1024) == 1  # a look of the usual size
    assert most_folded("cpu", 1, 2) == 1


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = lin(WIDTH, 16), lin(16, 16), lin(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))))


class Few:
    """Sixteen examples, whose labels the trained network mostly knows."""

    def __init__(self, model: nn.Module) -> None:
        self.inputs = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(4))
        with torch.no_grad():
            self.targets = model(self.inputs).argmax(1)
        self.targets[::5] = (self.targets[::5] + 1) % 4

    def __len__(self) -> int:
        return 16

    def between(self, start: int, stop: int) -> tuple[Arguments, Tensor]:
        return Arguments((self.inputs[start:stop],)), self.targets[start:stop]


def swept(model: nn.Module, sharing: Sharing, replay: bool = True, most: int | None = None) -> tuple[list[Any], int]:
    """(what was counted of each cell, runs that were folded)."""
    data, folds = Few(model), []
    with Forwards(model, Precision("fp32", CPU), replay=replay) as forwards:
        forwards.prepare(data.between(0, 8)[0])
        if most is not None:
            forwards.most_folded = lambda *_: most  # type: ignore[method-assign]
        plain = forwards.folded
        forwards.folded = lambda *args: folds.append(0) or plain(*args)  # type: ignore[method-assign]
        size = BatchSize(64)
        works = []
        for name in ("a", "b", "head"):
            row = Row(name, (f"{name}.weight", f"{name}.bias"))
            for draw in range(7):
                values = values_for(model, row.tensors, "noise" if draw % 2 else "random", draw)
                kind = "noise" if draw % 2 else "random"
                works.append(
                    Work((name, draw), row, kind, load=lambda row=row, kind=kind, v=values: Variant(row, kind, v))
                )
        baseline = measure_baseline(forwards, data, size, sharing=sharing)
        for _ in Sweep(forwards, data, baseline, Rule(exact=True), size, sharing=sharing).run(works):
            pass
        assert not forwards.fallbacks or not replay
    return [work.tally for work in works], len(folds)


def test_a_sweep_counts_the_same_folded_or_not():
    model = made(Scores)
    plain, none = swept(model, Alone(), replay=False)
    apart, neither = swept(model, Alone(), most=1)
    joined, folds = swept(model, Alone())
    assert (none, neither) == (0, 0)
    assert folds
    for one, two, three in zip(plain, apart, joined, strict=True):
        counts = [(t.seen, t.wrong, t.worse, t.better, t.agreeing) for t in (one, two, three)]
        assert counts[0] == counts[1] == counts[2]
        assert one.loss == pytest.approx(three.loss)
    assert {tally.seen for tally in joined} == {16}


def test_several_processes_fold_alike(colleagues):
    model = made(Scores)
    alone, folds = swept(copy.deepcopy(model), Alone())
    lock, made_folds = threading.Lock(), []

    def work(member: Any) -> Any:
        found, number = swept(copy.deepcopy(model), Shared(member))
        with lock:
            made_folds.append(number)
        return found

    for found in together(colleagues(2), work):
        assert found == alone  # to the last digit of the loss
    assert sum(made_folds) >= folds
