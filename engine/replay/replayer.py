"""Record a forward once, then run the network from a layer on, as often as its variants need.

A network is *attached* while it is being probed: each of its modules gets a wrapper around its call, as an attribute of
that one object.  Nothing else about it changes, and `detach` takes the wrappers off again.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .recipe import INPUT, Recipe, Snapshot, compile_recipe
from .structure import Build, OpaqueError, take_apart, tensors_in
from .trace import Trace, Tracer, UntraceableError

_SLOT = "_call_impl"  # what `Module.__call__` looks up on the object


class DivergedError(RuntimeError):
    """A forward did not do what the traced one did."""


class UnreplayableError(RuntimeError):
    """Why a network cannot be replayed at all."""


class _Enough(BaseException):  # not an error, and no network may catch it
    """All that was to be recorded is there: the rest of the forward is of no use."""


@dataclass(frozen=True)
class Arguments:
    """What a forward is called with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        return tensors_in((self.args, self.kwargs))

    def first(self, count: int) -> "Arguments":
        """Of `count` examples: the first ones along the first axis of every tensor."""
        tensors, build = take_apart((self.args, dict(self.kwargs)))
        return Arguments(*build([tensor[:count] for tensor in tensors]))

    def compact(self) -> "Arguments":
        """With copies of those tensors that are a part of something larger."""
        tensors, build = take_apart((self.args, dict(self.kwargs)))
        whole = [t if t.untyped_storage().nbytes() <= t.nbytes else t.clone() for t in tensors]
        return Arguments(*build(whole))

    def copied(self) -> "Arguments":
        """With copies of its tensors: a network may work in place on what it is given."""
        tensors, build = take_apart((self.args, dict(self.kwargs)))
        return Arguments(*build([tensor.clone() for tensor in tensors]))


@dataclass(frozen=True)
class _View:
    """A tensor's place in its storage."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor) -> "_View":
        return cls(tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def on(self, storage: UntypedStorage) -> Tensor:
        empty = torch.empty(0, dtype=self.dtype, device=storage.device)
        return empty.set_(storage, self.offset, self.size, self.stride)  # type: ignore[call-overload]

    @property
    def bytes(self) -> int:
        if 0 in self.size:
            return 0
        last = sum((length - 1) * stride for length, stride in zip(self.size, self.stride, strict=True))
        return (self.offset + last + 1) * self.dtype.itemsize


@dataclass(frozen=True)
class _Returned:
    """What a call returned: its structure, and where its tensors lie in their storages."""

    build: Build
    views: tuple[_View, ...]
    tensors: tuple[Tensor | None, ...]
    """The tensors themselves, where their storage is kept as it is."""


@dataclass
class Record:
    """What one forward left behind for the recipes it was made for."""

    trace: Trace
    arguments: Arguments
    returned: dict[int, _Returned]
    storages: dict[Snapshot, UntypedStorage]
    kept: dict[Snapshot, tuple[Tensor, int]]
    """Those that are the network's own, not copies: a tensor on each, and its version."""

    @property
    def bytes(self) -> int:
        """Memory it takes, without the inputs."""
        return sum(storage.nbytes() for storage in self.storages.values())


