"""Stores for the benchmarks: one with a thousand runs, one with a heatmap of 500 layers x 60 columns.

    python tests/make_stores.py FOLDER [--runs 1000] [--layers 500] [--columns 60]

makes FOLDER/many.zarr and FOLDER/large.zarr, each within a minute.  A run of the first is a copy of one of a few, under
another name: files that no run of lyrx ever changes in place are shared between them (hard links).
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fakes
from lyrx.store import REINITIALISE, RERANDOMISE, Cell, Column, Probe, Run, Store

MODELS = ("ResNet-18", "ResNet-50", "VGG-11", "ViT-B/16", "Mixer-B/16", "FCN 3 x 256")
DATA = ("CIFAR-10", "CIFAR-100", "ImageNet", "MNIST")
_DAY = 86_400.0


def many(path: Path, runs: int = 1_000, *, now: float | None = None) -> Store:
    """A store of `runs` runs in all states that need no living writer, the newest made an hour before `now`."""
    now = time.time() if now is None else now
    store = Store.open_or_create(path)
    models = [
        fakes.complete_run(store, "a-complete"),
        fakes.partial_run(store, "a-half"),
        fakes.training_run(store, "a-training"),
        _failed(store),
    ]
    # Most runs of a store are done.
    kinds = [models[0]] * 6 + [models[1]] * 2 + models[2:]
    for number in reversed(range(runs)):  # the newest one is made last
        model, data = MODELS[number % len(MODELS)], DATA[number // len(MODELS) % len(DATA)]
        short = f"{model}-{data}".lower().replace("/", "").replace(" ", "")
        _copy(kinds[number % len(kinds)], f"{short}-seed{number}", model, data, now - 3600 - number * _DAY / 4)
    for model in models:
        store.delete_run(model.name)
    return store


def _failed(store: Store) -> Run:
    run = fakes.training_run(store, "a-failed", epochs_done=8)
    run.failure.write("training", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    return run


def _copy(run: Run, name: str, model: str, data: str, created: float) -> None:
    path = run.path.with_name(name)
    shutil.copytree(run.path, path, copy_function=os.link)
    about = path / "zarr.json"
    value = json.loads(about.read_bytes())
    value["attributes"]["lyrx"].update(name=name, model=model, data=data, created=created)
    about.unlink()  # linked from elsewhere
    about.write_text(json.dumps(value))


def large(path: Path, layers: int = 500, columns: int = 60) -> Store:
    """A store with one run whose heatmap has `layers` rows and `columns` columns, measured on part of the data."""
    store = Store.open_or_create(path)
    checkpoints = tuple(range(columns - 1))
    parts = ("attention.qkv", "attention.out", "mlp.0", "mlp.3")
    names = [f"encoder.layers.{i // len(parts)}.{parts[i % len(parts)]}" for i in range(layers)]
    info = replace(
        fakes.probe_info(names, draws=1, checkpoints=checkpoints),
        columns=(Column(RERANDOMISE, draws=1), *(Column(REINITIALISE, epoch) for epoch in checkpoints)),
    )
    run = store.create_run(fakes.run_info("large", epochs=columns - 2, checkpoints=checkpoints, model="ViT-G/14"), info)
    fakes.commit_checkpoints(run, columns)
    fakes.commit_history(run, columns - 2)
    probe = run.probe()
    fakes.commit_distances(probe)
    _commit(probe, probe.info.network_cells())
    cells = info.cells()
    for first in range(0, len(cells), 2_000):
        _commit(probe, cells[first : first + 2_000])
    return store


def _commit(probe: Probe, cells: Sequence[Cell]) -> None:
    probe.write_many(((cell, fakes.cell_estimate(probe.info, cell), {"seconds": 0.1}) for cell in cells), durable=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--layers", type=int, default=500)
    parser.add_argument("--columns", type=int, default=60)
    asked = parser.parse_args()
    for make, name, *numbers in ((many, "many", asked.runs), (large, "large", asked.layers, asked.columns)):
        start, path = time.perf_counter(), asked.folder / f"{name}.zarr"
        if path.exists():
            print(f"{path} is there already")
            continue
        make(path, *numbers)
        print(f"{path}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
