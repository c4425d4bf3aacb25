"""Other values for a network's tensors, without copying them into its weights.

The network's own memory is never written: each parameter and buffer is pointed at other memory and back again, so what
was trained comes back bit for bit, whatever happens in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..state import surely

_Place = tuple[object, ...]


class Swap:
    """The tensors of a network by each of their names."""

    def __init__(self, model: nn.Module):
        self._tensors: dict[str, Tensor] = {
            name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if isinstance(tensor, Tensor)
        }
        shared: dict[_Place, list[str]] = {}
        for name, tensor in self._tensors.items():
            shared.setdefault(_place(tensor) if tensor.numel() else (name,), []).append(name)
        # Tied weights: other objects on the same memory, which must follow.
        self._tied = {name: tuple(names) for names in shared.values() for name in names}
        self._entangled = self._overlapping([names[0] for names in shared.values()])

    def _overlapping(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """By name, all tensors that lie in one memory, if some of these overlap (as weights tied by a transpose do)."""
        together: dict[int, list[str]] = {}
        for name in names:
            if self._tensors[name].numel():
                together.setdefault(self._tensors[name].untyped_storage()._cdata, []).append(name)
        found: dict[str, tuple[str, ...]] = {}
        for group in together.values():
            spans = sorted(_span(self._tensors[name]) for name in group)
            if any(start < stop for (_, stop), (start, _) in pairwise(spans)):
                every = tuple(tied for name in group for tied in self._tied[name])
                found.update((name, every) for name in every)
        return found

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
        placed = {tied: value for name, value in values.items() for tied in self._tied[name]}
        if self._entangled and not self._entangled.keys().isdisjoint(placed):
            placed = self._in_one_memory(placed)
        before = {name: self._tensors[name].data for name in placed}
        try:
            self._point(placed)
            yield
        finally:
            surely(lambda: self._point(before))

    def _point(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._tensors[name].data = value

    def _in_one_memory(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `values`, but tensors that overlap are parts of one copy: a value for one is seen in the others."""
        placed = dict(values)
        copies: dict[int, Tensor] = {}
        for name in values:
            for other in self._entangled.get(name, ()):
                own = self._tensors[other].detach()
                key = own.untyped_storage()._cdata
                if key not in copies:
                    whole = own.new_empty(0).set_(own.untyped_storage())  # type: ignore[call-overload]
                    copies[key] = whole.clone()
                placed[other] = copies[key].as_strided(own.shape, own.stride(), own.storage_offset())
        for name, value in values.items():  # in the order in which they would be copied into the weights
            if name in self._entangled:
                placed[name].copy_(value)
        return placed


def _place(tensor: Tensor) -> _Place:
    return (tensor.data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def _span(tensor: Tensor) -> tuple[int, int]:
    """The addresses that a tensor's elements lie between."""
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
