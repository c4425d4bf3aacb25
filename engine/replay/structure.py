"""What modules return, taken apart into tensors and put together again: tuples, lists, dicts, dataclasses of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

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
    if isinstance(value, dict):
        named = [(key, _take(member, tensors)) for key, member in value.items()]
        return lambda parts: _like(kind, {key: build(parts) for key, build in named})
    raise OpaqueError(f"a {kind.__name__}")


def _take_fields(value: Any, tensors: list[Tensor]) -> Build:
    """A dataclass, by its constructor. The libraries that return such things make ordered dicts of them as well."""
    kind: Any = type(value)
    if any(not field.init for field in dataclasses.fields(value)):
        raise OpaqueError(f"a {kind.__name__}")
    fields = [(field.name, _take(getattr(value, field.name), tensors)) for field in dataclasses.fields(value)]
    return lambda parts: kind(**{name: build(parts) for name, build in fields})


def _like(kind: type, members: dict[Any, Any]) -> Any:
    if kind is dict:
        return members
    made = kind()
    made.update(members)
    return made


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor that can be found in `value`, whatever else it holds."""
    found: list[Tensor] = []
    _search(value, found)
    return found


def _search(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for member in value:
            _search(member, found)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _search(getattr(value, field.name, None), found)
    elif isinstance(value, dict):
        for member in value.values():
            _search(member, found)
