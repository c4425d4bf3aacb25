"""A convolution and the norm that follows it, as one convolution.

In evaluation mode a BatchNorm multiplies each channel by a number and adds another: both can be taken into the weights
of the convolution before it, which saves a pass over its output (Jacob et al., CVPR 2018, section 3.2).  The weights
are multiplied anew from the network's own, so that other values in their place have the effect that they should have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .trace import Trace

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Forward = Callable[..., Any]
_Place = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass
class _Pair:
    convolution: Any
    norm: Any
    known: tuple[tuple[int, ...], Tensor, Tensor] | None = None
    """Addresses of what was multiplied, and what came out, while these are the network's own values."""

    def sources(self) -> list[Tensor]:
        convolution, norm = self.convolution, self.norm
        found = [convolution.weight, convolution.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [tensor for tensor in found if tensor is not None]

    def weights(self) -> tuple[Tensor, Tensor]:
        """Weights and bias of the one convolution."""
        convolution, norm = self.convolution, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
        bias = shift * scale if norm.bias is None else shift * scale + norm.bias
        weight = convolution.weight * scale.reshape(-1, *[1] * (convolution.weight.dim() - 1))
        return weight, bias


class Fusion:
    """The pairs of a network, as forwards of their modules."""

    def __init__(self, trace: Trace):
        """`trace` is of the network as it is: a norm is taken in where nothing else looks at what it is given."""
        self.forwards: dict[nn.Module, Forward] = {}
        self.keeping = False
        """Whether products may be kept. Not while a forward is followed: its use of the weights must be seen."""
        self._pairs = list(_pairs(trace))
        self._norm_of = {pair.convolution: pair.norm for pair in self._pairs}
        self._open: dict[nn.Module, _Place] = {}  # norms that are to be called next, with what they are to be given
        self._broken = False
        for pair in self._pairs:
            self.forwards[pair.convolution] = self._convolution(pair)
            self.forwards[pair.norm] = self._norm(pair)

    def __len__(self) -> int:
        return len(self._pairs)

    def begin(self) -> None:
        """A forward begins."""
        self._open.clear()
        self._broken = False

    @property
    def broken(self) -> bool:
        """Whether, in this forward, a norm was called on its own."""
        return self._broken

    @property
    def complete(self) -> bool:
        """Whether every norm was called whose convolution was, and the other way round: a branch may leave one out."""
        return not self._open and not self._broken

    def skipped(self, module: nn.Module, returned: Sequence[Tensor]) -> None:
        """A call of `module` was not carried out."""
        if module in self._norm_of:
            self._open[self._norm_of[module]] = _place(returned[0])
        else:
            self._open.pop(module, None)

    def forget(self, module: nn.Module) -> None:
        """A call of `module` is going to be made again, with what it was given or a part of it."""
        if module in self._norm_of:
            self._open.pop(self._norm_of[module], None)

    def _convolution(self, pair: _Pair) -> Forward:
        def forward(inputs: Tensor) -> Tensor:
            self._broken |= pair.norm in self._open
            output = pair.convolution._conv_forward(inputs, *self._weights(pair))
            self._open[pair.norm] = _place(output)
            return output

        return forward

    def _norm(self, pair: _Pair) -> Forward:
        def forward(inputs: Tensor) -> Tensor:
            # Kept as well as raised: a network may catch it.
            if self._open.pop(pair.norm, None) != _place(inputs):
                self._broken = True
                raise RuntimeError("a norm was called with something else than its convolution returned")
            return inputs

        return forward

    def _weights(self, pair: _Pair) -> tuple[Tensor, Tensor]:
        if not self.keeping:
            return pair.weights()
        place = tuple(_address(tensor) for tensor in pair.sources())
        if pair.known is None or pair.known[0] != place:
            weight, bias = pair.weights()
            if pair.known is not None:
                return weight, bias  # somebody else's values, for one forward
            pair.known = (place, weight, bias)
        return pair.known[1], pair.known[2]

    def keep(self) -> None:
        """Multiply the network's own weights, once. Call it while they are in place."""
        self.keeping = True
        for pair in self._pairs:
            pair.known = None
            self._weights(pair)


def _place(tensor: Tensor) -> _Place:
    return _address(tensor), tuple(tensor.shape), tensor.stride()


def _address(tensor: Tensor) -> int:
    """As data_ptr(), which tells that somebody is going to read it."""
    return tensor.untyped_storage().data_ptr() + int(tensor.storage_offset()) * tensor.element_size()


def _pairs(trace: Trace) -> "list[_Pair]":
    calls: dict[nn.Module, list[int]] = {}
    for call in trace.calls:
        calls.setdefault(call.module, []).append(call.index)
    found = []
    for call in trace.calls:
        norm = call.module
        if not _plain(norm, _NORMS) or norm.running_mean is None or len(calls[norm]) > 1:  # type: ignore[union-attr]
            continue
        before = trace.calls[call.index - 1] if call.index else None
        if before is None or not _plain(before.module, _CONVOLUTIONS) or len(calls[before.module]) > 1:
            continue
        if before.parent != call.parent or len(before.storages) != 1:
            continue
        memory = trace.memory[before.storages[0]]
        alone = all(index == call.index for _, index in memory.reads)
        made = all(index == before.index for _, index in memory.writes)
        after = next((one.enter for one in trace.calls[call.index + 1 :]), trace.end)
        if memory.reads and alone and made and memory.died <= after:
            found.append(_Pair(before.module, norm))
    return found


def _plain(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Of exactly one of these classes, and with nothing hung on it."""
    if type(module) not in kinds or module.training:
        return False
    weight = getattr(module, "weight", None)
    if weight is not None and weight.dtype not in (torch.float32, torch.float64):
        return False
    hung = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return not any(hung)
