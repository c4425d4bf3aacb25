"""How much memory a computation takes at its fullest."""

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from .replay.structure import tensors_in


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors that `work` makes, at its fullest moment; what lives already does not count.

    On a GPU by the allocator's statistics, elsewhere by looking at every operation: what an operation needs within
    itself is not seen there.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    with _Storages() as seen:
        work()
    return seen.peak


class _Storages(TorchDispatchMode):
    """Adds up the storages that operations make, as long as each lives."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._given: dict[int, StorageWeakRef] = {}  # what was there before; an address with a reference stays its own
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for reference, _ in self._storages((args, kwargs)):
            if reference.cdata not in self._alive:
                self._given.setdefault(reference.cdata, reference)
        output = func(*args, **(kwargs or {}))
        for reference, size in self._storages(output):
            if reference.cdata not in self._given:
                self._alive.setdefault(reference.cdata, (reference, size))
        self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return output

    @staticmethod
    def _storages(value: Any) -> list[tuple[StorageWeakRef, int]]:
        found = []
        for tensor in tensors_in(value):
            try:
                storage = tensor.untyped_storage()
            except (NotImplementedError, RuntimeError):
                continue  # sparse or nested: without plain memory
            found.append((StorageWeakRef(storage), storage.nbytes()))
        return found
