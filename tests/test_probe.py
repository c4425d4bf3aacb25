"""Probing: every cell equals what plain PyTorch gives, and the network comes back as it was."""

import importlib
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lyrx.engine.building import build_model
from lyrx.engine.data.base import DataSet
from lyrx.engine.errors import CancelledError, RestoreError, RunConflictError, RunFailedError
from lyrx.engine.examples import Normal, Resident
from lyrx.engine.seeds import derive
from lyrx.engine.session import Session
from lyrx.engine.specfile import make_spec
from lyrx.engine.state import named_tensors
from lyrx.engine.sweep import Sweep, Work
from lyrx.engine.tallies import Outcome, Tally, count, judge
from lyrx.store import Cell, DamagedError, NotCommittedError, Run, Store
from running import batch, spec_values, weights
from torch import nn
from torch.nn import functional

CONV = {"name": "models_for_tests:convolutional"}
TIED = {"name": "models_for_tests:Tied"}


def test_judge_by_hand():
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0], [float("nan"), 5.0, 1.0], [1.0, float("inf"), 0.0]])
    outcome = judge(logits, torch.tensor([0, 1, 1, 1]))
    assert outcome.prediction.tolist() == [0, 2, -1, 1]
    assert outcome.wrong.tolist() == [False, True, True, False]
    assert outcome.loss[0].item() == pytest.approx(np.log(np.exp([2, 0, 1]).sum()) - 2)
    assert outcome.loss[1].item() == pytest.approx(np.log(np.exp([0, 0, 3]).sum()))


def test_tally_by_hand():
    # Four examples whose scores are the rows of the identity; the trained network said 0, 0, 2, 0.
    outcome = judge(torch.eye(4), torch.tensor([0, 1, 0, 0]))
    trained = torch.tensor([0, 0, 2, 0]), torch.tensor([False, True, True, False])
    (numbers,) = count(outcome, *trained)
    tally = Tally().plus(4, numbers.tolist(), 8, 1)
    assert (tally.seen, tally.wrong, tally.worse, tally.better, tally.agreeing) == (4, 2, 1, 1, 2)
    right, wrong = np.log(np.e + 3) - 1, np.log(np.e + 3)
    assert tally.loss == pytest.approx(2 * right + 2 * wrong)
    assert tally.plus(4, numbers.tolist(), 8, 1) == Tally(8, 4, 2, 2, 4, 2 * tally.loss)


def test_tally_of_sequences_by_hand():
    # Two sequences of three tokens. The variant: wrong, wrong, right and right, right, wrong.
    wrong = torch.tensor([[True, True, False], [False, False, True]])
    outcome = Outcome(torch.tensor([[1, 1, 0], [0, 0, 1]]), wrong, torch.tensor([2.0, 1.0]))
    # The trained network: wrong in the middle of the first, wrong at the start of the second.
    trained = torch.tensor([[0, 1, 0], [1, 0, 0]]), torch.tensor([[False, True, False], [True, False, False]])
    (numbers,) = count(outcome, *trained)
    tally = Tally().plus(2, numbers.tolist(), 10, 3)
    assert (tally.seen, tally.wrong, tally.worse, tally.better, tally.agreeing) == (2, 3, 2, 1, 3)
    assert tally.loss == 3.0
    # Shares: the first is wrong in one more token, the second in as many: d = 1/3 and 0, beside the mean 0 before.
    assert tally.path.variation == pytest.approx(1 / 9)
    assert tally.path.weight == pytest.approx(2 / 10)
    assert tally.path.pull == 0
    again = tally.plus(2, numbers.tolist(), 10, 3)  # the mean before is 1/6, eight are left
    assert again.path.variation == pytest.approx(1 / 9 + (1 / 3 - 1 / 6) ** 2 + (1 / 6) ** 2)
    assert again.path.weight == pytest.approx(2 / 10 + 2 / 8)
    assert again.path.pull == pytest.approx(2 * (1 / 3) / 8)


