"""How many weights there are, and in what shares: tied ones once, buffers not at all."""

import math
from collections.abc import Sequence

from ...store import TensorInfo
from .picture import Picture


def elements(tensor: TensorInfo) -> int:
    """How many numbers a tensor holds."""
    return math.prod(tensor.shape)


def parameters_of(tensors: Sequence[TensorInfo]) -> int:
    """Weights in all: a tensor that has several names is one tensor."""
    return sum(elements(tensor) for tensor in tensors if tensor.kind == "parameter")


def size_of(picture: Picture, layers: Sequence[int] | None = None) -> int:
    """Weights of these layers of the probe together, what they share counted once; default: of the whole network."""
    if layers is None:
        return parameters_of(picture.run.tensors)
    if len(layers) == 1:
        return picture.probe.layers[layers[0]].parameters
    known = {tensor.name: tensor for tensor in picture.run.tensors}
    held = dict.fromkeys(name for layer in layers for name in picture.probe.layers[layer].tensors)
    if all(name in known for name in held):
        return parameters_of([known[name] for name in held])
    return sum(picture.probe.layers[layer].parameters for layer in layers)


def share_text(part: int, whole: int) -> str:
    """A share in percent: '19.6 %', '0.04 %', '<0.01 %'."""
    percent = 100 * part / whole if whole else 0.0
    if percent >= 9.95 or not part:
        return f"{percent:.0f} %" if percent > 99.95 or not part else f"{percent:.1f} %"
    return f"{percent:.2f} %" if percent >= 0.01 else "<0.01 %"
