"""Training: the same numbers as a plain loop, the same bits after a kill, the same metrics in two processes."""

import math
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from lyrx.engine.building import build_model
from lyrx.engine.errors import RunFailedError
from lyrx.engine.seeds import derive
from lyrx.engine.specfile import make_spec
from lyrx.engine.train import batches, epoch_order, parts_of
from lyrx.store import Store
from running import (
    assert_trained_alike,
    batch,
    cells,
    command,
    environment,
    launched,
    lyrx,
    spec_values,
    weights,
    write_spec,
)
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

CONV = {"name": "models_for_tests:convolutional"}


def by_hand(epochs: int) -> tuple[nn.Module, list[tuple[float, float, float]]]:
    """What SPEC does, written down plainly; the split and the seeds are lyrx's, nothing else is."""
    spec = make_spec(spec_values())
    data = spec.data.load()
    assert sorted(data.train_inputs.sum(axis=(1, 2, 3))) != []
    mean, std = (
        np.float64(data.train_inputs.mean(dtype=np.float64)),
        data.train_inputs.astype(np.float64).std(),
    )
    x, y = (
        (torch.from_numpy(data.train_inputs) - float(mean)) / float(std),
        torch.from_numpy(data.train_targets),
    )
    tx, ty = (
        (torch.from_numpy(data.test_inputs) - float(mean)) / float(std),
        torch.from_numpy(data.test_targets),
    )
    model = build_model(spec.model, (1, 8, 8), 10, derive(3, "init"))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    numbers = []
    for epoch in range(1, epochs + 1):
        losses = []
        for indices in epoch_order(3, epoch, len(x)).split(32):
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x[indices]), y[indices])
            loss.backward()
            optimiser.step()
            losses.append(loss.item() * len(indices))
        with torch.no_grad():
            logits = model(tx)
        error = float((logits.argmax(1) != ty).double().mean())
        numbers.append((sum(losses) / len(x), error, float(functional.cross_entropy(logits, ty))))
    return model, numbers


