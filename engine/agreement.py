"""Whether two outputs of a network are the same but for rounding."""

from typing import Any

from .replay.structure import tensors_in

TELLING = 10.0
"""Times the tolerance: a check proves something if the outputs that must not be mixed up differ by so much."""

CHECKS = 4
"""Checks that prove nothing before a row that seems to have no effect is trusted all the same."""


def differ(expected: Any, got: Any, tolerance: float) -> str:
    """How `got` differs from `expected`; empty where it does not by more than `tolerance` times the largest number."""
    ours, theirs = tensors_in(expected), tensors_in(got)
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return "gives something of another shape"
    for one, other in zip(ours, theirs, strict=True):
        one, other = one.double(), other.double()
        if not one.isfinite().equal(other.isfinite()):
            return "differs from a full forward in which numbers are finite"
        finite = one.isfinite()
        one, other = one[finite], other[finite]
        if one.numel():
            difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
            if difference > tolerance:
                return f"differs from a full forward by {difference:.1e}, relative to the largest output"
    return ""


def finite(output: Any) -> bool:
    """Whether there are numbers in it that can be compared."""
    return any(bool(tensor.isfinite().any()) for tensor in tensors_in(output))