class Replayer:
    """A network that can be run from any moment on. Use it inside `with`, under `torch.no_grad()`.

    Raises UnreplayableError from `trace` where the network cannot be followed.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self._wrapped: list[nn.Module] = []
        self._on_call: Callable[[nn.Module, Callable[..., Any], Any, Any], Any] | None = None
        self._recipes: dict[tuple[int, int], Recipe] = {}
        self._blank: UntypedStorage | None = None

    def __enter__(self) -> "Replayer":
        for module in dict.fromkeys(self.model.modules()):
            if _SLOT in module.__dict__:
                self.__exit__()
                raise UnreplayableError(f"{type(module).__name__} has its own {_SLOT}")
            original = getattr(module, _SLOT)
            module.__dict__[_SLOT] = functools.partial(self._call, module, original)
            self._wrapped.append(module)
        return self

    def __exit__(self, *_: object) -> None:
        for module in self._wrapped:
            module.__dict__.pop(_SLOT, None)
        self._wrapped.clear()

    def _call(self, module: nn.Module, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        on_call = self._on_call
        return original(*args, **kwargs) if on_call is None else on_call(module, original, args, kwargs)

    def _forward(self, arguments: Arguments, on_call: Callable[..., Any] | None) -> Any:
        self._on_call = on_call
        try:
            return self.model(*arguments.args, **arguments.kwargs)
        finally:
            self._on_call = None

    def full(self, arguments: Arguments) -> Any:
        """A plain forward on copies of the tensors in `arguments`."""
        return self._forward(arguments.copied(), None)

    def trace(self, arguments: Arguments) -> Trace:
        """Follow one forward. Raises UnreplayableError."""
        copied = arguments.copied()
        before = _attributes(self.model)
        tracer = Tracer(copied.tensors())
        try:
            with tracer:
                self._forward(copied, tracer.call)
        except UntraceableError as error:
            raise UnreplayableError(str(error)) from error
        after = _attributes(self.model)
        changed = [f"{name}.{key}" for (name, key), value in after.items() if before.get((name, key)) != value]
        if changed:
            raise UnreplayableError(f"it keeps something from one forward to the next ({changed[0].lstrip('.')})")
        trace = tracer.result()
        if trace.altered:
            raise UnreplayableError("it alters weights, buffers or other memory of its own in a forward")
        for _, operation, _, _ in trace.operations:
            if torch.Tag.nondeterministic_seeded in getattr(operation, "tags", ()):
                raise UnreplayableError(f"it draws random numbers in a forward ({operation})")
        return trace

    def recipe(self, trace: Trace, start: int) -> Recipe:
        """The recipe for `start`, made once."""
        key = (id(trace), start)
        if key not in self._recipes:
            self._recipes[key] = compile_recipe(trace, start)
        return self._recipes[key]

    def record(self, trace: Trace, arguments: Arguments, recipes: Iterable[Recipe]) -> Record:
        """Run the network on `arguments` and keep what `recipes` need. Raises DivergedError."""
        recording = _Recording(trace, list(recipes))
        record = recording.begin(arguments)
        if recording.last < 0:
            return record
        given = arguments.copied() if recording.inputs_altered else arguments
        try:
            with recording.operations:
                self._forward(given, recording.call)
        except _Enough:
            pass
        recording.check()
        return record

    def run(self, record: Record, recipe: Recipe) -> Any:
        """The network's output, computed from `recipe.start` on. Raises DivergedError."""
        own = {snapshot: record.storages[snapshot].clone() for snapshot in recipe.altered if snapshot[1] != INPUT}
        for storage, tensor in zip(record.trace.inputs, record.arguments.tensors(), strict=True):
            memory, snapshot = tensor.untyped_storage(), (storage, INPUT)
            own[snapshot] = memory.clone() if snapshot in recipe.altered else memory
        arguments = self._arguments(record, recipe, own)
        steps = iter(recipe.steps)

        def on_call(module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            step = next(steps, None)
            if step is None:
                self._on_call = None  # from here on the network runs undisturbed
                return original(*args, **kwargs)
            if step.module is not module:
                raise DivergedError(f"{type(module).__name__} was called where {type(step.module).__name__} had been")
            if not step.skipped:
                return original(*args, **kwargs)
            returned = record.returned[step.call]
            tensors = [
                self._tensor(record, leaf, own, view, tensor)
                for leaf, view, tensor in zip(step.leaves, returned.views, returned.tensors, strict=True)
            ]
            return returned.build(tensors)

        output = self._forward(arguments, on_call)
        if next(steps, None) is not None:
            raise DivergedError("fewer modules were called than before")
        for tensor, version in record.kept.values():
            if tensor._version != version:
                raise DivergedError("something recorded was altered in place")
        return output

    def _arguments(self, record: Record, recipe: Recipe, own: Mapping[Snapshot, UntypedStorage]) -> Arguments:
        tensors, build = take_apart((record.arguments.args, dict(record.arguments.kwargs)))
        given = [
            self._tensor(record, snapshot, own, _View.of(tensor), None)
            for tensor, snapshot in zip(tensors, recipe.inputs, strict=True)
        ]
        return Arguments(*build(given))

    def _tensor(
        self,
        record: Record,
        leaf: Snapshot | None,
        own: Mapping[Snapshot, UntypedStorage],
        view: _View,
        tensor: Tensor | None,
    ) -> Tensor:
        if leaf is None:
            return view.on(self._nothing(view.bytes, record))
        if leaf in own:
            return view.on(own[leaf])
        # The tensor itself, if its storage is the network's own and in the state that is wanted.
        if tensor is not None and leaf in record.kept:
            return tensor
        return view.on(record.storages[leaf])

    def _nothing(self, size: int, record: Record) -> UntypedStorage:
        """Memory of any contents: all ones, which is NaN in every floating type."""
        if self._blank is None or self._blank.nbytes() < size:
            device = next((s.device for s in record.storages.values()), torch.device("cpu"))
            self._blank = torch.full((size,), 255, dtype=torch.uint8, device=device).untyped_storage()
        return self._blank


class _Operations(TorchDispatchMode):
    """Are the operations the traced ones?"""

    def __init__(self, trace: Trace):
        super().__init__()
        self._expected = [operation for _, operation, _, _ in trace.operations]
        self._next = 0
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        if self._next >= len(self._expected) or self._expected[self._next] is not func:
            raise DivergedError(f"{func} was carried out where the traced forward did something else")
        self._next += 1
        return func(*args, **(kwargs or {}))


class _Recording:
    """Keeps what recipes need while a forward goes on."""

    def __init__(self, trace: Trace, recipes: list[Recipe]):
        self._trace = trace
        wanted = {snapshot for recipe in recipes for snapshot in recipe.snapshots()}
        self._returning = {index for recipe in recipes for index in recipe.skipped()}
        self._taken: dict[int, list[int]] = {}  # storages to take when a call is over
        for storage, call in wanted:
            self._taken.setdefault(call, []).append(storage)
        self._storages = {storage for storage, _ in wanted}
        # Altered after its snapshot: the snapshot is a copy. Not altered any more: the network's own memory is kept.
        self._copied = {(storage, call) for storage, call in wanted if self._altered_after(storage, call)}
        self._kept = {storage for storage, _ in wanted - self._copied}
        self.last = max((trace.calls[index].exit for index in (*self._returning, *self._taken)), default=-1)
        self._holding: dict[int, Tensor] = {}  # a tensor on each wanted storage, once it has been handed out
        self.inputs_altered = any(trace.memory[storage].writes for storage in trace.inputs)
        self.operations = _Operations(trace)
        self._calls = 0

    def begin(self, arguments: Arguments) -> Record:
        self.record = Record(self._trace, arguments, {}, {}, {})
        return self.record

    def call(self, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        index = self._calls
        self._calls += 1
        if index >= len(self._trace.calls) or self._trace.calls[index].module is not module:
            raise DivergedError(f"{type(module).__name__} was called where the traced forward did something else")
        if index == 0:
            for storage, tensor in zip(self._trace.inputs, tensors_in((args, kwargs)), strict=True):
                if storage in self._storages:
                    self._holding[storage] = tensor
        output = original(*args, **kwargs)
        if index in self._returning or index in self._taken:
            self.operations.paused = True  # what comes is our own doing, not the network's
            self._keep(index, output)
            self.operations.paused = False
        if self._trace.calls[index].exit == self.last:
            raise _Enough
        return output

    def _keep(self, index: int, output: Any) -> None:
        call = self._trace.calls[index]
        try:
            tensors, build = take_apart(output)
        except OpaqueError as error:
            raise DivergedError(f"{type(call.module).__name__} returned {error}") from error
        if len(tensors) != len(call.storages):
            raise DivergedError(f"{type(call.module).__name__} returned something else")
        for storage, tensor in zip(call.storages, tensors, strict=True):
            if storage in self._storages:
                self._holding.setdefault(storage, tensor)
        for storage in self._taken.get(index, ()):
            tensor, snapshot = self._holding[storage], (storage, index)
            if snapshot in self._copied:
                self.record.storages[snapshot] = tensor.untyped_storage().clone()
            else:
                self.record.storages[snapshot] = tensor.untyped_storage()
                self.record.kept[snapshot] = (tensor, tensor._version)
        if index in self._returning:
            own = (
                tensor if storage in self._kept else None
                for storage, tensor in zip(call.storages, tensors, strict=True)
            )
            self.record.returned[index] = _Returned(build, tuple(map(_View.of, tensors)), tuple(own))

    def _altered_after(self, storage: int, call: int) -> bool:
        over = self._trace.calls[call].exit
        return any(time > over for time, _ in self._trace.memory[storage].writes)

    def check(self) -> None:
        """Was anything altered that was kept as it is?"""
        self._holding.clear()
        for tensor, version in self.record.kept.values():
            if tensor._version != version:
                raise DivergedError("something was altered in place that had not been before")


def _attributes(model: nn.Module) -> dict[tuple[str, str], tuple[int, ...]]:
    """What every module holds besides parameters, buffers and modules, by identity."""
    return {
        (name, key): _identity(value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key != _SLOT
    }


def _identity(value: Any) -> tuple[int, ...]:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return (id(value), *map(id, members))