def test_equals_a_plain_loop_bit_for_bit(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    model, numbers = by_hand(3)
    assert weights(run, 3) == {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    epochs, _ = run.history.read()
    for metrics, (train_loss, error, test_loss) in zip(epochs[1:], numbers, strict=True):
        assert metrics.train_loss == pytest.approx(train_loss, rel=1e-6)
        assert metrics.test_error == error
        assert metrics.test_loss == pytest.approx(test_loss, rel=1e-5)
    assert [metrics.lr for metrics in epochs[1:]] == [0.05] * 3


def test_checkpoint_0_is_the_untouched_initialisation(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    fresh = build_model(make_spec(spec_values()).model, (1, 8, 8), 10, derive(3, "init"))
    assert weights(run, 0) == {name: tensor.numpy().tobytes() for name, tensor in fresh.state_dict().items()}
    first = run.history.at(0)
    assert first is not None
    assert math.isnan(first.train_loss)
    assert first.test_error > 0.5
    assert weights(run, 1) != weights(run, 0)


def test_data_facts_are_those_of_all_training_pixels(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    facts = run.info.data_facts
    images = load_digits().images
    data = make_spec(spec_values()).data.load()
    together = np.concatenate([data.train_inputs, data.test_inputs]).reshape(-1, 64)
    assert np.array_equal(np.sort(together.sum(1)), np.sort(images.reshape(-1, 64).sum(1).astype("float32")))
    assert facts["mean"] == pytest.approx(float(data.train_inputs.astype("float64").mean()))
    assert facts["std"] == pytest.approx(float(data.train_inputs.astype("float64").std()))
    assert (facts["train_examples"], facts["test_examples"], facts["classes"]) == (1437, 360, 10)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_run_stopped_after_any_epoch_ends_with_the_same_bits(tmp_path: Path, optimizer: str):
    sections = {
        "model": CONV,
        "train": {"optimizer": optimizer, "lr": 0.01, "milestones": [1]},
        "probe": {"draws": 0},
    }
    whole, _ = batch(tmp_path / "whole.zarr", **sections)

    def stopping_after(epoch: int):
        def observe(event) -> None:
            if type(event).__name__ == "EpochCommitted" and event.metrics.epoch == epoch:
                raise KeyboardInterrupt

        return observe

    from lyrx.engine.batch import run_batch

    for epoch in (0, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            run_batch(
                [make_spec(spec_values(**sections))],
                tmp_path / "parts.zarr",
                fresh=False,
                observer=stopping_after(epoch),
            )
        assert Store.open(tmp_path / "parts.zarr").run("r").status() == "interrupted"
    parts, events = batch(tmp_path / "parts.zarr", **sections)
    assert next(e for e in events if type(e).__name__ == "RunOpened").epochs_done == 2
    for epoch in (0, 1, 3):
        assert weights(parts, epoch) == weights(whole, epoch)
    assert not (parts.path / "resume").exists()


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bits(tmp_path: Path):
    # Many draws to the end of the data: the third kill must come while there is still something to measure.
    sections = {"model": CONV, "train": {"epochs": 30, "lr": 0.01}, "probe": {"draws": 100, "exact": True}}
    whole, _ = batch(tmp_path / "whole.zarr", **sections)
    spec = write_spec(tmp_path / "spec.toml", **sections)
    call = command("batch", spec, "--store", tmp_path / "killed.zarr")
    for marker in ("epoch 2/30", "epoch 20/30", "first whole picture"):
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if marker in line:
                    process.send_signal(signal.SIGKILL)
                    break
            else:
                pytest.fail(f"never came to {marker!r}")
    after_kill = Store.open(tmp_path / "killed.zarr").run("r")
    assert after_kill.trained
    assert after_kill.status() == "interrupted"
    before = after_kill.probe().results()
    assert before.estimates
    assert min(e.n for e in before.estimates.values()) < 360
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), check=True)
    assert "trained already" in done.stdout
    killed = Store.open(tmp_path / "killed.zarr").run("r")
    for epoch in (0, 1, 3, 30):
        assert weights(killed, epoch) == weights(whole, epoch)
    assert killed.probe().results().estimates == whole.probe().results().estimates
    # What had been finished before the kill was not measured again.
    after = killed.probe().results().records
    finished = [cell for cell, estimate in before.estimates.items() if estimate.n == 360]
    assert finished
    assert all(before.records[cell] == after[cell] for cell in finished)


@pytest.mark.slow
def test_two_processes_measure_what_one_does_and_one_writes(tmp_path: Path):
    # 1,437 examples in batches of 32 leave 29, which two processes cannot halve; 360 test examples on 2.
    sections = {"train": {"epochs": 2, "checkpoints": [0, 1, 2]}, "probe": {"draws": 1}}
    one, _ = batch(tmp_path / "one.zarr", **sections)
    spec = write_spec(tmp_path / "spec.toml", **sections)
    code, output, errors = launched("batch", spec, "--store", tmp_path / "two.zarr")
    assert code == 0, errors
    assert "2 processes" in output
    assert output.count("epoch 1/2") == 1  # one process speaks
    assert_trained_alike(Store.open(tmp_path / "two.zarr").run("r"), one, epoch=2, atol=1e-4)


@pytest.mark.slow
def test_bad_input_ends_both_processes_with_2(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    batch(tmp_path / "s.zarr", train={"epochs": 1, "checkpoints": []})
    code, _, errors = launched("batch", spec, "--store", tmp_path / "s.zarr")
    assert code != 0
    assert "train.epochs: 1, now 3" in errors
    assert "exitcode  : 2" in errors or "exitcode: 2" in errors


def test_a_last_batch_of_one_joins_the_one_before(tmp_path: Path):
    # 1,437 examples in batches of 4 leave one, on which BatchNorm cannot be trained.
    run, _ = batch(
        tmp_path / "s.zarr",
        model={"name": "fcn", "width": 8, "depth": 1, "batch_norm": True},
        train={"epochs": 1, "batch_size": 4, "checkpoints": []},
        probe={"draws": 0},
    )
    assert run.status() == "complete"
    parts = batches(torch.arange(9), 4)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert [len(part) for part in batches(torch.arange(10), 4)] == [4, 4, 2]
    assert [len(part) for part in batches(torch.arange(3), 1)] == [1, 1, 1]
    assert [len(part) for part in batches(torch.arange(1), 4)] == [1]


@pytest.mark.parametrize(("size", "count", "least"), [(1, 1, 1), (1, 4, 2), (2, 1, 2), (2, 3, 1), (3, 2, 2), (4, 8, 2)])
def test_a_batch_is_divided_into_parts_that_a_norm_can_train_on(size: int, count: int, least: int):
    for length in range(least, 20):
        batch = torch.arange(100, 100 + length)
        of_all = [parts_of(batch, rank, size, count, least) for rank in range(size)]
        parts = [part for of_one in of_all for part in of_one]
        assert torch.equal(torch.cat([part for part, weight in parts if weight]), batch)
        assert sum(weight for _, weight in parts) == pytest.approx(1)
        assert all(weight in (0, len(part) / length) and len(part) >= least for part, weight in parts)
        assert all(1 <= len(of_one) <= count for of_one in of_all)
        used = sum(bool(weight) for _, weight in parts)
        assert used >= min(size, length // least), "no process is idle that could have examples"


def test_a_last_batch_in_parts_can_be_trained_with_norms(tmp_path: Path):
    # 1,437 examples in batches of 32 leave 29, in 16 parts mostly of one example.
    run, _ = batch(
        tmp_path / "s.zarr",
        model={"name": "fcn", "width": 8, "depth": 1, "batch_norm": True},
        train={"epochs": 1, "accumulate": 16, "checkpoints": []},
        probe={"draws": 0},
    )
    assert run.status() == "complete"


@pytest.mark.slow
def test_two_processes_with_norms_test_the_network_that_is_kept(tmp_path: Path):
    """Each has running statistics of its own; those of the first one are kept, and are what the error is of."""
    inputs = np.random.default_rng(0).normal(size=(60, 1, 4, 4)).astype(np.float32)
    targets = np.arange(60) % 3
    np.savez(
        tmp_path / "d.npz",
        train_inputs=inputs[:35], train_targets=targets[:35], test_inputs=inputs[35:], test_targets=targets[35:],
    )  # fmt: skip
    # 35 examples in batches of 32 leave 3: too few for two processes that train BatchNorm.
    spec = write_spec(
        tmp_path / "spec.toml",
        model={"name": "fcn", "width": 8, "depth": 1, "batch_norm": True},
        data={"name": "arrays", "root": str(tmp_path / "d.npz")},
        train={"epochs": 3, "checkpoints": []},
        probe={"draws": 0, "exact": True},
    )
    code, _, errors = launched("batch", spec, "--store", tmp_path / "s.zarr")
    assert code == 0, errors
    run = Store.open(tmp_path / "s.zarr").run("r")
    whole = {cell.column: estimate for cell, estimate in cells(run).items() if cell.layer is None}
    history = {metrics.epoch: metrics for metrics in run.history.read()[0]}
    for index, column in enumerate(run.probe().info.columns):
        assert column.checkpoint is not None
        assert whole[index].error == history[column.checkpoint].test_error
        assert whole[index].loss == pytest.approx(history[column.checkpoint].test_loss, rel=1e-6)


@pytest.mark.slow
def test_two_processes_train_a_network_with_weights_that_it_does_not_use(tmp_path: Path):
    sections = {
        "model": {"name": "models_for_tests:LateFirst"},
        "train": {"epochs": 2, "checkpoints": [], "weight_decay": 0.1, "accumulate": 2},
        "probe": {"draws": 0},
    }
    one, _ = batch(tmp_path / "one.zarr", **sections)
    spec = write_spec(tmp_path / "spec.toml", **sections)
    code, _, errors = launched("batch", spec, "--store", tmp_path / "two.zarr")
    assert code == 0, errors
    two = Store.open(tmp_path / "two.zarr").run("r")
    assert_trained_alike(two, one, epoch=2, atol=1e-5)
    assert weights(two, 2)["unused.weight"] == weights(two, 0)["unused.weight"]


@pytest.mark.slow
def test_a_launcher_does_not_change_how_is_computed(tmp_path: Path):
    """`accelerate launch --mixed_precision bf16`, or a configuration file that says so, speaks to a process so."""
    spec = write_spec(tmp_path / "spec.toml", train={"epochs": 1, "checkpoints": []}, probe={"draws": 0})
    found = []
    for name, told in (("a", {}), ("b", {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_DYNAMO_BACKEND": "EAGER"})):
        done = lyrx("batch", spec, "--store", tmp_path / name, **told)
        assert done.returncode == 0, done.stderr
        found.append(Store.open(tmp_path / name).run("r"))
    assert weights(found[0], 1) == weights(found[1], 1)
    one, other = ([(m.test_error, m.test_loss) for m in run.history.read()[0]] for run in found)
    assert one == other


def test_a_network_that_fails_while_it_is_trained(tmp_path: Path):
    with pytest.raises(RunFailedError, match=r"\\x1b\[31mno training today.*What was finished is kept") as caught:
        batch(tmp_path / "s.zarr", model={"name": "models_for_tests:FailsInTraining"})
    assert caught.value.exit_code == 1


def test_a_run_that_diverges_fails_and_keeps_what_it_had(tmp_path: Path):
    with pytest.raises(RunFailedError, match="diverged in epoch 1") as caught:
        batch(tmp_path / "s.zarr", train={"lr": 1e30})
    assert caught.value.exit_code == 1
    run = Store.open(tmp_path / "s.zarr").run("r")
    assert run.checkpoints.committed() == [0]
    assert run.status() == "interrupted"


def test_training_leaves_no_launcher_variables_behind(tmp_path: Path):
    batch(tmp_path / "s.zarr", train={"epochs": 1, "checkpoints": [0]})
    assert "WORLD_SIZE" not in os.environ
