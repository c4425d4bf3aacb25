"""Examples that live on the device as tensors, and are batched there."""

from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor

from .data.base import DataSet
from .replay.replayer import Arguments
from .seeds import derive

RESIDENT_FLOAT_BYTES = 2**30
"""Up to this size inputs are normalised once and kept as float32; above it they stay as they are read."""


class Examples:
    """Inputs normalised by a global mean and standard deviation, and class labels, on one device."""

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        mean: float,
        std: float,
        device: torch.device,
        *,
        tokens: bool = False,
    ):
        self.targets = torch.from_numpy(np.array(targets, dtype=np.int64)).to(device)
        self._mean, self._std, self._tokens = mean, std, tokens
        # A copy: what was read may be a read-only view of a file.
        raw = torch.from_numpy(np.array(inputs)).to(device)
        self._ready = inputs.size * 4 <= RESIDENT_FLOAT_BYTES
        self._inputs = self._normalised(raw) if self._ready else raw

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, chosen: np.ndarray) -> "Examples":
        """Those at the indices `chosen`."""
        part = copy(self)
        indices = torch.from_numpy(chosen).to(self.targets.device)
        part._inputs, part.targets = self._inputs[indices], self.targets[indices]
        return part

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """float32[k, *shape] and int64[k] at `indices` (int64[k], on the device)."""
        inputs = self._inputs.index_select(0, indices)
        return inputs if self._ready else self._normalised(inputs), self.targets.index_select(0, indices)

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The examples `start` to `stop`, a copy: a network may work in place on what it is given."""
        inputs = self._inputs[start:stop]
        return inputs.clone() if self._ready else self._normalised(inputs), self.targets[start:stop]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.between(start, start + size)

    def _normalised(self, inputs: Tensor) -> Tensor:
        if self._tokens:
            return inputs.long()
        return inputs.to(torch.float32).sub_(self._mean).div_(self._std)


def training_examples(data: DataSet, device: torch.device) -> Examples:
    """The training examples, normalised by the mean and standard deviation of all training pixels."""
    return Examples(data.train_inputs, data.train_targets, *data.mean_std, device, tokens=data.task == "language")


def held_out_examples(data: DataSet, device: torch.device) -> Examples:
    """The test examples, normalised as the training ones are."""
    return Examples(data.test_inputs, data.test_targets, *data.mean_std, device, tokens=data.task == "language")


def example_of(data: DataSet) -> Tensor:
    """The first two training examples as a network gets them, on the CPU."""
    few = Examples(
        data.train_inputs[:2],
        data.train_targets[:2],
        *data.mean_std,
        torch.device("cpu"),
        tokens=data.task == "language",
    )
    return few.between(0, 2)[0]


class Ordered:
    """Held-out examples in the order in which cells see them."""

    def __init__(self, examples: Examples, order: np.ndarray):
        self._examples = examples.only(order)

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def targets(self) -> Tensor:
        return self._examples.targets

    def between(self, start: int, stop: int) -> tuple[Arguments, Tensor]:
        inputs, targets = self._examples.between(start, stop)
        return Arguments((inputs,)), targets


class First:
    """The first examples of others."""

    def __init__(self, batches: Ordered, count: int):
        self.between, self._count = batches.between, count

    def __len__(self) -> int:
        return self._count


def order_of(total: int, seed: int) -> np.ndarray:
    """The order in which `total` examples are visited: a permutation that the run's seed determines."""
    generator = torch.Generator().manual_seed(derive(seed, "examples"))
    return torch.randperm(total, generator=generator).numpy()
