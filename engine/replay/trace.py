"""What one forward of a network does, and when: calls of modules, operations, and the memory they touch.

Time is counted in events (a call is entered, left; an operation runs).  Memory is known by its *storage*: views of one
storage, and a tensor that was altered in place, are the same memory.  Nothing here keeps a tensor alive, so that a
trace also knows when a storage was freed: what is freed cannot be needed any more.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from .looks import noticed, pools, tells
from .structure import OpaqueError, take_apart, tensors_in

NEVER = 2**62
"""Later than every event."""

LITERAL = torch.ops.aten.lift_fresh.default
"""A tensor in the network's code comes from nowhere: it belongs to this forward."""


@dataclass
class Call:
    """One call of a module. Call 0 is the network's own."""

    index: int
    module: nn.Module
    parent: int
    enter: int
    exit: int = NEVER
    storages: tuple[int, ...] = ()
    """Of each tensor in what it returned."""
    opaque: bool = False
    """It raised, altered a list or dict of its caller's, or returned something that cannot be taken apart: it must
    always be executed."""
    last: int = 0
    """The last call within it."""


@dataclass
class Memory:
    """One storage's life."""

    born: int
    died: int = NEVER
    bytes: int = 0
    """Of memory that this forward has made; 0 for weights and inputs."""
    reads: list[tuple[int, int]] = field(default_factory=list)
    """(time, innermost call)."""
    writes: list[tuple[int, int]] = field(default_factory=list)


class Operation(NamedTuple):
    """An operation that was carried out."""

    time: int
    function: Any
    given: tuple[int, ...]
    """Storages of the tensors among its arguments, one after another."""
    returned: tuple[int, ...]
    """Storages of the tensors that it returned."""


@dataclass
class Trace:
    """The events of one forward."""

    calls: list[Call]
    memory: dict[int, Memory]
    inputs: tuple[int, ...]
    """Storages of the forward's arguments."""
    operations: list[Operation]
    touched: dict[int, int]
    """By a storage that was there before the forward (a weight): the first time it was used or handed out."""
    end: int
    altered: tuple[int, ...]
    """Storages that were there before the forward, are no inputs, and were written."""
    weights: frozenset[int]
    """Storages of the network's parameters and buffers."""
    drawn: str
    """An operation that drew random numbers from a generator of its own; empty if none did."""
    looks: tuple[int, ...]
    """When the network's code learnt numbers, or how many there are of some kind."""
    pooled: tuple[int, ...]
    """When one number was made of many that come from the inputs."""

    @property
    def peak(self) -> int:
        """Bytes in use, besides weights and inputs, at the fullest moment."""
        changes = [(memory.born, memory.bytes) for memory in self.memory.values() if memory.bytes]
        changes += [(memory.died, -memory.bytes) for memory in self.memory.values() if memory.bytes]
        used = most = 0
        for _, change in sorted(changes):
            used += change
            most = max(most, used)
        return most


class UntraceableError(RuntimeError):
    """The network does something that cannot be followed."""


