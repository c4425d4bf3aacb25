"""What a forward may not do if parts of it are to be repeated: keep something, alter a buffer, draw random numbers."""

import functools
import inspect
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...store import inert
from ..errors import INSTEAD, RestoreError
from ..state import same_bits, surely

_PLAIN = (bool, int, float, complex, str, bytes)
_CLOSED = (Tensor, nn.Module, type, ModuleType, *_PLAIN)
_CONTAINERS = (list, dict, set, deque)
_DEPTH = 4
"""Of containers, objects and closures in one another: how deep it is looked."""
_LONG = 10_000
"""A container with more members is taken as a whole."""


class Watch:
    """A network before a forward, to be compared with what it is afterwards."""

    def __init__(self, model: nn.Module, ignored: str):
        """`ignored` names an attribute of modules that is not their own."""
        self._model, self._ignored = model, ignored
        self._kept = self._attributes()
        # Not all operations that alter running statistics say so.
        self._buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
        self._generators = _generators()

    def impurity(self) -> str:
        """What the forwards since then did that they should not have; empty if nothing."""
        for name, values in self._attributes().items():
            before = self._kept.get(name, [])
            if len(before) != len(values) or not all(map(_same, before, values)):
                return f"it keeps something from one forward to the next ({name})"
        for name, (buffer, before) in self._buffers.items():
            if not same_bits(buffer, before):
                return f"it alters its buffer {name} in a forward"
        for name, state in _generators().items():
            if state != self._generators[name]:
                return f"it draws random numbers in a forward ({name})"
        return ""

    def _attributes(self) -> dict[str, list[Any]]:
        """What every module holds, and what that holds."""
        seen: dict[int, Any] = {}  # objects, not ids alone: another one could get the id of one that is gone
        found: dict[str, list[Any]] = {}
        for name, module in self._model.named_modules():
            for key, value in vars(module).items():
                if key != self._ignored:
                    values = found[f"{name}.{key}".lstrip(".")] = []
                    _walk(value, values, seen, _DEPTH)
        for kind in dict.fromkeys(map(type, self._model.modules())):
            if not kind.__module__.startswith("torch."):
                values = found[f"what {kind.__name__}.forward names"] = []
                _walk(inspect.unwrap(kind.forward), values, seen, _DEPTH, _keeps)
        return found


@contextmanager
def left_alone(model: nn.Module) -> Iterator[None]:
    """Afterwards modules hold what they held before, under the same names, in the same memory, also in their lists and
    dicts, and buffers have the values they had.

    A network may keep things when it is run: what it found last, say, or a table that it makes the first time.
    """
    modules = list(dict.fromkeys(model.modules()))
    attributes = [vars(module) for module in modules]
    held_in = [value for holder in attributes for value in holder.values() if isinstance(value, dict)]
    before = [(holder, dict(holder)) for holder in (*attributes, *held_in)]
    lists = [(one, list(one)) for holder in attributes for one in holder.values() if type(one) is list]
    places = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers())]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def restore() -> None:
        for holder, held in before:
            for key in [key for key in holder if key not in held]:
                holder.pop(key, None)
            for key, value in held.items():
                if key not in holder or holder[key] is not value:
                    holder[key] = value
        for one, members in lists:
            if list(map(id, one)) != list(map(id, members)):
                one[:] = members
        # They point there already, but for an interrupt in just the wrong moment.
        for tensor, own in places:
            if tensor.data_ptr() != own.data_ptr() or tensor.stride() != own.stride():
                tensor.data = own
        put_back(buffers)

    try:
        yield
    finally:
        surely(restore)


