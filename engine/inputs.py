"""Data that a caller hands over: tensors, a loader, batches of dicts; gathered, and visited in any order."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .memory import SHARE, free_memory
from .replay.replayer import Arguments
from .replay.structure import OpaqueError, take_apart


class Inputs:
    """Examples: what the network is called with, and the targets, every tensor's first axis being the examples.

    They live on `device` if they fit there well, else on the host, from where batches are copied.
    """

    def __init__(self, tensors: list[Tensor], build: Callable[[Any], Any], device: torch.device):
        lengths = {len(tensor) for tensor in tensors if tensor.dim()}
        if len(lengths) != 1 or not all(tensor.dim() for tensor in tensors) or 0 in lengths:
            raise DataError(
                f"inputs and targets must be for the same examples, at least one: their first axes are "
                f"{sorted(lengths) or 'missing'}."
            )
        self._length, self._build, self._device = lengths.pop(), build, device
        size = sum(tensor.nbytes for tensor in tensors)
        self._resident = device.type == "cpu" or size <= SHARE / 2 * free_memory(device)
        home = device if self._resident else torch.device("cpu")
        self._tensors = [tensor.to(home) for tensor in tensors]

    def __len__(self) -> int:
        return self._length

    @property
    def targets(self) -> Any:
        """All of them, where they are."""
        return self._build(self._tensors)[1]

    def ordered(self, order: np.ndarray) -> "Inputs":
        """The same examples in another order."""
        places = torch.from_numpy(order)
        if not self._resident:
            return _Indexed(self, places)
        return Inputs([tensor[places.to(tensor.device)] for tensor in self._tensors], self._build, self._device)

    def between(self, start: int, stop: int) -> tuple[Arguments, Any]:
        """The examples `start` to `stop` on the device."""
        return self._made([tensor[start:stop] for tensor in self._tensors])

    def take(self, places: Tensor) -> Arguments:
        """What the network is called with for the examples at `places`, int64[k]."""
        return self._made([tensor[places.to(tensor.device)] for tensor in self._tensors])[0]

    def _made(self, tensors: list[Tensor]) -> tuple[Arguments, Any]:
        if not self._resident and self._device.type == "cuda":  # from such memory a copy does not hold the host up
            tensors = [tensor.pin_memory() for tensor in tensors]
        moved = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
        (args, kwargs), targets = self._build(moved)
        return Arguments(args, kwargs), targets


class _Indexed(Inputs):
    """Examples of others at places of their own: what does not fit on the device is not copied on the host either."""

    def __init__(self, inputs: Inputs, places: Tensor):
        self.__dict__.update(inputs.__dict__)
        self._places = places

    def between(self, start: int, stop: int) -> tuple[Arguments, Any]:
        return self._made([tensor[self._places[start:stop]] for tensor in self._tensors])


def gather(data: Any, device: torch.device, targets: str = "labels") -> Inputs:
    """Examples from `data`: (inputs, targets), or an iterable (a DataLoader, say) of such pairs or of dicts.

    Inputs are a tensor, a tuple of tensors (positional arguments) or a dict of tensors (keyword arguments).  In a batch
    that is one dict, the entry `targets` holds the targets and the others are keyword arguments.  Raises DataError.
    """
    if isinstance(data, Mapping) or _is_pair(data):
        batches = [data]
    elif isinstance(data, Iterable) and not isinstance(data, (Tensor, str, bytes)):
        batches = data
    else:
        raise DataError(f"data is a {type(data).__name__}; give (inputs, targets), a DataLoader, or a list of batches.")
    columns: list[list[Tensor]] = []
    build: Callable[[Any], Any] | None = None
    first: Any = None
    for number, batch in enumerate(batches):
        called = _called(batch, targets, number)
        try:
            tensors, build = take_apart(called)
        except OpaqueError as error:
            raise DataError(f"batch {number} of data holds {error}; tensors are needed.") from None
        if _lists_values(called[1]):
            raise DataError(f"batch {number} of data has a list of values as targets; a tensor is needed.")
        # What is no tensor is the same for every example.
        others = build([0] * len(tensors))  # type: ignore[list-item]
        if columns and len(columns) == len(tensors) and others != first:
            raise DataError(
                f"batch {number} of data holds other values beside its tensors than the first one; what belongs to "
                "examples must be a tensor."
            )
        first = others
        if columns and len(columns) != len(tensors):
            raise DataError(f"batch {number} of data holds {len(tensors)} tensors, the first one {len(columns)}.")
        columns = columns or [[] for _ in tensors]
        for column, tensor in zip(columns, tensors, strict=True):
            column.append(tensor.detach())
    if build is None:
        raise DataError("data holds no batches.")
    return Inputs([_joined(column) for column in columns], build, device)


def _joined(parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    if len({tuple(part.shape[1:]) for part in parts}) > 1:
        shapes = sorted({str(list(part.shape[1:])) for part in parts})
        raise DataError(
            f"examples have different shapes in different batches ({', '.join(shapes[:4])}). Pad them to one: an "
            "estimate from a part of the data needs examples that can be drawn one by one."
        )
    return torch.cat(parts)


def _lists_values(value: Any) -> bool:
    """Whether there are numbers or texts in a list: which example each belongs to is lost when these are reordered."""
    if isinstance(value, Mapping):
        return any(map(_lists_values, value.values()))
    if not isinstance(value, (tuple, list)):
        return False
    return any(isinstance(one, (bool, int, float, str, bytes)) or _lists_values(one) for one in value)


def _is_pair(data: Any) -> bool:
    return isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[1], Tensor)


def _called(batch: Any, targets: str, number: int) -> tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]:
    """((positional, keyword arguments), targets) of a batch."""
    if isinstance(batch, Mapping):
        if targets not in batch:
            raise DataError(
                f"batch {number} of data has no '{targets}'; it has {', '.join(map(str, batch))}. "
                "Say with targets=... which entry holds the targets."
            )
        return ((), {str(key): value for key, value in batch.items() if key != targets}), batch[targets]
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"batch {number} of data is no pair (inputs, targets) and no dict of tensors, but a "
            f"{type(batch).__name__}. "
            "If data is one pair, its targets must be a tensor (torch.as_tensor makes one of an array or a list)."
        )
    inputs, wanted = batch
    if isinstance(inputs, Mapping):
        return ((), {str(key): value for key, value in inputs.items()}), wanted
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}), wanted
