"""What an intervention makes of one tensor: pure functions, on the CPU, the same on every machine.

Random numbers come from a CPU generator, so that a seed gives the same values whatever the network is measured on.
"""

import math

import torch
from torch import Tensor


def has_fractions(tensor: Tensor) -> bool:
    """Whether a tensor holds real or complex numbers, and not counts, indices or truth values."""
    return tensor.is_floating_point() or tensor.is_complex()


def noisy(trained: Tensor, scale: float, seed: int) -> Tensor:
    """`trained` plus Gaussian noise, whose standard deviation is `scale` times the tensor's root mean square.

    Computed in float32 at least, then rounded to the tensor's type.  The seed alone gives the noise's direction:
    another scale goes further the same way.  A tensor of whole numbers stays as it is.
    """
    if not has_fractions(trained) or not trained.numel():
        return trained.clone()
    wide = trained.float() if trained.element_size() < 4 else trained
    size = torch.linalg.vector_norm(wide, dtype=_double(wide)).item() / math.sqrt(trained.numel())
    noise = torch.randn(wide.shape, dtype=wide.dtype, generator=torch.Generator().manual_seed(seed))
    return noise.mul_(scale * size).add_(wide).to(trained.dtype)


def shuffled(trained: Tensor, seed: int) -> Tensor:
    """The elements of `trained` in a random order, in the same shape."""
    order = torch.randperm(trained.numel(), generator=torch.Generator().manual_seed(seed))
    # Moved as bits: not every type of eight bits can be indexed.
    bits = trained.contiguous().reshape(-1, 1).view(torch.uint8)
    return bits[order].contiguous().view(trained.dtype).reshape(trained.shape)


def between(start: Tensor, trained: Tensor, alpha: float) -> Tensor:
    """(1 - alpha) * start + alpha * trained, computed in float64 and then rounded to the tensors' type.

    0 and 1 give the ends bit for bit.  Tensors of whole numbers are `trained`'s on the way: there is nothing between.
    """
    if alpha == 0:
        return start.clone()
    if alpha == 1 or not has_fractions(trained):
        return trained.clone()
    double = _double(trained)
    # Nothing in place: what has that type already is not copied, and belongs to others.
    return (start.to(double) * (1 - alpha) + trained.to(double) * alpha).to(trained.dtype)


def _double(tensor: Tensor) -> torch.dtype:
    return torch.complex128 if tensor.is_complex() else torch.float64
