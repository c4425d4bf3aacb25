"""A model's state as named arrays: what goes into the store and comes out of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..store import TensorInfo, inert, storage_dtype
from .errors import ModelError


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The live tensors of the model's state by every name they have; tied weights appear under each.

    Parameters and persistent buffers, in order of registration.  Extra state that is no tensor is left out.
    """
    state = model.state_dict(keep_vars=True)
    return {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}


def refuse_empty(model: nn.Module) -> None:
    """Raises ModelError where a parameter or a buffer holds no numbers yet."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(f"the model's '{inert(name)}' has no shape yet: run it once before it is probed.")
        if tensor.is_meta:
            raise ModelError(f"the model's '{inert(name)}' is on the device 'meta', where there are no numbers.")


def describe(model: nn.Module) -> list[TensorInfo]:
    """Every tensor of the state once, under its first name, with its other names as aliases.

    Raises ModelError where a parameter of the state is not the one that the network computes with, or holds nothing.
    """
    refuse_empty(model)
    own = dict(model.named_parameters(remove_duplicate=False))
    first: dict[tuple[object, ...], str] = {}
    aliases: dict[str, list[str]] = {}
    tensors = named_tensors(model)
    for name, parameter in own.items():
        if name in tensors and tensors[name].data_ptr() != parameter.data_ptr():
            raise ModelError(
                f"'{inert(name)}' of the model's state_dict() is a copy: what is put there does not reach the network. "
                "Take the hook off it, or the method of its own, that makes copies."
            )
    for name, tensor in tensors.items():
        # Tied weights are one storage seen in the same way. An empty tensor has no address: it is its own.
        key = (tensor.data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        owner = first.setdefault(key, name) if tensor.numel() else name
        aliases.setdefault(owner, [])
        if owner != name:
            aliases[owner].append(name)
    return [
        TensorInfo(
            name=name,
            dtype=str(tensors[name].dtype).removeprefix("torch."),
            shape=tuple(tensors[name].shape),
            kind="parameter" if name in own else "buffer",
            aliases=tuple(others),
        )
        for name, others in aliases.items()
    ]


def to_array(tensor: Tensor) -> np.ndarray:
    """A copy of `tensor` on the host, in the type that the store keeps it in (bfloat16 as its bits)."""
    tensor = tensor.detach().cpu().contiguous()
    stored = storage_dtype(str(tensor.dtype).removeprefix("torch."))
    if stored in ("uint16", "uint8") and tensor.is_floating_point():
        tensor = tensor.view(torch.int16 if stored == "uint16" else torch.uint8)
        return tensor.numpy().view(stored).copy()
    return tensor.numpy().copy()


def to_tensor(array: np.ndarray, dtype: str) -> Tensor:
    """The tensor of torch type `dtype` that :func:`to_array` made `array` from."""
    array = np.array(array, copy=True)  # keeps 0-d arrays 0-d, which np.ascontiguousarray does not
    target: torch.dtype = getattr(torch, dtype)
    if storage_dtype(dtype) == "uint16":
        return torch.from_numpy(array.view(np.int16)).view(target)
    tensor = torch.from_numpy(array)
    return tensor.view(target) if storage_dtype(dtype) != dtype else tensor


def state_arrays(model: nn.Module, infos: Iterable[TensorInfo]) -> dict[str, np.ndarray]:
    """Copies of the tensors `infos` of a model."""
    tensors = named_tensors(model)
    return {info.name: to_array(tensors[info.name]) for info in infos}


@torch.no_grad()
def load_arrays(model: nn.Module, infos: Mapping[str, TensorInfo], arrays: Mapping[str, np.ndarray]) -> None:
    """Copy stored arrays into a model's live tensors, in place."""
    tensors = named_tensors(model)
    for name, array in arrays.items():
        tensors[name].copy_(to_tensor(array, infos[name].dtype))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one type are equal bit for bit (NaN equals the same NaN, 0 is not -0)."""
    return torch.equal(
        a.detach().contiguous().reshape(-1).view(torch.uint8),
        b.detach().contiguous().reshape(-1).view(torch.uint8),
    )


def surely(put_back: Callable[[], None]) -> None:
    """Carry `put_back` out to its end, also where an interrupt comes in the middle of it: that is then raised again."""
    try:
        put_back()
    except BaseException:
        put_back()
        raise


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, all modules are in evaluation mode; after it each is in its own again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        surely(lambda: _set_modes(modes))


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, mode in modes:
        module.training = mode
