"""Runs with weights in their checkpoints, and networks of real shapes: for the cell's figures and the model's tree.

Like :mod:`fakes`, made through the store's own interface in moments, and alike to the last digit.
"""

import math
import zlib
from collections.abc import Sequence

import fakes
import numpy as np
from lyrx.store import REINITIALISE, RERANDOMISE, Cell, Column, Estimate, Layer, ProbeInfo, Run, Store, TensorInfo

EPOCHS = (0, 1, 2, 3, 8, 20, 40, 90, 100)


def tensor(name: str, *shape: int, kind: str = "parameter", dtype: str = "float32", also: Sequence[str] = ()):
    return TensorInfo(name, dtype, tuple(shape), kind, tuple(also))  # type: ignore[arg-type]


def linear(name: str, outputs: int, inputs: int) -> list[TensorInfo]:
    return [tensor(f"{name}.weight", outputs, inputs), tensor(f"{name}.bias", outputs)]


def norm(name: str, channels: int) -> list[TensorInfo]:
    return [
        tensor(f"{name}.weight", channels),
        tensor(f"{name}.bias", channels),
        tensor(f"{name}.running_mean", channels, kind="buffer"),
        tensor(f"{name}.running_var", channels, kind="buffer"),
        tensor(f"{name}.num_batches_tracked", kind="buffer", dtype="int64"),
    ]


def fcn_tensors(width: int = 64, inputs: int = 196) -> list[TensorInfo]:
    """Three hidden layers and an output: small enough to have weights in a test."""
    return [*linear("fc1", width, inputs), *linear("fc2", width, width), *linear("fc3", width, width),
            *linear("output", 10, width)]  # fmt: skip


def resnet18_tensors(width: int = 64, classes: int = 1000) -> list[TensorInfo]:
    """Those of torchvision's ResNet-18, in its order, or of one with fewer channels."""
    found = [tensor("conv1.weight", width, 3, 7, 7), *norm("bn1", width)]
    inputs = width
    for stage, channels in enumerate((width, 2 * width, 4 * width, 8 * width), start=1):
        for block in range(2):
            path = f"layer{stage}.{block}"
            found += [tensor(f"{path}.conv1.weight", channels, inputs, 3, 3), *norm(f"{path}.bn1", channels)]
            found += [tensor(f"{path}.conv2.weight", channels, channels, 3, 3), *norm(f"{path}.bn2", channels)]
            if inputs != channels:
                found.append(tensor(f"{path}.downsample.0.weight", channels, inputs, 1, 1))
                found += norm(f"{path}.downsample.1", channels)
            inputs = channels
    return [*found, *linear("fc", classes, inputs)]


def tied_tensors() -> list[TensorInfo]:
    """A small language model whose output shares its weights with the embedding."""
    found = [tensor("embed.weight", 512, 96, also=("head.weight",)), tensor("position", 64, 96)]
    for block in range(3):
        path = f"blocks.{block}"
        found += [*linear(f"{path}.attention.qkv", 288, 96), *linear(f"{path}.attention.out", 96, 96)]
        found += [*linear(f"{path}.mlp.up", 384, 96), *linear(f"{path}.mlp.down", 96, 384)]
        found += [tensor(f"{path}.norm.weight", 96), tensor(f"{path}.norm.bias", 96)]
    return found


def layers_of(tensors: Sequence[TensorInfo], groups: dict[str, Sequence[str]]) -> tuple[Layer, ...]:
    """Layers by the starts of their tensors' names."""
    found = []
    for name, starts in groups.items():
        held = [one for one in tensors if one.name.startswith(tuple(f"{start}." for start in starts))]
        weights = sum(math.prod(one.shape) for one in held if one.kind == "parameter")
        found.append(Layer(name, tuple(one.name for one in held), weights))
    return tuple(found)


def resnet18_layers(tensors: Sequence[TensorInfo]) -> tuple[Layer, ...]:
    """Each convolution with the norm that follows it, and the last layer."""
    groups: dict[str, Sequence[str]] = {"conv1": ("conv1", "bn1")}
    for stage in range(1, 5):
        for block in range(2):
            path = f"layer{stage}.{block}"
            groups |= {f"{path}.conv{i}": (f"{path}.conv{i}", f"{path}.bn{i}") for i in (1, 2)}
            if stage > 1 and block == 0:
                groups[f"{path}.downsample.0"] = (f"{path}.downsample",)
    return layers_of(tensors, {**groups, "fc": ("fc",)})


def tied_layers() -> tuple[Layer, ...]:
    groups: dict[str, Sequence[str]] = {"embed": ("embed",)}
    for block in range(3):
        groups |= {f"blocks.{block}.{part}": (f"blocks.{block}.{part}",) for part in ("attention", "mlp")}
    return layers_of(tied_tensors(), groups)


