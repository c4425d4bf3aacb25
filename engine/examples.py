"""Examples for training and probing, batch by batch on the device, wherever they are kept.

What fits is kept on the device, or on the host where the device is too small; images in files that fit nowhere are
decoded again whenever they are needed (:mod:`.streaming`).  A batch is the same, bit for bit, whichever it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .augment import draw, plain, varied
from .data.base import Augment, DataSet
from .data.files import ImageFiles
from .decoding import SHARE, fits, read
from .errors import DataError
from .memory import free_memory
from .replay.replayer import Arguments
from .seeds import derive

RESIDENT_FLOAT_BYTES = 2**30
"""Up to this size inputs are normalised once and kept as float32; above it they stay as they are read."""


class TrainingExamples(Protocol):
    """What training needs of the training examples."""

    def __len__(self) -> int: ...

    def epoch(self, parts: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each part (int64[k], examples of one batch) its inputs and targets on the device, in order.

        Inputs are normalised float32[k, *shape], augmented with what `seed` says for each example of this epoch
        (language: int64[k, length] as they are), targets int64.
        """
        ...


class Normal:
    """From what is stored to what a network is given: `(x - mean) / std` in float32; tokens stay whole numbers."""

    def __init__(self, data: DataSet):
        self.tokens = data.task == "language"
        self.mean, self.std = data.mean_std

    def __call__(self, inputs: Tensor) -> Tensor:
        """A new tensor, never `inputs` itself: a network may work in place on what it is given."""
        if self.tokens:
            return inputs.to(torch.int64, copy=True)
        return inputs.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)


