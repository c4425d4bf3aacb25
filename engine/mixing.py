"""Whether the examples of a batch are each for themselves."""

from collections.abc import Callable
from typing import Any

from .agreement import differ
from .device import out_of_memory
from .replay.record import Arguments
from .replay.structure import tensors_in

DEPENDS = (
    "what the network says of an example depends on the others in its batch (or on chance): its errors are those in "
    "batches of the sizes used here, and other batches would give others"
)


def mixing(full: Callable[[Arguments], Any], arguments: Arguments, trained: Any, rounding: float) -> str:
    """What to know of a network that says something else of fewer examples; '' of all others.

    `full` is a plain forward, `trained` what it gave for `arguments`.
    """
    few = arguments.first(max(1, arguments.examples // 2))
    if few.examples == arguments.examples:
        return ""
    try:
        alone = full(few)
    except Exception as error:
        if out_of_memory(error):
            raise
        return f"the network cannot take {few.examples} examples instead of {arguments.examples}: {error}"
    pairs = [
        (one[: few.examples], other)
        for one, other in zip(tensors_in(trained), tensors_in(alone), strict=False)
        if one.dim() and other.dim() and len(one) == arguments.examples and len(other) == few.examples
    ]
    return DEPENDS if pairs and differ([a for a, _ in pairs], [b for _, b in pairs], rounding) else ""
