"""Stores with realistic contents, made through the store's own interface in moments: no network, no training.

The numbers are those of a fully connected net on MNIST and shapes like it: lower layers critical, upper ones robust,
re-randomising destroys.  Everything is computed from names and indices, so two makes are alike to the last digit.
"""

import math
import zlib
from dataclasses import replace
from pathlib import Path

from lyrx.store import (
    NOISE,
    PATH,
    REINITIALISE,
    RERANDOMISE,
    SHUFFLE,
    ZERO,
    Cell,
    Column,
    EpochMetrics,
    Estimate,
    Layer,
    Probe,
    ProbeInfo,
    Run,
    RunInfo,
    Store,
    TensorInfo,
)

CHECKPOINTS = (0, 1, 2, 3, 8, 20, 40, 90, 100)
EVIL = "\x1b[31m[bold]x[/bold]\x1b[0m"
"""A name that holds escape sequences and markup."""

START = 1_760_000_000.0
FINGERPRINT = "5eed" * 16

# Errors after re-initialisation at checkpoint 0, and how fast (in epochs) they fall from there.
FCN = {"fc1": (0.778, 2.6), "fc2": (0.184, 1.4), "fc3": (0.023, 1.0), "output": (0.017, 1.0)}
RANDOM = {"fc1": 0.898, "fc2": 0.943, "fc3": 0.916, "output": 0.902}
FINAL = 0.0152


def _wiggle(*key: object) -> float:
    """A number -1..1 that depends on nothing but `key`."""
    return 2 * (zlib.crc32("/".join(map(str, key)).encode()) / 0xFFFF_FFFF) - 1


def estimate(error: float, n: int = 10_000, total: int = 10_000) -> Estimate:
    """A cell's numbers around `error`: the point itself when all examples were seen."""
    half = 0.0 if n == total else 1.8 * math.sqrt(max(error * (1 - error), 0.002) / n)
    loss = -math.log(max(1e-3, 1 - error)) * 1.1 + 0.05
    return Estimate(error, max(0.0, error - half), min(1.0, error + half), loss, max(0.0, 1 - error * 0.99), n, total)


def cell_estimate(info: ProbeInfo, cell: Cell, **numbers: int) -> Estimate:
    """The numbers of one cell of the fake net."""
    column = info.columns[cell.column]
    if cell.layer is None:
        return estimate(network_error(column.checkpoint or 0), **numbers)
    name = info.layers[cell.layer].name
    if column.kind == RERANDOMISE:
        centre = RANDOM.get(name, 0.9 - 0.6 * cell.layer / max(1, len(info.layers)))
        return estimate(round(centre + 0.02 * _wiggle(name, cell.draw), 4), **numbers)
    depth = cell.layer / max(1, len(info.layers))
    if column.kind != REINITIALISE:
        share = {ZERO: 0.95, SHUFFLE: 0.9, NOISE: (column.scale or 0) * 0.8, PATH: 0.6 * (1 - (column.alpha or 0))}
        error = FINAL + share[column.kind] * math.exp(-4 * depth) + 0.01 * abs(_wiggle(name, column.label, cell.draw))
        return estimate(round(error, 4), **numbers)
    start, pace = FCN.get(name, (0.9 * math.exp(-4 * depth), 3.0))
    error = FINAL + max(0.0, start - FINAL) * math.exp(-(column.checkpoint or 0) / pace)
    return estimate(round(error, 4), **numbers)


def network_error(epoch: int) -> float:
    """The whole network's error after `epoch`."""
    return round(FINAL + (0.9021 - FINAL) * math.exp(-1.9 * epoch**0.6) + 0.002 * math.exp(-epoch / 15), 4)


def history(epochs: int) -> list[EpochMetrics]:
    """The training history up to `epochs`, epoch 0 included."""
    found = []
    for epoch in range(epochs + 1):
        error = network_error(epoch)
        loss = 0.35 * math.exp(-epoch / 6) + 0.05 * math.exp(-epoch / 30) + 0.001
        found.append(
            EpochMetrics(
                epoch, math.nan if epoch == 0 else loss, math.nan if epoch == 0 else 0.1, error, 3.2 * error + 0.03, 1.4
            )
        )
    return found