class Examples(ABC):
    """Inputs and targets of one half of a data set."""

    note = ""
    """What a user should know of how they are kept; '' when they are in memory."""

    def __init__(self, targets: Tensor, normal: Normal, device: torch.device):
        self.targets, self._normal, self._device = targets, normal, device

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def only(self, chosen: np.ndarray) -> "Examples":
        """Those at the indices `chosen`, in that order."""

    @abstractmethod
    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """float32[k, *shape] and int64[k] at `indices` (int64[k]), not augmented."""

    @abstractmethod
    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The examples `start` to `stop`, not augmented; a copy: a network may work in place on what it is given."""

    @abstractmethod
    def epoch(self, parts: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`TrainingExamples`."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.between(start, min(start + size, len(self)))

    def _wanted(self, places: Tensor | slice) -> Tensor:
        """Targets as a loss wants them."""
        return self.targets[places].to(torch.int64)


class Resident(Examples):
    """Examples in memory: on the device, or on the host, from where batches are copied."""

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        normal: Normal,
        device: torch.device,
        augment: Augment | None = None,
        *,
        on_host: bool = False,
    ):
        """`augment`: of training examples; None where they are never varied. `on_host`: the device has no room."""
        super().__init__(torch.from_numpy(_writable(targets)).to(device), normal, device)
        self._augment = augment or Augment()
        self._places: Tensor | None = None
        self._home = torch.device("cpu") if on_host else device
        raw = torch.from_numpy(_writable(inputs))
        if not self._augment.random:
            raw, self._augment = plain(raw, self._augment), Augment()
        raw = raw.to(self._home)
        small = raw.numel() * 4 <= RESIDENT_FLOAT_BYTES
        self._ready = small and not (self._augment.random or normal.tokens or on_host)
        if on_host and device.type == "cuda":
            raw = raw.pin_memory()
        self._inputs = normal(raw) if self._ready else raw

    def only(self, chosen: np.ndarray) -> "Resident":
        part = copy(self)
        indices = torch.from_numpy(chosen)
        part.targets = self.targets[indices.to(self.targets.device)]
        indices = indices.to(self._home)
        if self._ready:
            part._inputs = self._inputs[indices]
        else:  # too much to have twice
            part._places = indices if self._places is None else self._places[indices]
        return part

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self._at(indices.to(self._home))
        return self._given(plain(inputs, self._augment)), self._wanted(indices.to(self.targets.device))

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        inputs = self._inputs[start:stop] if self._places is None else self._inputs[self._places[start:stop]]
        inputs = inputs.clone() if self._ready else self._given(plain(inputs, self._augment))
        return inputs, self._wanted(slice(start, stop))

    def epoch(self, parts: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not parts:
            return
        sizes = [len(part) for part in parts]
        order = torch.cat(list(parts))
        drawn: Sequence[Tensor | None] = [None] * len(sizes)
        if self._augment.random:
            table = draw(self._augment, len(self), seed, tuple(self._inputs.shape[1:]))
            drawn = table[order.cpu()].to(self._home).split(sizes)
        # All that steps need is there before the first one: none of them waits for the host.
        here, there = order.to(self._home).split(sizes), order.to(self.targets.device).split(sizes)
        for indices, places, how in zip(here, there, drawn, strict=True):
            inputs = self._at(indices)
            if how is not None:
                inputs = varied(inputs, how, self._augment)
            yield self._given(inputs), self._wanted(places)

    def _at(self, indices: Tensor) -> Tensor:
        """As they are stored."""
        places = indices if self._places is None else self._places.index_select(0, indices)
        return self._inputs.index_select(0, places)

    def _given(self, inputs: Tensor) -> Tensor:
        """As the network gets them, from what is stored of them."""
        if inputs.device.type != self._device.type:
            inputs = inputs.pin_memory().to(self._device, non_blocking=True)
        return inputs if self._ready else self._normal(inputs)


def training_examples(data: DataSet, device: torch.device, only: np.ndarray | None = None) -> Examples:
    """The training examples, normalised by the mean and standard deviation of all training pixels.

    `only`: those at these indices, int64[k]; others are not even decoded.  They are looked at again and again (once for
    every cell), so that they are kept in memory if they fit at all, whatever data.memory says.  Raises DataError.
    """
    if not len(data.train_inputs):
        raise DataError("these data have no training half (data.train is ''): nothing can be trained on them.")
    inputs, targets = data.train_inputs, data.train_targets
    if only is not None:
        inputs = inputs.only(only) if isinstance(inputs, ImageFiles) else inputs[only]
        targets = targets[only]
        data = replace(data, norms=data.mean_std, keeping=replace(data.keeping, memory=None))
    found = _examples(data, "training", inputs, targets, data.augment, device)
    if isinstance(inputs, ImageFiles) and device.type != "cpu":
        inputs.array = None  # it is on the device now, and large
    return found


def held_out_examples(data: DataSet, device: torch.device) -> Examples:
    """The test examples, normalised as the training ones are. Raises DataError."""
    middle = Augment(size=data.augment.size)
    return _examples(data, "test", data.test_inputs, data.test_targets, middle, device)


def first_inputs(data: DataSet, count: int) -> Tensor:
    """What a network is given for the first `count` examples, again and again if there are fewer, on the CPU.

    Raises DataError.
    """
    inputs = data.train_inputs if len(data.train_inputs) else data.test_inputs
    found = inputs[:count]
    found = found if len(found) == count else np.resize(found, (count, *found.shape[1:]))
    return Normal(data)(plain(torch.from_numpy(_writable(found)), data.augment))


def _examples(
    data: DataSet,
    which: str,
    inputs: np.ndarray | ImageFiles,
    targets: np.ndarray,
    augment: Augment,
    device: torch.device,
) -> Examples:
    normal = Normal(data)
    if isinstance(inputs, ImageFiles):
        if not fits(inputs, data.keeping):
            from .streaming import Streamed

            return Streamed(inputs, targets, normal, device, augment, data.keeping, which)
        inputs = read(inputs, data.keeping)
    on_host = device.type != "cpu" and inputs.nbytes > SHARE * free_memory(device)
    return Resident(inputs, targets, normal, device, augment, on_host=on_host)


def _writable(array: np.ndarray) -> np.ndarray:
    """What torch takes without a warning: what was read may be a read-only view of a file."""
    return array if array.flags.writeable else np.array(array)


class Ordered:
    """Held-out examples in the order in which cells see them."""

    def __init__(self, examples: Examples, order: np.ndarray):
        self._examples = examples.only(order)

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def targets(self) -> Tensor:
        return self._examples.targets

    @property
    def note(self) -> str:
        """See :class:`Examples`."""
        return self._examples.note

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