class Tracer(TorchDispatchMode):
    """Follows one forward. Calls of modules are told to it by whoever wraps them."""

    def __init__(self, arguments: Iterable[Tensor], weights: Iterable[Tensor]):
        super().__init__()
        self._weights = frozenset(tensor.untyped_storage()._cdata for tensor in weights)
        self._drawn = ""
        self.time = 0
        self._calls: list[Call] = []
        self._open: list[int] = []
        self._memory: dict[int, Memory] = {}
        self._alive: dict[int, StorageWeakRef] = {}
        self._known: set[int] = set()  # storages made by this forward, and its inputs
        self._references: list[StorageWeakRef] = []  # an address with a reference is never used again
        self._operations: list[Operation] = []
        self._touched: dict[int, int] = {}
        self._altered: dict[int, None] = {}
        self._untraceable: UntraceableError | None = None
        self._looks: list[int] = []
        self._pooled: list[int] = []
        self._noticing = contextlib.ExitStack()
        self._inputs = tuple(self._storage(tensor, made=True) for tensor in arguments)
        self._of_inputs = set(self._inputs)  # storages that hold what was computed from them

    def __enter__(self) -> "Tracer":
        self._noticing.enter_context(noticed(self._look))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._noticing.close()

    def _look(self, tensor: Tensor) -> None:
        """The network's code is handed a tensor's numbers."""
        self.time += 1
        storage = self._storage(tensor, made=False)
        if storage not in self._known:
            self._touched.setdefault(storage, self.time)
        self._note((storage,), ())
        self._looks.append(self.time)

    def call(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Carry out a call of `module`."""
        self._tick()
        call = Call(len(self._calls), module, self._open[-1] if self._open else -1, self.time)
        self._calls.append(call)
        self._open.append(call.index)
        call.opaque = True
        containers = [(one, _members(one)) for one in _containers((args, kwargs))]
        try:
            output = forward(*args, **kwargs)
        finally:  # a network may go on after an error
            self._open.pop()
            self._tick()
            call.exit, call.last = self.time, len(self._calls) - 1
        # What cannot be taken apart may hold weights all the same: they are out from here on.
        found = [self._storage(tensor, made=False) for tensor in tensors_in(output)]
        for storage in found:
            if storage not in self._known:
                self._touched.setdefault(storage, call.exit)
        with contextlib.suppress(OpaqueError):
            take_apart(output)
            call.storages, call.opaque = tuple(found), any(_altered(*pair) for pair in containers)
        return output

    def result(self) -> Trace:
        """What was seen. Raises UntraceableError."""
        if self._untraceable is not None:
            raise self._untraceable
        self._tick()
        return Trace(
            self._calls,
            self._memory,
            self._inputs,
            self._operations,
            self._touched,
            self.time,
            tuple(self._altered),
            self._weights,
            self._drawn,
            tuple(self._looks),
            tuple(self._pooled),
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.time += 1
        if kwargs.get("generator") is not None:
            self._drawn = self._drawn or str(func)
        written, arguments = _written(func, args, kwargs), tensors_in((args, kwargs))
        given = [self._storage(tensor, made=func is LITERAL) for tensor in arguments]
        output = func(*args, **kwargs)
        returned = tensors_in(output)
        made = [self._storage(tensor, made=True) for tensor in returned]
        if tells(func, args):
            self._looks.append(self.time)
        alters = tuple(dict.fromkeys(self._storage(tensor, made=False) for tensor in written))
        fresh = tuple(storage for storage in dict.fromkeys(made) if storage not in given)
        for storage in given:
            if storage not in self._known:
                self._touched.setdefault(storage, self.time)
        if not self._of_inputs.isdisjoint(given):
            self._of_inputs.update(made, alters)
            if pools(arguments, returned):
                self._pooled.append(self.time)
        # A view computes nothing: it neither reads nor writes.
        view = bool(made) and not fresh and not alters
        reads = () if view else tuple(dict.fromkeys(given))
        self._note(reads, (*alters, *fresh))
        self._operations.append(Operation(self.time, func, tuple(given), tuple(made)))
        return output

    def _note(self, reads: tuple[int, ...], writes: tuple[int, ...]) -> None:
        where = (self.time, self._open[-1] if self._open else -1)
        for storage in reads:
            self._memory[storage].reads.append(where)
        for storage in writes:
            self._memory[storage].writes.append(where)
            if storage not in self._known:
                self._altered[storage] = None

    def _storage(self, tensor: Tensor, *, made: bool) -> int:
        try:
            reference = StorageWeakRef(tensor.untyped_storage())
        except (NotImplementedError, RuntimeError) as error:
            # Kept too: the network may catch what is raised in the middle of it.
            self._untraceable = UntraceableError(f"it uses tensors without plain memory ({tensor.layout})")
            raise self._untraceable from error
        key = reference.cdata
        if key not in self._memory:
            own = made and key not in self._known and self.time > 0
            self._memory[key] = Memory(self.time, bytes=tensor.untyped_storage().nbytes() if own else 0)
            self._alive[key] = reference
            self._references.append(reference)
            if made:
                self._known.add(key)
        return key

    def _tick(self) -> None:
        self.time += 1
        for key in [key for key, reference in self._alive.items() if reference.expired()]:
            self._memory[key].died = self.time
            del self._alive[key]


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation alters, by its schema."""
    schema = getattr(func, "_schema", None)
    if schema is None:
        return []
    found: list[Any] = []
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[position] if position < len(args) else kwargs.get(argument.name))
    return tensors_in(found)


def _containers(value: Any) -> list[Any]:
    """Lists, dicts and sets in `value`, those in others too."""
    if not isinstance(value, (list, tuple, dict, set)):
        return []
    members = value.values() if isinstance(value, dict) else value
    inner = [found for member in members for found in _containers(member)]
    return inner if isinstance(value, tuple) else [value, *inner]


def _members(container: Any) -> list[Any]:
    return [*container, *(container.values() if isinstance(container, dict) else ())]


def _altered(container: Any, members: list[Any]) -> bool:
    return list(map(id, _members(container))) != list(map(id, members))