def probe_info(layers: dict[str, int] | list[str], *, draws: int = 3, checkpoints=CHECKPOINTS, **changes) -> ProbeInfo:
    """A probe with the column 'random' first, then every checkpoint."""
    sizes = layers if isinstance(layers, dict) else dict.fromkeys(layers, 65_792)
    return replace(
        ProbeInfo(
            granularity="layer",
            layers=tuple(Layer(name, (f"{name}.weight", f"{name}.bias"), size) for name, size in sizes.items()),
            columns=(Column(RERANDOMISE, draws=draws), *(Column(REINITIALISE, epoch) for epoch in checkpoints)),
            checkpoints=tuple(checkpoints),
            fingerprint=FINGERPRINT,
            settings={"tolerance": 0.05},
            created=START + 60,
        ),
        **changes,
    )


def run_info(name: str, *, epochs: int = 100, checkpoints=CHECKPOINTS, **changes) -> RunInfo:
    """A run of the fake net; its one tensor is tiny, since nobody reads it here."""
    return replace(
        RunInfo(
            name=name,
            model="FCN 3 x 256",
            data="MNIST",
            epochs=epochs,
            checkpoints=tuple(checkpoints),
            tensors=(TensorInfo("fc1.weight", "float32", (2,), "parameter"),),
            fingerprint=FINGERPRINT,
            data_facts={"classes": 10, "train_examples": 60_000, "test_examples": 10_000},
            created=START,
        ),
        **changes,
    )


def commit_checkpoints(run: Run, upto: int) -> None:
    """Commit every checkpoint up to epoch `upto`."""
    import numpy as np

    for epoch in run.info.checkpoints:
        if epoch <= upto:
            run.checkpoints.append(epoch, {"fc1.weight": np.zeros(2, dtype="float32")}, FINGERPRINT)


def commit_history(run: Run, upto: int, since: int = 0) -> None:
    """Commit the metrics of the epochs `since` to `upto`."""
    for metrics in history(upto)[since:]:
        run.history.append(metrics, FINGERPRINT)


def commit_cells(probe: Probe, cells: list[Cell] | None = None, **numbers: int) -> None:
    """Commit these cells (default: all)."""
    for cell in probe.info.all_cells() if cells is None else cells:
        probe.write(cell, cell_estimate(probe.info, cell, **numbers), seconds=0.1)


def commit_distances(probe: Probe) -> None:
    """Commit each layer's distance from initialisation at every checkpoint."""
    count = len(probe.info.layers)
    for epoch in probe.info.checkpoints:
        grown = 1 - math.exp(-epoch / 12)
        l2 = [0.034 * grown * (1 - 0.6 * layer / count) for layer in range(count)]
        probe.write_distances(epoch, tuple(l2), tuple(11 * value + 0.02 * grown for value in l2))


FCN_SIZES = {"fc1": 200_960, "fc2": 65_792, "fc3": 65_792, "output": 2_570}


def complete_run(store: Store, name: str = "fcn-3x256", **changes) -> Run:
    """Trained and fully probed."""
    run = store.create_run(run_info(name, **changes), probe_info(FCN_SIZES))
    commit_checkpoints(run, 100)
    commit_history(run, 100)
    probe = run.probe()
    commit_distances(probe)
    commit_cells(probe)
    return run


def partial_run(store: Store, name: str = "fcn-again", **changes) -> Run:
    """Trained; half of its cells measured on part of the data, one re-randomisation with one draw of three."""
    run = store.create_run(run_info(name, **{"created": START + 10, **changes}), probe_info(FCN_SIZES))
    commit_checkpoints(run, 100)
    commit_history(run, 100)
    probe = run.probe()
    commit_distances(probe)
    commit_cells(probe, probe.info.network_cells())
    commit_cells(probe, [c for c in probe.info.cells() if c.column in (1, 2, 3) and c.layer in (0, 1)], n=4_000)
    commit_cells(probe, [Cell(0, 0, 0), Cell(1, 0, 0), Cell(1, 0, 1), Cell(1, 0, 2)])
    return run


