"""Values of cells, kept on the device while there is room for them."""

from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from .memory import budget_of
from .replay.swap import Swap

KEPT = 0.5
"""Of the memory budget: what the values of all cells may take. The rest of them is read anew for every batch."""


class Residents:
    """Fitted values by cell. What does not fit is made anew whenever it is needed."""

    def __init__(self, swap: Swap, device: torch.device, budget: int | None):
        self._swap = swap
        self._left = int(KEPT * budget_of(budget, device))
        self._kept: dict[Hashable, Mapping[str, Tensor]] = {}

    def get(self, key: Hashable, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The values of `key`, as the network takes them."""
        if key in self._kept:
            return self._kept[key]
        fitted = {name: self._swap.fitted(name, value) for name, value in make().items()}
        size = sum(value.nbytes for value in fitted.values())
        if size <= self._left:
            self._left -= size
            self._kept[key] = fitted
        return fitted

    def drop(self, key: Hashable) -> None:
        """Make room: the cell is finished."""
        values = self._kept.pop(key, None)
        if values is not None:
            self._left += sum(value.nbytes for value in values.values())
