"""Interventions: the values each kind puts in place, from hand-computed numbers to whole cells of real runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lyrx.engine.building import build_model
from lyrx.engine.errors import ModelError
from lyrx.engine.interventions import Interventions, applied
from lyrx.engine.seeds import derive
from lyrx.engine.session import Session
from lyrx.engine.sources import StateSource
from lyrx.engine.specfile import make_spec
from lyrx.engine.state import named_tensors, same_bits, to_tensor
from lyrx.engine.values import between, noisy, shuffled
from lyrx.store import Cell, Column, Layer, NotCommittedError, ProbeInfo, Run
from running import batch, spec_values
from torch import Tensor, nn

CONV = {"name": "models_for_tests:convolutional"}
AT = ["zero", "noise:0.1", "noise:1", "shuffle", "path:0.5", "path:1:0.25", "path:0", "path:1", "0", "random"]


def test_a_path_by_hand():
    start, end = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([4.0, 1.0, 2.0])
    assert between(start, end, 0.25).tolist() == [1.0, 1.0, -1.0]
    assert between(torch.tensor(3), torch.tensor(9), 0.5).item() == 9  # counts have nothing between them
    assert between(torch.tensor(3), torch.tensor(9), 0.0).item() == 3
    # In float32, 0.3 * 1e-45 would be lost on the way; the ends keep their very bits, also of what is no number.
    odd = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    assert same_bits(between(odd, torch.ones(4), 0.0), odd)
    assert same_bits(between(torch.ones(4), odd, 1.0), odd)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.float32, torch.bfloat16])
def test_a_path_leaves_its_ends_as_they_are(dtype: torch.dtype):
    start, end = torch.tensor([1.0, -2.0]).to(dtype), torch.tensor([3.0, 4.0]).to(dtype)
    kept = start.clone(), end.clone()
    assert between(start, end, 0.5).tolist() == [2.0, 1.0]
    assert torch.equal(start, kept[0])
    assert torch.equal(end, kept[1])
    assert between(start, end, 0.5).tolist() == [2.0, 1.0]


def test_a_path_is_rounded_once():
    # 1 + 2^-24 lies between two float32: the sum of both ends' halves, each rounded first, would be another number.
    start, end = torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])
    exact = 0.7 * 1.0 + 0.3 * (1.0 + 2**-23)
    assert between(start, end, 0.3).item() == np.float32(exact)
    low = between(torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([3.0], dtype=torch.bfloat16), 0.25)
    assert low.dtype == torch.bfloat16
    assert low.item() == 1.5


def test_noise_by_hand():
    trained = torch.tensor([[3.0, -4.0], [0.0, 5.0]])  # root mean square sqrt(50 / 4)
    drawn = torch.randn(2, 2, generator=torch.Generator().manual_seed(11))
    want = trained + 0.1 * (50 / 4) ** 0.5 * drawn
    torch.testing.assert_close(noisy(trained, 0.1, 11), want)
    # Another scale goes the same way, another seed another way.
    torch.testing.assert_close(noisy(trained, 0.2, 11) - trained, 2 * (noisy(trained, 0.1, 11) - trained))
    assert not torch.equal(noisy(trained, 0.1, 12), noisy(trained, 0.1, 11))
    big = torch.full((300, 300), -2.0)
    assert (noisy(big, 0.1, 0) - big).std().item() == pytest.approx(0.2, rel=0.02)
    assert (noisy(big, 0.1, 0) - big).mean().item() == pytest.approx(0, abs=0.003)
    assert torch.equal(noisy(torch.zeros(5), 0.1, 0), torch.zeros(5))  # relative to nothing
    assert torch.equal(noisy(torch.tensor([1, 2]), 0.1, 0), torch.tensor([1, 2]))
    assert noisy(torch.zeros(0, 3), 0.1, 0).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_noise_in_other_types(dtype: torch.dtype):
    trained = torch.linspace(-2, 2, 4000).to(dtype)
    found = noisy(trained, 0.5, 3)
    assert found.dtype == dtype
    wide = torch.complex128 if dtype.is_complex else torch.float64
    change = found.to(wide) - trained.to(wide)
    size = trained.to(wide).abs().square().mean().sqrt().item()
    assert change.abs().square().mean().sqrt().item() == pytest.approx(0.5 * size, rel=0.05)
    if not dtype.is_complex:
        drawn = torch.randn(4000, dtype=torch.promote_types(dtype, torch.float32), generator=seeded(3))
        torch.testing.assert_close(found, (trained.double() + 0.5 * size * drawn).to(dtype))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.complex64])
def test_a_shuffle_keeps_every_element(dtype: torch.dtype):
    trained = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).transpose(0, 2).to(dtype)
    found = shuffled(trained, 5)
    assert found.shape == trained.shape
    assert found.dtype == dtype
    order = torch.randperm(24, generator=seeded(5))
    values = trained.reshape(-1).to(torch.complex64)
    assert torch.equal(found.reshape(-1).to(torch.complex64), values[order])
    assert shuffled(torch.tensor(3.0), 0).item() == 3
    assert shuffled(torch.zeros(0, 2), 0).shape == (0, 2)


class Small(nn.Module):
    """Two rows, a buffer that is no statistic, and one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("mask", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(self.a(x)) * self.mask)