def test_variants_behind_one_another_are_counted_each_by_itself():
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(6, 4, generator=generator) for _ in range(3)]
    targets, prediction = (torch.randint(4, (6,), generator=generator) for _ in range(2))
    trained = prediction, prediction != targets
    together = count(judge(torch.cat(outputs), targets.repeat(3)), *trained)
    assert together.shape == (3, 5)
    for output, numbers in zip(outputs, together, strict=True):
        (alone,) = count(judge(output, targets), *trained)
        assert torch.equal(alone[:4], numbers[:4])
        assert alone[4].item() == pytest.approx(numbers[4].item())


def oracle(run: Run, model: nn.Module, data, state: dict[str, torch.Tensor], trained: dict[str, torch.Tensor]):
    """Error, loss and agreement of the network with `state`, by load_state_dict and one forward of everything."""
    mean, std = run.info.data_facts["mean"], run.info.data_facts["std"]
    x = (torch.from_numpy(data.test_inputs).float() - mean) / std
    y = torch.from_numpy(data.test_targets)

    def logits(values: dict[str, torch.Tensor]) -> torch.Tensor:
        model.load_state_dict(values)
        model.eval()
        with torch.no_grad():
            return model(x)

    out, reference = logits(state), logits(trained).argmax(1)
    return (
        float((out.argmax(1) != y).double().mean()),
        float(functional.cross_entropy(out, y)),
        float((out.argmax(1) == reference).double().mean()),
    )


def full_state(run: Run, epoch: int) -> dict[str, torch.Tensor]:
    arrays = run.checkpoints.read(epoch)
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    for info in run.info.tensors:
        state.update((alias, state[info.name]) for alias in info.aliases)
    return state


@pytest.mark.parametrize("model", [CONV, TIED, {"name": "fcn", "width": 16, "depth": 2, "batch_norm": True}])
@pytest.mark.parametrize("policy", ["rewound", "kept"])
def test_every_cell_equals_a_plain_forward(tmp_path: Path, model: dict, policy: str):
    if policy == "kept" and model is TIED:
        pytest.skip("it has no norm")
    sections = {"model": model, "probe": {"norm_statistics": policy, "exact": True}}
    run, _ = batch(tmp_path / "s.zarr", **sections)
    spec = make_spec(spec_values(**sections))
    data, probe = spec.data.load(), run.probe()
    info, results = probe.info, probe.results()
    plain = build_model(spec.model, (1, 8, 8), 10, 0)
    trained = full_state(run, 3)
    assert set(results.estimates) == set(info.all_cells())
    for cell, estimate in results.estimates.items():
        column, state = info.columns[cell.column], dict(trained)
        if cell.layer is None:
            state = full_state(run, column.checkpoint or 0)
        else:
            layer = info.layers[cell.layer]
            if column.kind == "rerandomise":
                fresh = build_model(spec.model, (1, 8, 8), 10, derive(3, "rerandomise", layer.name, cell.draw))
                source = dict(fresh.state_dict())
            else:
                source = full_state(run, column.checkpoint or 0)
            for name in layer.tensors:
                if policy == "kept" and name.rpartition(".")[2] in (
                    "running_mean",
                    "running_var",
                    "num_batches_tracked",
                ):
                    continue
                state[name] = source[name]
                for tensor in run.info.tensors:
                    if tensor.name == name:
                        state.update((alias, source[name]) for alias in tensor.aliases)
        error, loss, agreement = oracle(run, plain, data, state, trained)
        assert estimate.error == error, cell
        assert estimate.loss == pytest.approx(loss, rel=1e-4)
        assert estimate.agreement == agreement
        assert (estimate.low, estimate.high) == (estimate.error, estimate.error)
        assert estimate.exact
        assert estimate.n == 360


