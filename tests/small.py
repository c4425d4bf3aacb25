"""A small run in a store, made through the store's own API: no torch, no training."""

import math
from pathlib import Path

import numpy as np
from lyrx.store import (
    REINITIALISE,
    RERANDOMISE,
    Cell,
    Column,
    EpochMetrics,
    Estimate,
    Layer,
    ProbeInfo,
    Run,
    RunInfo,
    Store,
    TensorInfo,
)

TENSORS = (
    TensorInfo("fc1.weight", "float32", (4, 3), "parameter"),
    TensorInfo("fc1.bias", "float32", (4,), "parameter"),
    TensorInfo("bn.num_batches_tracked", "int64", (), "buffer"),
    TensorInfo("fc2.weight", "bfloat16", (2, 4), "parameter"),
    TensorInfo("nothing", "float32", (0, 4), "parameter"),
)

PROBE = ProbeInfo(
    granularity="layer",
    layers=(
        Layer("fc1", ("fc1.weight", "fc1.bias", "bn.num_batches_tracked"), 16),
        Layer("fc2", ("fc2.weight",), 8),
    ),
    columns=(Column(RERANDOMISE, draws=2), Column(REINITIALISE, 0), Column(REINITIALISE, 2)),
    checkpoints=(0, 2),
    fingerprint="f" * 64,
    created=1.0,
)


def run_info(name: str = "small") -> RunInfo:
    return RunInfo(
        name=name,
        model="fcn",
        data="digits",
        epochs=2,
        checkpoints=(0, 2),
        tensors=TENSORS,
        fingerprint="a" * 64,
        spec={"run": {"name": name}},
        data_facts={"mean": 1.0, "test_examples": 100},
        versions={"lyrx": "0"},
        created=2.0,
    )


def weights(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "fc1.weight": generator.normal(size=(4, 3)).astype("float32"),
        "fc1.bias": np.zeros(4, dtype="float32"),
        "bn.num_batches_tracked": np.array(seed, dtype="int64"),
        "fc2.weight": generator.integers(0, 2**16, size=(2, 4)).astype("uint16"),
        "nothing": np.zeros((0, 4), dtype="float32"),
    }


def estimate(error: float, n: int = 100, total: int = 100) -> Estimate:
    return Estimate(error=error, low=error, high=error, loss=2 * error, agreement=1 - error, n=n, total=total)


def small_store(path: Path, name: str = "small") -> tuple[Store, Run]:
    """A new store with an empty run."""
    store = Store.open_or_create(path)
    return store, store.create_run(run_info(name), PROBE)


def finished_store(path: Path, name: str = "small") -> tuple[Store, Run]:
    """A store with a complete run: weights at both checkpoints, two epochs, every cell, distances."""
    store, run = small_store(path, name)
    with run.writing("test"):
        for epoch in range(3):
            lr = math.nan if epoch == 0 else 0.1
            run.history.append(EpochMetrics(epoch, 2.0 - epoch / 2, lr, 0.9 - epoch / 4, 2.3, 0.5), "a" * 64)
        for epoch in (0, 2):
            run.checkpoints.append(epoch, weights(epoch), "a" * 64)
        probe = run.probe()
        for number, cell in enumerate(probe.info.all_cells()):
            probe.write(cell, estimate(0.1 if cell == Cell(None, 2) else 0.1 + number / 100))
        probe.write_distances(0, (0.0, 0.0), (0.0, 0.0))
        probe.write_distances(2, (0.1, 0.2), (0.3, 0.4))
    return store, run
