"""Whether two outputs of a network are the same but for rounding."""

from typing import Any

import torch
from torch import Tensor

from .replay.structure import tensors_in

TELLING = 10.0
"""Times the tolerance: a check proves something if the outputs that must not be mixed up differ by so much."""

CHECKS = 4
"""Checks that prove nothing before a row that seems to have no effect is trusted all the same."""


def differ(expected: Any, got: Any, tolerance: float) -> str:
    """How `got` differs from `expected`; empty where it does not by more than `tolerance` times the largest number.

    The largest of those that differ at all: a class that is masked with -1e9 must not hide what the others are.
    """
    ours, theirs = tensors_in(expected), tensors_in(got)
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return "gives something of another shape"
    if not ours:
        return "gives no tensors that could be compared"
    for one, other in zip(map(_wide, ours), map(_wide, theirs), strict=True):
        if not one.isfinite().equal(other.isfinite()):
            return "differs from a full forward in which numbers are finite"
        unlike = one.isfinite() & (one != other)
        one, other = one[unlike], other[unlike]
        if one.numel():
            largest = torch.maximum(one.abs().max(), other.abs().max()).clamp_min(1e-30)
            difference = float((one - other).abs().max() / largest)
            if difference > tolerance:
                return f"differs from a full forward by {difference:.1e}, relative to the largest output"
    return ""


def finite(output: Any) -> bool:
    """Whether there are numbers in it that can be compared."""
    return any(bool(tensor.isfinite().any()) for tensor in tensors_in(output))


def _wide(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()).double() if tensor.is_complex() else tensor.double()