def test_a_network_that_works_in_place_on_its_input_does_not_change_the_data(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", model={"name": "models_for_tests:InPlace"}, train={"lr": 0.01})
    epochs, _ = run.history.read()
    assert epochs[-1].test_error < epochs[0].test_error
    estimates = run.probe().results().estimates
    final = len(run.probe().info.columns) - 1
    assert estimates[Cell(0, final)].error == epochs[-1].test_error
    assert estimates[Cell(None, final)].error == epochs[-1].test_error


def test_a_network_that_is_not_the_trained_one_is_never_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RunConflictError, match="neither a parameter nor a persistent buffer"):
        batch(tmp_path / "a.zarr", model={"name": "models_for_tests:NonPersistent"})
    # The code of a model changes after it was trained: the same tensors, another function; then other tensors.
    (tmp_path / "changing.py").write_text(CHANGING)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = {"name": "changing:model"}
    run, _ = batch(tmp_path / "s.zarr", model=model)
    changes = (
        ("torch.relu", "torch.neg", "code has changed"),
        ("nn.Linear(64, 16)", "nn.Linear(64, 16, False)", "other tensors"),
    )
    for old, new, said in changes:
        text = CHANGING.replace(old, new)
        (tmp_path / "changing.py").write_text(text)
        sys.modules.pop("changing")
        importlib.invalidate_caches()
        with pytest.raises(RunConflictError, match=said):
            batch(tmp_path / "s.zarr", model=model, probe={"draws": 1})
    assert run.probes()[0].missing() == []


CHANGING = """
import torch
from torch import nn

class model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.b(torch.relu(self.a(x.flatten(1))))
"""


def test_every_generator_is_seeded(tmp_path: Path):
    model = {"name": "models_for_tests:numpy_initialised"}
    one, _ = batch(tmp_path / "one.zarr", model=model)
    two, _ = batch(tmp_path / "two.zarr", model=model)
    assert weights(one, 0) == weights(two, 0)
    assert weights(one, 3) == weights(two, 3)
    assert one.probe().results().estimates == two.probe().results().estimates


def test_the_whole_networks_row_is_the_training_history(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"exact": True})
    history = {metrics.epoch: metrics for metrics in run.history.read()[0]}
    probe = run.probe()
    for cell in probe.info.network_cells():
        estimate = probe.read(cell)
        epoch = probe.info.columns[cell.column].checkpoint
        assert estimate is not None
        assert estimate.error == history[epoch].test_error
    baseline = probe.read(probe.info.network_cells()[-1])
    assert baseline is not None
    assert baseline.agreement == 1.0


def test_draws_differ_and_are_neither_checkpoint_0_nor_each_other(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"draws": 3})
    probe = run.probe()
    session = Session(run, probe)
    drawn = [session._interventions.values(Cell(0, 0, draw))["fc1.weight"] for draw in range(3)]
    first = torch.from_numpy(run.checkpoints.read(0, ["fc1.weight"])["fc1.weight"])
    for index, one in enumerate(drawn):
        assert one.std().item() == pytest.approx(first.std().item(), rel=0.1)
        assert not torch.equal(one, first)
        assert all(not torch.equal(one, other) for other in drawn[index + 1 :])
    assert probe.results().records[Cell(0, 0, 1)]["seed"] == derive(3, "rerandomise", "fc1", 1)