ROW = ("a.weight", "a.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
ROWS = (
    Layer("a", (*ROW, "norm.num_batches_tracked", "mask"), 24),
    Layer("b", ("b.weight", "b.bias"), 10),
    Layer("a+b", (*ROW, "norm.num_batches_tracked", "mask", "b.weight", "b.bias"), 34, ("a", "b")),
)
STATISTICS = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = Small()
    model.train()
    for _ in range(seed % 5):
        model(torch.randn(8, 3))
    model.mask.mul_(seed)  # type: ignore[operator]
    return model.eval()


def interventions(columns: list[str], policy: str = "rewound") -> tuple[Interventions, nn.Module, nn.Module]:
    """Of the network of seed 3, whose checkpoint 0 is the network of seed 1."""
    model, start = small(3), small(1)
    parsed = tuple(Column.parse(column, draws=2) for column in columns)
    probe = ProbeInfo("layer", ROWS, parsed, (0,), "f" * 64, settings={"norm_statistics": policy})
    return Interventions(StateSource(model, {0: start.state_dict()}, small), probe, 42), model, start


def test_zero_leaves_statistics_and_other_buffers_as_trained():
    made, _, _ = interventions(["zero"])
    values = made.values(Cell(0, 0))
    assert set(values) == {"a.weight", "a.bias", "norm.weight", "norm.bias"}
    assert all(not value.any() for value in values.values())
    assert set(made.values(Cell(2, 0))) == {"a.weight", "a.bias", "norm.weight", "norm.bias", "b.weight", "b.bias"}


@pytest.mark.parametrize("column", ["noise:0.1", "shuffle"])
def test_drawn_kinds_change_parameters_by_recorded_seeds(column: str):
    made, model, _ = interventions([column])
    kind, trained = column.partition(":")[0], named_tensors(model)
    pure: Any = (lambda value, seed: noisy(value, 0.1, seed)) if kind == "noise" else shuffled
    seen = []
    for row in range(3):
        for draw in range(2):
            cell = Cell(row, 0, draw)
            seed = derive(42, kind, ROWS[row].name, draw)
            assert made.draw_seed(cell) == seed
            values = made.values(cell)
            assert not STATISTICS & values.keys()
            assert "mask" not in values
            for name, value in values.items():
                assert torch.equal(value, pure(trained[name], derive(seed, name)))
            seen.append(values["b.weight" if row == 1 else "a.weight"])
    assert not any(
        one.shape == other.shape and torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i]
    )


