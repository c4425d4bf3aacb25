"""Training speed: lyrx's epoch against a plain hand-written PyTorch loop, on the same tensors, in one run.

    python tests/benchmarks/train.py [--data FOLDER] [--pairs 7]

Both train the FCN 3 x 256 with SGD and momentum, batch 128.  With --data on MNIST (FOLDER holds MNIST/raw), else on
random images of its size.  They take turns, plain first in even pairs and last in odd ones; the ratios of each pair are
what counts, since machines are noisy.  lyrx's time is given for the training alone, and with all it does after an epoch
(test error, committing metrics and resume state durably) against the plain loop with a test of its own.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lyrx.engine.data.base import DataSet
from lyrx.engine.examples import held_out_examples, training_examples
from lyrx.engine.prepare import prepare
from lyrx.engine.specfile import make_spec
from lyrx.engine.team import Team
from lyrx.engine.train import Trainer
from lyrx.store import Store
from torch import nn
from torch.nn import functional

BATCH = 128


class PlainLoop:
    """What one would write by hand: tensors on the device, a permutation an epoch, slices of it as batches."""

    def __init__(self, data: DataSet, device: torch.device):
        self.train = training_examples(data, device)
        self.test = held_out_examples(data, device)
        self.inputs, self.targets = self.train.between(0, len(self.train))
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in ((784, 256), (256, 256), (256, 256)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, nn.Linear(256, 10)).to(device)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def epoch(self) -> None:
        self.model.train()
        order = torch.randperm(len(self.targets))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            loss = functional.cross_entropy(self.model(self.inputs[batch]), self.targets[batch])
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()

    @torch.inference_mode()
    def error(self) -> float:
        self.model.eval()
        wrong = sum(int((self.model(x).argmax(1) != y).sum()) for x, y in self.test.batches(1000))
        return wrong / len(self.test)


def random_images() -> DataSet:
    generator = np.random.default_rng(0)

    def images(n: int) -> np.ndarray:
        return generator.integers(0, 256, size=(n, 1, 28, 28), dtype=np.uint8)

    def labels(n: int) -> np.ndarray:
        return generator.integers(0, 10, size=n)

    return DataSet(images(60_000), labels(60_000), images(10_000), labels(10_000), 10)


def timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds MNIST/raw")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    values = {
        "run": {"name": "benchmark", "device": "cpu"},
        "model": {"name": "fcn"},
        "data": {"name": "mnist", "root": str(options.data)} if options.data else {"name": "digits"},
        "train": {"epochs": options.pairs + 1, "batch_size": BATCH, "checkpoints": [1]},
    }
    spec = make_spec(values)
    prepared = prepare(spec)
    data = prepared.data if options.data else random_images()
    with tempfile.TemporaryDirectory() as folder:
        if not options.data:
            # The run's tensors follow the data's shape.
            from dataclasses import replace

            from lyrx.engine.building import build_model
            from lyrx.engine.state import describe

            tensors = tuple(describe(build_model(spec.model, data.shape, 10, 0)))
            prepared = replace(prepared, data=data, run=replace(prepared.run, tensors=tensors))
        run = Store.open_or_create(Path(folder) / "s.zarr").create_run(prepared.run, prepared.probe)
        team = Team("cpu")
        trainer = Trainer(run, spec, data, team, lambda event: None)
        plain = PlainLoop(data, team.device)
        rows: list[tuple[float, float, float, float]] = []
        with run.writing("benchmark"):
            for pair in range(options.pairs + 1):

                def lyrx(pair: int = pair) -> tuple[float, float]:
                    alone = timed(lambda: trainer._epoch(pair + 1, 0.1))
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
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{len(rows)} pairs of epochs, 60,000 examples, batch {BATCH}; medians")
    hand_epoch, hand_test, our_epoch, our_after = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"plain loop: epoch {hand_epoch:.3f} s, test {hand_test:.3f} s")
    print(f"lyrx:       epoch {our_epoch:.3f} s, test and commits {our_after:.3f} s")
    for title, ratios in (
        ("training alone", [ours / theirs for theirs, _, ours, _ in rows]),
        ("with test (lyrx: and commits)", [(c + d) / (a + b) for a, b, c, d in rows]),
    ):
        print(f"lyrx / plain, {title}: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