def values(one: TensorInfo, epoch: int) -> np.ndarray:
    """A tensor after `epoch`: its initialisation, and a way from there that depends on its name."""
    made = np.random.default_rng(zlib.crc32(one.name.encode()))
    if one.kind == "buffer":
        return np.zeros(one.shape, dtype=one.dtype)
    size = 1 / math.sqrt(one.shape[-1]) if one.shape else 1.0
    start = made.uniform(-size, size, one.shape)
    way = made.normal(0, size, one.shape) * (1 - math.exp(-epoch / 12))
    return (start + 0.7 * way).astype(one.dtype)


def trained_run(
    store: Store,
    name: str,
    tensors: Sequence[TensorInfo],
    layers: Sequence[Layer],
    *,
    weights: bool = False,
    cells: str = "estimates",
    **changes,
) -> Run:
    """A trained run of these tensors. With `weights` its checkpoints are in the store, whole; else only committed.

    cells: 'estimates' (some exact, some not), 'half' (every second layer), or 'none'.
    """
    info = ProbeInfo(
        granularity="layer",
        layers=tuple(layers),
        columns=(Column(RERANDOMISE, draws=3), *(Column(REINITIALISE, epoch) for epoch in EPOCHS)),
        checkpoints=EPOCHS,
        fingerprint=fakes.FINGERPRINT,
        settings={"tolerance": 0.05, "precision": "fp32"},
        created=fakes.START + 60,
    )
    run_info = fakes.run_info(name, spec={"run": {"seed": 17}}, **{"tensors": tuple(tensors), **changes})
    run = store.create_run(run_info, info)
    for epoch in EPOCHS:
        if weights:
            run.checkpoints.append(epoch, {one.name: values(one, epoch) for one in tensors}, fakes.FINGERPRINT)
        else:  # no weights: networks of a size that a test does not write
            record = {"hash": {}, "fingerprint": fakes.FINGERPRINT, "epoch": epoch}
            run.checkpoints.commits.write((EPOCHS.index(epoch),), record)
    fakes.commit_history(run, 100)
    probe = run.probe()
    fakes.commit_distances(probe)
    if cells != "none":
        for number, cell in enumerate(info.all_cells()):
            if cells == "half" and cell.layer is not None and cell.layer % 2:
                continue
            final = info.columns[cell.column].checkpoint == 100
            n = 10_000 if cell.layer is None or final else (10_000, 512, 1_536, 4_000)[number % 4]
            commit(probe, cell, n)
    return run


def commit(probe, cell: Cell, n: int = 10_000) -> None:
    """A cell's numbers, and what a session commits with them."""
    facts = {"seconds": 0.21 + 0.01 * cell.column, "device": "cpu", "evaluator": "replay"}
    if cell.layer is not None and probe.info.columns[cell.column].drawn:
        facts["seed"] = 1_000_003 * (cell.layer + 1) + cell.draw
    probe.write(cell, error_of(probe.info, cell, n), durable=False, **facts)


def error_of(info: ProbeInfo, cell: Cell, n: int) -> Estimate:
    """As in :mod:`fakes`, with critical layers at the start and the end of a deep network."""
    if cell.layer is None or len(info.layers) <= 4:
        return fakes.cell_estimate(info, cell, n=n)
    column, place = info.columns[cell.column], cell.layer / (len(info.layers) - 1)
    depth = 0.62 * math.exp(-7 * place) + 0.12 * math.exp(-((place - 0.45) ** 2) / 0.002) + 0.3 * (place == 1)
    if column.kind == RERANDOMISE:
        return fakes.estimate(round(0.9 - 0.3 * place + 0.015 * cell.draw, 4), n=n)
    return fakes.estimate(round(fakes.FINAL + depth * math.exp(-(column.checkpoint or 0) / 4), 4), n=n)


def fcn_run(store: Store, name: str = "fcn-weights", **changes) -> Run:
    """Trained, with its weights in the store."""
    tensors = fcn_tensors()
    groups = {one: (one,) for one in ("fc1", "fc2", "fc3", "output")}
    return trained_run(store, name, tensors, layers_of(tensors, groups), weights=True, **changes)


def resnet_run(store: Store, name: str = "resnet18-real", **changes) -> Run:
    """A network of real shapes, twenty-one layers; no weights in the store."""
    changes = {"model": "ResNet-18", "data": "CIFAR-10", "created": fakes.START + 5, **changes}
    tensors = resnet18_tensors()
    return trained_run(store, name, tensors, resnet18_layers(tensors), **changes)


def thin_run(store: Store, name: str = "resnet18-thin", **changes) -> Run:
    """A ResNet-18 of few channels, with its weights in the store."""
    changes = {"model": "ResNet-18 x 4", "data": "CIFAR-10", "created": fakes.START + 7, **changes}
    tensors = resnet18_tensors(4, 10)
    return trained_run(store, name, tensors, resnet18_layers(tensors), weights=True, **changes)


def tied_run(store: Store, name: str = "gpt-tied", **changes) -> Run:
    """A network with tied weights, and weights that no layer resets; half of it measured."""
    changes = {"model": "GPT 3 x 96", "data": "tinyshakespeare", "created": fakes.START + 6, "cells": "half", **changes}
    return trained_run(store, name, tied_tensors(), tied_layers(), **changes)
