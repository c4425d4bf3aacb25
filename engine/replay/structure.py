"""What modules return, taken apart into tensors and put together again: tuples, lists, dicts, dataclasses of them."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[[Sequence[Tensor]], Any]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)


class OpaqueError(TypeError):
    """A value holds something that cannot be taken apart, and that may hold tensors or a state of its own."""


def take_apart(value: Any) -> tuple[list[Tensor], Build]:
    """The tensors in `value`, and a function that makes a value like it from others. Raises OpaqueError."""
    tensors: list[Tensor] = []
    build = _take(value, tensors)
    return tensors, build


def _take(value: Any, tensors: list[Tensor]) -> Build:
    if isinstance(value, Tensor):
        if not _ordinary(value):
            raise OpaqueError("a tensor without plain memory")
        index = len(tensors)
        tensors.append(value)
        return lambda parts: parts[index]
    if isinstance(value, _PLAIN):
        return lambda parts: value
    kind = type(value)
    if kind in (tuple, list):
        members = [_take(member, tensors) for member in value]
        return lambda parts: kind(build(parts) for build in members)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        members = [_take(member, tensors) for member in value]
        return lambda parts: kind(*(build(parts) for build in members))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _take_fields(value, tensors)
    if kind in (dict, OrderedDict):
        members: Any = value
        named = [(key, _take(member, tensors)) for key, member in members.items()]
        return lambda parts: kind((key, build(parts)) for key, build in named)
    raise OpaqueError(f"a {kind.__name__}")


def _ordinary(tensor: Tensor) -> bool:
    """Whether a tensor is a view of plain memory and no more: no subclass, not sparse, nested or quantised."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    return plain and not tensor.is_nested and not tensor.is_quantized


def _take_fields(value: Any, tensors: list[Tensor]) -> Build:
    """A dataclass, by its constructor. The libraries that return such things make ordered dicts of them as well."""
    kind: Any = type(value)
    names = [field.name for field in dataclasses.fields(value)]
    more = set(getattr(value, "__dict__", names)) - set(names)
    if more or any(not field.init for field in dataclasses.fields(value)):
        raise OpaqueError(f"a {kind.__name__}")
    fields = [(name, _take(getattr(value, name), tensors)) for name in names]
    return lambda parts: kind(**{name: build(parts) for name, build in fields})


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor that can be found in `value`, whatever else it holds."""
    found: list[Tensor] = []
    _search(value, found)
    return found


def _search(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, _PLAIN):  # most values are
        pass
    elif isinstance(value, (tuple, list)):
        for member in value:
            _search(member, found)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _search(getattr(value, field.name, None), found)
    elif isinstance(value, dict):
        for member in value.values():
            _search(member, found)
