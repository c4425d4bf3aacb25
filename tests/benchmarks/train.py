"""Training speed: lyrx's epoch against a plain hand-written PyTorch loop, on the same tensors, in one run.

    python tests/benchmarks/train.py [--data FOLDER] [--pairs 7]
    python tests/benchmarks/train.py --network resnet18 --examples 2000 [--precision bf16] [--channels-last]

Both train the same network with SGD and momentum, batch 128: the FCN 3 x 256 on MNIST (FOLDER holds MNIST/raw) or on
random images of its size, a convolutional network on random images of CIFAR's size, padded, cropped and flipped.
They take turns, plain first in even pairs and last in odd ones; the ratios of each pair are what counts, since machines
are noisy.  lyrx's time is given for the training alone, and with all it does after an epoch (test error, committing
metrics and resume state durably) against the plain loop with a test of its own.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lyrx.engine.building import build_model
from lyrx.engine.data.base import DataSet
from lyrx.engine.prepare import prepare
from lyrx.engine.spec import Spec
from lyrx.engine.specfile import make_spec
from lyrx.engine.state import describe
from lyrx.engine.team import Team
from lyrx.engine.train import Trainer
from lyrx.store import Store
from torch import Tensor, nn
from torch.nn import functional

BATCH = 128


class PlainLoop:
    """What one would write by hand: tensors on the device, a permutation an epoch, slices of it as batches."""

    def __init__(self, data: DataSet, model: nn.Module, options: argparse.Namespace, device: torch.device):
        mean, std = data.mean_std
        self.raw = torch.from_numpy(np.array(data.train_inputs)).to(device)
        self.ready = (self.raw.float() - mean) / std
        self.targets = torch.from_numpy(data.train_targets).to(device)
        self.test = (torch.from_numpy(np.array(data.test_inputs)).to(device).float() - mean) / std
        self.test_targets = torch.from_numpy(data.test_targets).to(device)
        self.augmented, self.mean, self.std, self.options = data.augment.random, mean, std, options
        self.model = model.to(device)
        if options.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        padded = functional.pad(self.raw, (4, 4, 4, 4)) if self.augmented else None
        order = torch.randperm(len(self.targets))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            if padded is None:
                yield self.ready[batch], self.targets[batch]
                continue
            inputs = torch.empty(len(batch), *self.raw.shape[1:])
            tops, lefts = torch.randint(9, (2, len(batch))).tolist()
            flips = torch.randint(2, (len(batch),)).tolist()
            for place, (index, top, left, flip) in enumerate(zip(batch.tolist(), tops, lefts, flips, strict=True)):
                image = padded[index, :, top : top + 32, left : left + 32]
                inputs[place] = image.flip(-1) if flip else image
            yield inputs.sub_(self.mean).div_(self.std), self.targets[batch]

    def epoch(self) -> None:
        self.model.train()
        for inputs, targets in self.batches():
            if self.options.channels_last and inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            bf16 = self.options.precision == "bf16"
            with torch.autocast(inputs.device.type, dtype=torch.bfloat16) if bf16 else nullcontext():
                loss = functional.cross_entropy(self.model(inputs), targets)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()

    @torch.inference_mode()
    def error(self) -> float:
        self.model.eval()
        pairs = zip(self.test.split(2 * BATCH), self.test_targets.split(2 * BATCH), strict=True)
        return sum(int((self.model(x).argmax(1) != y).sum()) for x, y in pairs) / len(self.test)


def random_images(shape: tuple[int, ...], train: int, test: int, data: DataSet) -> DataSet:
    """As `data`, but random images."""
    generator = np.random.default_rng(0)

    def half(count: int) -> tuple[np.ndarray, np.ndarray]:
        images = generator.integers(0, 256, size=(count, *shape), dtype=np.uint8)
        return images, generator.integers(0, 10, size=count)

    (train_inputs, train_targets), (test_inputs, test_targets) = half(train), half(test)
    return replace(
        data,
        train_inputs=train_inputs,
        train_targets=train_targets,
        test_inputs=test_inputs,
        test_targets=test_targets,
        classes=10,
    )


def timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def made(options: argparse.Namespace, folder: Path) -> tuple[Spec, Any, DataSet]:
    """The spec, its run prepared, and the data that both sides train on."""
    images = options.network != "fcn"
    data: dict[str, Any] = {"name": "mnist", "root": str(options.data)} if options.data else {"name": "digits"}
    if images:
        # Something of the right shape, whose pixels are then exchanged.
        tiny = np.zeros((4, 3, 32, 32), np.uint8), np.array([0, 1, 8, 9])
        np.savez(
            folder / "tiny.npz", train_inputs=tiny[0], train_targets=tiny[1], test_inputs=tiny[0], test_targets=tiny[1]
        )
        data = {"name": "arrays", "root": str(folder / "tiny.npz"), "augment": "crop-flip", "pad": 4}
    train = {
        "epochs": options.pairs + 1,
        "batch_size": BATCH,
        "checkpoints": [1],
        "lr": 0.01,
        "precision": options.precision,
        "channels_last": options.channels_last,
    }
    run = {"name": "benchmark", "device": "cpu"}
    spec = make_spec({"run": run, "model": {"name": options.network}, "data": data, "train": train})
    prepared = prepare(spec)
    if options.data:
        return spec, prepared, prepared.data
    shape, count = ((3, 32, 32), options.examples) if images else ((1, 28, 28), 60_000)
    found = random_images(shape, count, max(256, count // 6), prepared.data)
    # The run's tensors follow the data's shape.
    tensors = tuple(describe(build_model(spec.model, found.shape, 10, 0)))
    return spec, replace(prepared, data=found, run=replace(prepared.run, tensors=tensors)), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds MNIST/raw")
    parser.add_argument("--network", default="fcn", help="fcn, resnet18, vgg11, ...")
    parser.add_argument("--examples", type=int, default=2000, help="random images for a convolutional network")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        spec, prepared, data = made(options, Path(name))
        run = Store.open_or_create(Path(name) / "s.zarr").create_run(prepared.run, prepared.probe)
        team = Team("cpu")
        trainer = Trainer(run, spec, data, team, lambda event: None)
        plain = PlainLoop(data, build_model(spec.model, data.shape, data.classes, 0), options, team.device)
        rows: list[tuple[float, float, float, float]] = []
        with run.writing("benchmark"):
            for pair in range(options.pairs + 1):

                def lyrx(pair: int = pair) -> tuple[float, float]:
                    alone = timed(lambda: trainer._epoch(pair + 1))
                    after = timed(lambda: trainer._commit(trainer._metrics(pair + 1, 0.0, 0.1, time.perf_counter())))
                    return alone, after

                def hand() -> tuple[float, float]:
                    return timed(plain.epoch), timed(plain.error)

                if pair % 2:
                    ours, theirs = lyrx(), hand()
                else:
                    theirs, ours = hand(), lyrx()
                if pair:  # the first warms both up
                    rows.append((*theirs, *ours))
    count = len(data.train_targets)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{options.network}, {len(rows)} pairs of epochs, {count:,} examples, batch {BATCH}; medians")
    hand_epoch, hand_test, our_epoch, our_after = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"plain loop: epoch {hand_epoch:.3f} s ({count / hand_epoch:,.0f} images/s), test {hand_test:.3f} s")
    print(
        f"lyrx:       epoch {our_epoch:.3f} s ({count / our_epoch:,.0f} images/s), test and commits {our_after:.3f} s"
    )
    for title, ratios in (
        ("training alone", [ours / theirs for theirs, _, ours, _ in rows]),
        ("with test (lyrx: and commits)", [(c + d) / (a + b) for a, b, c, d in rows]),
    ):
        print(f"lyrx / plain, {title}: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
