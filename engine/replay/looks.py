"""When a network's own code learns numbers, or how many there are: what it does then may depend on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor

from ..state import surely
from .structure import tensors_in

_UNSEEN = (
    *(
        (Tensor, name)
        for name in ("tolist", "numpy", "storage", "data_ptr", "__dlpack__", "__deepcopy__", "__reduce_ex__")
    ),
    (torch, "to_dlpack"),
    (torch.utils.dlpack, "to_dlpack"),
)
"""What hands a tensor's numbers out without an operation. NumPy's own functions call one of them."""


@contextmanager
def noticed(look: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside, `look(tensor)` hears of every tensor whose numbers this thread's code is handed without an operation.

    A mode of torch's for functions would hear of it as well, but attention and encoder layers go another way under one.
    """
    thread = get_ident()
    own = [vars(owner).get(name) for owner, name in _UNSEEN]  # methods are mostly inherited

    def watching(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if get_ident() == thread:
                look(tensor)
            return original(tensor, *args, **kwargs)

        return watched

    try:
        for owner, name in _UNSEEN:
            setattr(owner, name, watching(getattr(owner, name)))
        yield
    finally:
        surely(lambda: _put_back(own))


def _put_back(own: list[Any]) -> None:
    for (owner, name), method in zip(_UNSEEN, own, strict=True):
        if method is not None:
            setattr(owner, name, method)
        elif name in vars(owner):
            delattr(owner, name)


def tells(func: Any, args: Any) -> bool:
    """Whether an operation tells a number, or by the shape of what it returns how many of them are so or so."""
    tags = getattr(func, "tags", ())
    if torch.Tag.dynamic_output_shape in tags:
        # Of indexing that is so where an index is a mask.
        masks = (tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_in(args[1:]))
        return func is not torch.ops.aten.index.Tensor or any(masks)
    return torch.Tag.data_dependent_output in tags


def pools(given: list[Tensor], returned: list[Tensor]) -> bool:
    """Whether an operation makes one number of many: of all examples, whoever's they are."""
    return bool(returned) and not any(t.dim() for t in returned) and any(t.dim() and t.numel() > 1 for t in given)