class Places:
    """Where a network's parameters lie, and which buffers it has: a forward may put others in their place."""

    def __init__(self, model: nn.Module):
        self._memory = [(tensor, tensor.data) for tensor in model.parameters()]
        # (A scripted module has no dicts.)
        holders = [module._buffers for module in model.modules() if isinstance(module._buffers, dict)]
        self._buffers = [(holder, name, buffer) for holder in holders for name, buffer in holder.items()]

    def left(self) -> "Places":
        """What is not in its place any more."""
        found = copy(self)
        found._memory = [(tensor, own) for tensor, own in self._memory if tensor.data_ptr() != own.data_ptr()]
        found._buffers = [entry for entry in self._buffers if entry[0].get(entry[1]) is not entry[2]]
        return found

    def restore(self) -> None:
        for tensor, own in self._memory:
            tensor.data = own
        for holder, name, buffer in self._buffers:
            holder[name] = buffer

    def __bool__(self) -> bool:
        return bool(self._memory or self._buffers)


@contextmanager
def first_forward(model: nn.Module) -> Iterator[None]:
    """Around the first forward of somebody's network: what it keeps in buffers is put back.

    Raises RestoreError where it has altered the weights.
    """
    places, sums = Places(model), Sums(model)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    yield
    places.left().restore()
    put_back(buffers)
    sums.refuse_altered()


class Sums:
    """What a network's parameters hold, as far as a sum of their bits tells: no copy of them is kept."""

    def __init__(self, model: nn.Module):
        self._parameters = dict(model.named_parameters())
        self._sums = self._now()

    def refuse_altered(self) -> None:
        """Raise RestoreError where any of them holds something else now."""
        altered = [name for name, total in self._now().items() if total != self._sums.get(name)]
        if altered:
            names = inert(", ".join(altered[:5]))
            raise RestoreError(f"in a forward the network's weights became others: {names}. {INSTEAD}")

    @torch.no_grad()
    def _now(self) -> dict[str, int]:
        sums = {name: _bit_sum(parameter.data) for name, parameter in self._parameters.items()}
        return {name: int(total) for name, total in sums.items() if total is not None}


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes of an element: the type of integers that has as many."""


def _bit_sum(tensor: Tensor) -> Tensor | None:
    try:
        return tensor.view(_WHOLE[tensor.element_size()]).sum(dtype=torch.int64)
    except (KeyError, RuntimeError):  # of a kind without bits to be looked at: it is compared in the end all the same
        return None


@torch.no_grad()
def put_back(buffers: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Give each (tensor, value) its value again; returns those that had another one."""
    altered = [(tensor, value) for tensor, value in buffers if not same_bits(tensor, value)]
    for tensor, value in altered:
        tensor.copy_(value)
    return altered


Named = Callable[[Any, FunctionType], bool]
"""Whether a variable of its file that a function names is looked at."""


def _any(value: Any, function: FunctionType) -> bool:
    return not isinstance(value, FunctionType) or value.__module__ == function.__module__


def _keeps(value: Any, function: FunctionType) -> bool:
    """What is likely to be kept there by a network's own code, which also names loggers, registries and the like."""
    return _any(value, function) and isinstance(value, (FunctionType, Tensor, *_CONTAINERS, *_PLAIN))


def _walk(value: Any, found: list[Any], seen: dict[int, Any], depth: int, named: Named = _any) -> None:
    found.append(value)
    if depth and id(value) not in seen and not isinstance(value, _CLOSED):
        seen[id(value)] = value
        for member in _members(value, named):
            _walk(member, found, seen, depth - 1, named)


def _members(value: Any, named: Named) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()] if len(value) <= _LONG else ()
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return value if len(value) <= _LONG else ()
    if isinstance(value, FunctionType):  # hooks keep what they see in variables around them
        around = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        return around + [one for one in map(value.__globals__.get, _names(value.__code__)) if named(one, value)]
    if isinstance(value, MethodType):
        return (value.__self__, value.__func__)
    if isinstance(value, functools.partial):
        return (value.func, value.args, value.keywords)
    return list(getattr(value, "__dict__", {}).values())


def _names(code: CodeType) -> list[str]:
    """What a function's code names, and that of functions within it."""
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    # Made anew by every look at it, or equal though computed anew.
    return isinstance(one, (MethodType, *_PLAIN)) and (one == other or one != one)


def _generators() -> dict[str, Any]:
    """The states of the generators that a network's code draws from."""
    numpy: Any = np.random.get_state()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy[1].tobytes(), *numpy[2:]),
        "random": random.getstate(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states