@pytest.mark.parametrize("policy", ["rewound", "kept", "reestimated"])
def test_a_path_takes_statistics_along_where_they_are_rewound(policy: str):
    made, model, start = interventions(["path:0.5", "path:0", "path:1", "0"], policy)
    ours, theirs = named_tensors(model), named_tensors(start)
    half, first, last, checkpoint = (made.values(Cell(0, column)) for column in range(4))
    want = {*ROW, "norm.num_batches_tracked", "mask"} - (STATISTICS if policy != "rewound" else set())
    assert set(half) == set(first) == set(last) == set(checkpoint) == want
    assert half["mask"].tolist() == [2.0] * 4
    for name in want:
        assert same_bits(first[name], theirs[name])
        assert same_bits(first[name], checkpoint[name])
        assert same_bits(last[name], ours[name])
        if ours[name].is_floating_point():
            torch.testing.assert_close(half[name], (ours[name] + theirs[name]) / 2)
    if policy == "rewound":
        assert half["norm.num_batches_tracked"].item() == 3
        assert first["norm.num_batches_tracked"].item() == 1


def test_a_joint_row_is_rerandomised_from_one_network_of_its_own():
    made, _, _ = interventions(["random", "0"])
    seed = derive(42, "rerandomise", "a+b", 1)
    assert made.draw_seed(Cell(2, 0, 1)) == seed
    fresh = named_tensors(small(seed))
    values = made.values(Cell(2, 0, 1))
    assert set(values) == set(ROWS[2].tensors)
    assert all(same_bits(values[name], fresh[name]) for name in values)
    assert made.draw_seed(Cell(2, 1)) is None


def test_a_whole_network_is_put_back_with_its_own_statistics():
    made, _, start = interventions(["0"], "kept")
    values = made.values(Cell(None, 0))
    assert set(values) == set(named_tensors(start))
    assert made.draw_seed(Cell(None, 0)) is None


def test_states_that_do_not_fit_are_refused():
    model = small(3)
    partial = {name: value for name, value in model.state_dict().items() if name != "b.bias"}
    with pytest.raises(ModelError, match=r"checkpoint 0 has no tensor 'b\.bias'"):
        StateSource(model, {0: partial})
    with pytest.raises(ModelError, match=r"'b\.bias' is float32\[3\], the trained network has float32\[2\]"):
        StateSource(model, {0: {**model.state_dict(), "b.bias": torch.zeros(3)}})
    with pytest.raises(ModelError, match="float64"):
        StateSource(model, {0: {**model.state_dict(), "b.bias": torch.zeros(2).double()}})
    source = StateSource(model, {0: model.state_dict()}, lambda seed: nn.Linear(1, 1))
    with pytest.raises(NotCommittedError, match=r"no checkpoint 3. There are: \[0\]"):
        source.tensors(3, ["b.bias"])
    with pytest.raises(ModelError, match="`build` makes has no tensor"):
        source.fresh(0, ["b.bias"])
    with pytest.raises(ModelError, match="needs `build`"):
        StateSource(model, {}).fresh(0, ["b.bias"])


def test_a_state_that_is_the_live_network_does_not_change_with_it():
    model = small(3)
    source = StateSource(model, {0: model.state_dict()})
    trained = model.b.bias.detach().clone()  # type: ignore[union-attr]
    value = source.tensors(0, ["b.bias"])["b.bias"]
    with applied(model, {"b.bias": torch.full((2,), 7.0)}):
        assert torch.equal(value, trained)
        assert torch.equal(source.tensors(0, ["b.bias"])["b.bias"], trained)
        assert torch.equal(source.final(["b.bias"])["b.bias"], trained)


def whole(run: Run, epoch: int) -> dict[str, Tensor]:
    arrays = run.checkpoints.read(epoch)
    return {name: to_tensor(array, run.checkpoints.tensors[name].dtype) for name, array in arrays.items()}