def test_distances_by_hand(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", model=CONV)
    probe = run.probe()
    distances = probe.results().distances
    start, end = run.checkpoints.read(0), run.checkpoints.read(3)
    names = ["0.weight", "1.weight", "1.bias"]  # parameters of the first layer; its statistics are no weights
    change = np.concatenate([(end[n].astype("f8") - start[n].astype("f8")).ravel() for n in names])
    l2, linf = distances[3]
    assert l2[0] == pytest.approx(np.sqrt((change**2).mean()))
    assert linf[0] == pytest.approx(np.abs(change).max())
    assert distances[0] == ((0.0,) * 3, (0.0,) * 3)
    assert set(distances) == {0, 1, 3}


def test_fewer_examples_give_an_interval_that_is_about_the_whole_data_set(tmp_path: Path):
    whole, _ = batch(tmp_path / "s.zarr", probe={"exact": True})
    exact = whole.probe().results().estimates
    part, events = batch(tmp_path / "s.zarr", probe={"examples": 120, "exact": True})
    assert len(part.probes()) == 2  # another probe of the same run, which was not trained again
    assert not [event for event in events if type(event).__name__ == "EpochCommitted"]
    sampled = part.probe().results().estimates
    inside = 0
    final = len(part.probe().info.columns) - 1
    for cell in [cell for cell in sampled if cell.column == final]:
        assert sampled.pop(cell) == exact[cell]  # the trained network itself is known on all examples
    for cell, estimate in sampled.items():
        assert estimate.n == 120
        assert estimate.total == 360
        assert not estimate.exact
        assert estimate.low <= estimate.error <= estimate.high
        inside += estimate.low <= exact[cell].error <= estimate.high
    assert inside >= 0.8 * len(sampled)  # the cells share one sample, so they are right or wrong together


def test_a_network_that_was_not_put_back_is_noticed(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    session = Session(run, run.probe())
    session.verify()
    with torch.no_grad():
        named_tensors(session.model)["fc1.bias"][0] += 1e-6
    with pytest.raises(RestoreError, match=r"fc1\.bias"):
        session.verify()


def test_after_every_measurement_the_network_is_looked_at(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    with Session(run, run.probe()) as session, run.writing("test"):

        def after(work: Work, examples: int) -> None:
            with torch.no_grad():
                named_tensors(session.model)["fc1.bias"][0] += 1e-6

        with pytest.raises(RestoreError, match=r"fc1\.bias"):
            list(session.measure([Cell(1, 1, 0)], again=True, after_cell=after))


def test_numbers_that_a_gpu_was_only_asked_for_are_counted_when_the_batch_ends(tmp_path: Path, monkeypatch):
    run, _ = batch(tmp_path / "s.zarr", probe={"batch_size": 100})
    probe, cells = run.probe(), [Cell(0, 1, 0), Cell(1, 1, 0), Cell(2, 1, 0)]
    wanted = [probe.read(cell) for cell in cells]

    class Asking(Sweep):
        """As on a GPU, whose host does not wait for each cell."""

        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            self._at_once = False

    monkeypatch.setattr("lyrx.engine.session.Sweep", Asking)
    with Session(run, probe) as session, run.writing("test"):
        began = time.perf_counter()
        list(session.measure(cells, again=True, after_cell=lambda work, seen: time.sleep(0.01)))
        took = time.perf_counter() - began
        assert [probe.read(cell) for cell in cells] == wanted
        seconds = sum(record["seconds"] for cell, record in probe.results().records.items() if cell in cells)
        # Also what the host waited for in the end is somebody's: here that is almost everything.
        assert 0.5 * took < seconds <= took

        def cancel(work: Work, seen: int) -> None:
            raise CancelledError("enough")

        for cell in cells:
            probe.withdraw(cell)
        with pytest.raises(CancelledError):
            list(session.measure(cells, after_cell=cancel))
    assert [estimate and estimate.n for estimate in map(probe.read, cells)] == [64, None, None]


def test_a_cancel_takes_effect_within_a_batch_and_keeps_what_was_seen(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"batch_size": 100})
    probe, cells, seen = run.probe(), [Cell(0, 1, 0), Cell(1, 1, 0), Cell(2, 1, 0)], []
    for cell in cells:
        probe.withdraw(cell)

    def after(work: Work, examples: int) -> None:
        seen.append((work.key, examples))
        if len(seen) == 2:
            raise CancelledError("enough")

    with Session(run, probe) as session, run.writing("test"):
        with pytest.raises(CancelledError):
            list(session.measure(cells, exact=True, after_cell=after))
        session.verify()
    assert seen == [(cells[0], 64), (cells[1], 64)]
    assert [estimate and estimate.n for estimate in map(probe.read, cells)] == [64, 64, None]


def test_a_network_that_a_cancel_leaves_otherwise_is_noticed(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    probe, cell = run.probe(), Cell(0, 1, 0)
    probe.withdraw(cell)

    def after(work: Work, examples: int) -> None:
        with torch.no_grad():
            named_tensors(session.model)["fc1.bias"][0] += 1e-6
        raise CancelledError("enough")

    with (
        Session(run, probe) as session,
        run.writing("test"),
        pytest.raises(RestoreError, match=r"fc1\.bias") as raised,
    ):
        list(session.measure([cell], after_cell=after))
    assert isinstance(raised.value.__context__, CancelledError)


def test_an_untrained_run_and_other_data_are_refused(tmp_path: Path):
    np.savez(tmp_path / "d.npz", **arrays(seed=0))
    data = {"name": "arrays", "root": str(tmp_path / "d.npz")}
    run, _ = batch(tmp_path / "s.zarr", data=data)
    np.savez(tmp_path / "d.npz", **arrays(seed=1))
    with pytest.raises(RunConflictError, match="other data"):
        Session(run, run.probe())
    with pytest.raises(RunConflictError, match="other data"):
        batch(tmp_path / "s.zarr", data=data)
    run.checkpoints.commits.withdraw((2,))
    with pytest.raises(NotCommittedError, match="not trained"):
        Session(Store.open(tmp_path / "s.zarr").run("r"), run.probe())


def arrays(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "train_inputs": generator.integers(0, 255, size=(64, 1, 4, 4), dtype=np.uint8),
        "train_targets": generator.integers(0, 3, size=64),
        "test_inputs": generator.integers(0, 255, size=(30, 1, 4, 4), dtype=np.uint8),
        "test_targets": generator.integers(0, 3, size=30),
    }


def test_bfloat16_weights_are_probed(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", model={"name": "models_for_tests:bfloat"}, train={"lr": 0.01})
    assert run.checkpoints.tensors["linear.weight"].dtype == "bfloat16"
    assert run.status() == "complete"
    assert all(0 <= estimate.error <= 1 for estimate in run.probe().results().estimates.values())


def test_inputs_kept_as_they_are_read_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch):
    data = arrays(0)
    device = torch.device("cpu")
    normal = Normal(DataSet(*data.values(), classes=3, norms=(100.0, 50.0)))
    ready = Resident(data["train_inputs"], data["train_targets"], normal, device)
    monkeypatch.setattr("lyrx.engine.examples.RESIDENT_FLOAT_BYTES", 0)
    late = Resident(data["train_inputs"], data["train_targets"], normal, device)
    indices = torch.tensor([5, 3, 60])
    for a, b in zip(ready.take(indices), late.take(indices), strict=True):
        assert torch.equal(a, b)
    for (a, _), (b, _) in zip(ready.batches(7), late.batches(7), strict=True):
        assert torch.equal(a, b)


def test_a_damaged_checkpoint_costs_only_the_cells_that_need_it(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"exact": True})
    exact = run.probe().results().estimates
    chunk = run.path / "weights" / "fc2.weight" / "c" / "1" / "0" / "0"  # checkpoint 1
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(RunFailedError, match=r"fc2\.weight' at checkpoint 1") as caught:
        batch(tmp_path / "s.zarr", probe={"draws": 1, "exact": True})
    assert caught.value.exit_code == 1
    probe = run.probe()
    missing = {(cell.layer, probe.info.columns[cell.column].label) for cell in probe.missing()}
    assert missing == {(None, "1"), (1, "1")}
    for cell, estimate in probe.results().estimates.items():
        assert (estimate.error, estimate.agreement) == (exact[cell].error, exact[cell].agreement)
        assert estimate.loss == pytest.approx(exact[cell].loss)  # batches of other cells, another order of sums
    again, _ = batch(tmp_path / "s.zarr", fresh=True, probe={"draws": 1})
    assert again.status() == "complete"


def test_a_run_with_damaged_attributes_can_be_made_anew(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    (run.path / "zarr.json").write_text("{")
    with pytest.raises(DamagedError, match=r"zarr\.json is damaged"):
        batch(tmp_path / "s.zarr")
    again, _ = batch(tmp_path / "s.zarr", fresh=True)
    assert again.status() == "complete"


def test_it_is_said_where_examples_know_of_each_other(tmp_path: Path):
    run, events = batch(tmp_path / "s.zarr", model={"name": "models_for_tests:mixing"}, probe={"at": ["zero"]})
    notes = [event.note for event in events if type(event).__name__ == "Noted"]
    assert len(notes) == 1
    assert "depends on the others in its batch" in notes[0]
    assert run.probe().notes() == {"batches": notes[0]}, "whoever looks at the numbers later is told too"
    other, events = batch(tmp_path / "t.zarr", probe={"at": ["zero"]})
    assert other.probe().notes() == {}
    assert not [event for event in events if type(event).__name__ == "Noted"]
