"""A store with runs that are worth comparing: the same network trained twice, once worse, and others."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import fakes
from lyrx.store import Cell, Layer, Probe, Run, Store

WORSE = "fcn-no-decay"
FIRST = "fcn-3x256"


def worse_run(store: Store, name: str = WORSE, *, n: int = 4_000) -> Run:
    """The fake net trained otherwise: its middle layer critical, its last one robust, its cells estimates."""
    sizes = {"fc1": 200_960, "fc2": 65_792, "skip": 65_792, "fc3": 65_792, "output": 2_570}
    info = fakes.probe_info(sizes, checkpoints=fakes.CHECKPOINTS)
    run = store.create_run(fakes.run_info(name, created=fakes.START + 5), info)
    fakes.commit_checkpoints(run, 100)
    for epoch in fakes.history(100):
        shift = 0.02 * math.exp(-epoch.epoch / 40) + 0.004
        error, loss = min(0.9, 1.4 * epoch.test_error + shift), 1.3 * epoch.train_loss + shift
        later = replace(epoch, test_error=error, train_loss=loss)
        run.history.append(later, fakes.FINGERPRINT)
    probe = run.probe()
    fakes.commit_distances(probe)
    fakes.commit_cells(probe, probe.info.network_cells())
    shifts = {"fc1": -0.12, "fc2": 0.21, "skip": 0.0, "fc3": 0.09, "output": -0.006}
    for cell in probe.info.cells():
        if cell.layer is None or (cell.layer == 4 and cell.column == 5):
            continue
        column = probe.info.columns[cell.column]
        shift = shifts[probe.info.layers[cell.layer].name]
        faded = 0.02 if column.checkpoint is None else math.exp(-column.checkpoint / 6)
        base = fakes.cell_estimate(probe.info, cell)
        error = min(1.0, max(0.004, base.error + shift * faded))
        seen = 10_000 if cell.column % 3 else n
        probe.write(cell, fakes.estimate(round(error, 4), n=seen), seconds=0.1, durable=False)
    return run


STAGES = ("stem", *(f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2)), "fc")


def staged_run(store: Store, name: str, shifts: Mapping[str, float] = MappingProxyType({})) -> Run:
    """A small residual net with stages and blocks; `shifts` are added to its layers' errors at checkpoint 0, and fade.

    At checkpoint 8 its cells are estimates.
    """
    info = fakes.probe_info(list(STAGES), checkpoints=(0, 8, 100))
    run = store.create_run(fakes.run_info(name, checkpoints=(0, 8, 100), model="ResNet-10"), info)
    fakes.commit_checkpoints(run, 100)
    fakes.commit_history(run, 100)
    probe = run.probe()
    fakes.commit_distances(probe)
    fakes.commit_cells(probe, info.network_cells())
    for cell in info.cells():
        checkpoint = info.columns[cell.column].checkpoint
        shift = 0.0 if checkpoint is None else shifts.get(STAGES[cell.layer or 0], 0.0) * math.exp(-checkpoint / 6)
        error = min(1.0, max(0.004, fakes.cell_estimate(info, cell).error + shift))
        probe.write(cell, fakes.estimate(round(error, 4), n=4_000 if checkpoint == 8 else 10_000), durable=False)
    return run


def block_probe(run: Run, *, measured: bool = True) -> Probe:
    """A newer probe of the same run, its rows the blocks."""
    layers = tuple(Layer(f"layer{stage}.{block}", (f"layer{stage}.{block}.weight",), 1_000) for stage in (1, 2)
                   for block in (0, 1))  # fmt: skip
    info = replace(run.probe().info, granularity="block", layers=layers, fingerprint="b10c" * 16,
                   created=fakes.START + 9_000)  # fmt: skip
    probe = run.create_probe(info)
    if measured:
        fakes.commit_cells(probe)
    return probe


def fill(path: Path) -> Store:
    """Two of the same network, a third with other columns, two deep ones, and one in training."""
    store = Store.open_or_create(path)
    fakes.complete_run(store, FIRST)
    worse_run(store)
    fakes.kinds_run(store)
    fakes.training_run(store)
    fakes.deep_run(store)
    deep = fakes.deep_run(store, "vit-b16-again", created=fakes.START + 50)
    fakes.damage(deep, Cell(3, 4))
    return store