def training_run(store: Store, name: str = "resnet18", *, epochs_done: int = 42, **changes) -> Run:
    """In the middle of training: a few checkpoints, no cell."""
    changes = {"model": "ResNet-18", "data": "CIFAR-10", "created": START + 20, **changes}
    run = store.create_run(run_info(name, **changes), probe_info(FCN_SIZES))
    commit_checkpoints(run, epochs_done)
    commit_history(run, epochs_done)
    return run


def deep_run(store: Store, name: str = "vit-b16", *, layers: int = 30, **changes) -> Run:
    """Thirty layers with long names."""
    names = [f"encoder.layers.{i // 3}.{('attention', 'mlp.0', 'mlp.3')[i % 3]}" for i in range(layers)]
    changes = {"model": "ViT-B/16", "data": "CIFAR-10", "created": START + 30, **changes}
    run = store.create_run(run_info(name, **changes), probe_info(names))
    commit_checkpoints(run, 100)
    commit_history(run, 100)
    probe = run.probe()
    commit_distances(probe)
    commit_cells(probe, [cell for cell in probe.info.all_cells() if cell.draw == 0])
    return run


KINDS = (
    Column(RERANDOMISE, draws=3), Column(SHUFFLE, draws=2), Column(NOISE, draws=3, scale=0.1), Column(ZERO),
    Column(PATH, 0, alpha=0.5), Column(PATH, 8, alpha=0.5),
    Column(REINITIALISE, 0), Column(REINITIALISE, 8), Column(REINITIALISE, 100),
)  # fmt: skip


def kinds_run(store: Store, name: str = "fcn-kinds", **changes) -> Run:
    """Every kind of column, a joint row, and cells that are still estimates: as after an ordinary probe."""
    info = probe_info(FCN_SIZES, columns=KINDS, checkpoints=(0, 8, 100))
    layers = info.layers
    joint = Layer("fc2+fc3", layers[1].tensors + layers[2].tensors, 131_584, ("fc2", "fc3"))
    info = replace(info, layers=(*layers, joint))
    run = store.create_run(run_info(name, **changes), info)
    commit_checkpoints(run, 100)
    commit_history(run, 100)
    probe = run.probe()
    commit_distances(probe)
    commit_cells(probe, info.network_cells())
    for number, cell in enumerate(info.cells()):
        final = info.columns[cell.column] == KINDS[-1]
        n = 10_000 if final or number % 7 == 0 else (512, 1_536, 4_000)[number % 3]
        full = cell.layer == 3
        extra = {"evaluator": "full", "reason": "its input is altered in place"} if full else {"evaluator": "replay"}
        probe.write(cell, cell_estimate(info, cell, n=n), durable=False, **extra)
    probe.write_fallback("output", "", "its input is altered in place")
    return run


def damage(run: Run, cell: Cell) -> None:
    """Change a digit of a committed cell."""
    record = run.probe().record(cell)
    text = record.read_bytes()
    at = text.index(b'"values":[') + len(b'"values":[0.')
    record.unlink()  # it may be linked from elsewhere
    record.write_bytes(text[:at] + (b"1" if text[at : at + 1] != b"1" else b"2") + text[at + 1 :])


def fill(path: Path) -> Store:
    """A store with one run in every state that needs no living writer."""
    store = Store.open_or_create(path)
    complete_run(store)
    partial_run(store)
    training_run(store)
    deep_run(store)
    complete_run(store, EVIL, created=START + 40)
    damage(store.run(EVIL), Cell(1, 3))
    return store


if __name__ == "__main__":
    import sys

    fill(Path(sys.argv[1]))
