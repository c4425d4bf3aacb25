"""Other values for a network's tensors, without copying them into its weights.

The network's own memory is never written: each parameter and buffer is pointed at other memory and back again, so what
was trained comes back bit for bit, whatever happens in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Swap:
    """The tensors of a network by each of their names."""

    def __init__(self, model: nn.Module):
        self._tensors: dict[str, Tensor] = {
            name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if isinstance(tensor, Tensor)
        }
        shared: dict[tuple[object, ...], list[str]] = {}
        for name, tensor in self._tensors.items():
            key = (tensor.data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
            shared.setdefault(key if tensor.numel() else (name,), []).append(name)
        # Tied weights: other objects on the same memory, which must follow.
        self._tied = {name: tuple(names) for names in shared.values() for name in names}

    def storages(self, names: Iterable[str]) -> set[int]:
        """The memory of these tensors, as a trace knows it."""
        return {self._tensors[name].untyped_storage()._cdata for name in names}

    def fitted(self, name: str, value: Tensor) -> Tensor:
        """`value` on the device, of the type and in the memory order of the tensor called `name`."""
        own = self._tensors[name]
        return torch.empty_like(own, requires_grad=False).copy_(value)

    @contextmanager
    def swapped(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the network computes with `values`, as :meth:`fitted` made them."""
        names = dict.fromkeys(tied for name in values for tied in self._tied[name])
        before = {name: self._tensors[name].data for name in names}
        try:
            for name, value in values.items():
                for tied in self._tied[name]:
                    self._tensors[tied].data = value
            yield
        finally:
            for name, own in before.items():
                self._tensors[name].data = own