def test_every_cell_of_a_run_equals_a_plain_forward(tmp_path: Path):
    sections: dict[str, Any] = {
        "model": CONV,
        "probe": {"at": AT, "joint": [["0", "8"], ["[38]"]], "draws": 2, "exact": True},
    }
    run, _ = batch(tmp_path / "s.zarr", **sections)
    info, results = run.probe().info, run.probe().results()
    assert [layer.name for layer in info.layers] == ["0", "3", "8", "0+8", "3+8"]
    labels = ["random", "shuffle", "noise:0.1", "noise:1", "zero", "path:0", "path:0.5", "path:1", "path:1:0.25"]
    assert [column.label for column in info.columns] == [*labels, "0", "3"]
    assert info.checkpoints == (0, 3)
    assert run.status() == "complete"

    spec = make_spec(spec_values(**sections))
    data, model = spec.data.load(), build_model(spec.model, (1, 8, 8), 10, 0)
    mean, std = data.mean_std
    x = (torch.from_numpy(data.test_inputs) - mean) / std
    y = torch.from_numpy(data.test_targets)
    trained, first, second = whole(run, 3), whole(run, 0), whole(run, 1)
    for cell in info.cells():
        assert cell.layer is not None
        layer, column = info.layers[cell.layer], info.columns[cell.column]
        state, seed = dict(trained), derive(3, column.kind, layer.name, cell.draw)
        fresh = dict(build_model(spec.model, (1, 8, 8), 10, seed).state_dict())
        for name in layer.tensors:
            w, parameter = trained[name], run.checkpoints.tensors[name].kind == "parameter"
            drawn = torch.Generator().manual_seed(derive(seed, name))
            match column.label:
                case "random":
                    state[name] = fresh[name]
                case "0" | "path:0":
                    state[name] = first[name]
                case "path:0.5" if w.is_floating_point():
                    state[name] = ((first[name].double() + w.double()) / 2).float()
                case "path:1:0.25" if w.is_floating_point():
                    state[name] = (0.75 * second[name].double() + 0.25 * w.double()).float()
                case "zero" if parameter:
                    state[name] = w * 0
                case "noise:0.1" | "noise:1" if parameter:
                    rms = w.double().square().mean().sqrt().item()
                    state[name] = w + (column.scale or 0) * rms * torch.randn(w.shape, generator=drawn)
                case "shuffle" if parameter:
                    state[name] = w.flatten()[torch.randperm(w.numel(), generator=drawn)].reshape(w.shape)
        model.load_state_dict(state)
        model.eval()
        with torch.no_grad():
            wrong = (model(x).argmax(1) != y).double().mean().item()
        assert results.estimates[cell].error == wrong, (layer.name, column.label)
    baseline = results.estimates[info.network_cells()[-1]]
    at = {column.label: index for index, column in enumerate(info.columns)}
    for row in range(5):
        assert results.estimates[Cell(row, at["path:1"])].error == baseline.error
        assert results.estimates[Cell(row, at["path:0"])] == results.estimates[Cell(row, at["0"])]
    assert results.estimates[Cell(2, at["noise:0.1"])].error < results.estimates[Cell(2, at["zero"])].error


def test_the_seed_of_every_drawn_cell_is_recorded(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"at": ["random", "noise:0.5", "shuffle", "zero"], "draws": 2})
    probe = run.probe()
    for cell in probe.info.cells():
        assert cell.layer is not None
        kind, name = probe.info.columns[cell.column].kind, probe.info.layers[cell.layer].name
        record = probe._estimate.commits.read((cell.layer, cell.column, cell.draw))
        assert record is not None
        want = derive(3, kind, name, cell.draw) if kind in ("rerandomise", "noise", "shuffle") else None
        assert record.get("seed") == want


def test_bfloat16_weights_take_every_kind(tmp_path: Path):
    run, _ = batch(
        tmp_path / "s.zarr",
        model={"name": "models_for_tests:bfloat"},
        train={"lr": 0.01},
        probe={"at": ["zero", "noise:0.1", "shuffle", "path:0.5"], "draws": 1},
    )
    assert run.status() == "complete"
    made = Session(run, run.probe())._interventions
    for column in range(4):
        for value in made.values(Cell(0, column)).values():
            assert value.dtype == torch.bfloat16
