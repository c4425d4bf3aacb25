"""Keep, while a forward goes on, what later runs need of it; and see to it that it is the forward that was traced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .recipe import Recipe, Snapshot
from .structure import Build, OpaqueError, take_apart, tensors_in
from .trace import LITERAL, Trace


class DivergedError(RuntimeError):
    """A forward did not do what the traced one did."""


class Enough(BaseException):  # not an error, and no network may catch it
    """All that was to be recorded is there: the rest of the forward is of no use."""


@dataclass(frozen=True)
class Arguments:
    """What a forward is called with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        return tensors_in((self.args, self.kwargs))

    @property
    def examples(self) -> int:
        """How many there are, as far as tensors' first axes say."""
        return max(1, next((len(tensor) for tensor in self.tensors() if tensor.dim()), 1))

    def first(self, few: int) -> "Arguments":
        """The first few examples."""
        return self._with([tensor[:few] if tensor.dim() else tensor for tensor in self.tensors()])

    def another(self) -> "Arguments":
        """Other data of the same kind, and less: a quarter of the examples; of a single one, its reflection."""
        few = max(1, max((len(tensor) for tensor in self.tensors() if tensor.dim()), default=1) // 4)

        def other(tensor: Tensor) -> Tensor:
            return tensor if not tensor.dim() else tensor[-few:] if len(tensor) > 1 else tensor.flip(-1)

        return self._with([other(tensor) for tensor in self.tensors()])

    def compact(self) -> "Arguments":
        """With copies of those tensors that are a part of something larger."""
        return self._with([t if t.untyped_storage().nbytes() <= t.nbytes else t.clone() for t in self.tensors()])

    def copied(self) -> "Arguments":
        """With copies of its tensors: a network may work in place on what it is given."""
        return self._with([tensor.clone() for tensor in self.tensors()])

    def shared(self) -> "Arguments":
        """With other tensors on the same memory, whose versions count together."""
        return self._with([tensor.detach() for tensor in self.tensors()])

    def _with(self, tensors: Sequence[Tensor]) -> "Arguments":
        _, build = take_apart((self.args, dict(self.kwargs)))
        return Arguments(*build(tensors))


@dataclass(frozen=True)
class View:
    """A tensor's place in its storage."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    device: torch.device
    conjugated: bool
    negated: bool

    @classmethod
    def of(cls, tensor: Tensor) -> "View":
        place = (tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.device)
        return cls(tensor.dtype, *place, tensor.is_conj(), tensor.is_neg())

    def on(self, storage: UntypedStorage) -> Tensor:
        empty = torch.empty(0, dtype=self.dtype, device=self.device)
        tensor = empty.set_(storage, self.offset, self.size, self.stride)  # type: ignore[call-overload]
        tensor = tensor.conj() if self.conjugated else tensor
        return torch._neg_view(tensor) if self.negated else tensor  # type: ignore[attr-defined]

    def of_same_version(self, tensor: Tensor) -> Tensor:
        """This view of `tensor`'s memory; what alters one of them in place is seen in the other's version."""
        if tensor.dtype != self.dtype or self.conjugated or self.negated:
            return self.on(tensor.untyped_storage())
        return tensor.detach().as_strided(self.size, self.stride, self.offset)

    @property
    def bytes(self) -> int:
        """Of a storage that it fits on."""
        if 0 in self.size:
            return 0
        last = sum((length - 1) * stride for length, stride in zip(self.size, self.stride, strict=True))
        return (self.offset + last + 1) * self.dtype.itemsize


@dataclass(frozen=True)
class Returned:
    """What a call returned: its structure, and where its tensors lie in their storages."""

    build: Build
    views: tuple[View, ...]
    tensors: tuple[Tensor | None, ...]
    """The tensors themselves, where their storage is kept as it is."""


@dataclass
class Record:
    """What one forward left behind for the recipes it was made for."""

    trace: Trace
    arguments: Arguments
    """Its own: nobody else works on them."""
    returned: dict[int, Returned] = field(default_factory=dict)
    storages: dict[Snapshot, UntypedStorage] = field(default_factory=dict)
    kept: set[Snapshot] = field(default_factory=set)
    """Those of `storages` that are the network's own, not copies."""
    versions: list[tuple[Tensor, int]] = field(default_factory=list)
    """Tensors that nothing may alter any more, with the version that each has."""
    spoilt: bool = False
    """Something in it was altered all the same."""

    @property
    def bytes(self) -> int:
        """Memory it takes, without the inputs and weights."""
        sizes = {
            storage._cdata: storage.nbytes()
            for (key, _), storage in self.storages.items()
            if key not in self.trace.touched and key not in self.trace.inputs
        }
        return sum(sizes.values())

    def keep(self, tensor: Tensor) -> None:
        """From now on `tensor` must stay as it is. (Inference tensors have no version, nor may be altered.)"""
        if not tensor.is_inference():
            self.versions.append((tensor, tensor._version))

    def check(self) -> None:
        """Raises DivergedError if anything was altered that must stay as it is."""
        self.spoilt |= any(tensor._version != version for tensor, version in self.versions)
        if self.spoilt:
            raise DivergedError("something was altered in place that had not been before")


class Recording:
    """Keeps what recipes need while a forward goes on."""

    def __init__(self, trace: Trace, arguments: Arguments, recipes: list[Recipe]):
        """Raises DivergedError where there are more, or fewer, tensors among the arguments than the trace had."""
        if len(arguments.tensors()) != len(trace.inputs):
            raise DivergedError("it is called with another number of tensors")
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
        self._stop = max((recipe.start for recipe in recipes), default=0)
        self._holding: dict[int, Tensor] = {}  # a tensor on each wanted storage, once it has been handed out
        self.operations = Operations(trace, self._stop)
        self._calls = 0
        self.record = Record(trace, arguments.copied())
        self.needed = bool(self._returning or self._taken)
        altered = any(trace.memory[storage].writes for storage in trace.inputs)
        self.given = self.record.arguments.copied() if altered else self.record.arguments.shared()
        for tensor in self.record.arguments.tensors():
            self.record.keep(tensor)

    def call(self, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Carry out a call of `module`. Raises DivergedError, Enough."""
        index, calls = self._calls, self._trace.calls
        self._calls += 1
        if index >= len(calls) or calls[index].enter >= self._stop:
            self.operations.enough()
        if calls[index].module is not module:
            self.operations.astray(f"{type(module).__name__} was called where the traced forward did something else")
        if index == 0:
            for storage, tensor in zip(self._trace.inputs, tensors_in((args, kwargs)), strict=True):
                if storage in self._storages:
                    self._holding[storage] = tensor
            self.operations.begin(self._trace.inputs, storages((args, kwargs)))
        output = original(*args, **kwargs)
        if index in self._returning or index in self._taken:
            self.operations.paused = True  # what comes is our own doing, not the network's
            self._keep(index, output)
            self.operations.paused = False
        return output

    def _keep(self, index: int, output: Any) -> None:
        call, record = self._trace.calls[index], self.record
        try:
            tensors, build = take_apart(output)
        except OpaqueError as error:
            self.operations.astray(f"{type(call.module).__name__} returned {error}")
            raise
        if len(tensors) != len(call.storages):
            self.operations.astray(f"{type(call.module).__name__} returned something else")
        self.operations.compare(call.storages, storages(tensors))
        for storage, tensor in zip(call.storages, tensors, strict=True):
            if storage in self._storages:
                self._holding.setdefault(storage, tensor)
        for storage in self._taken.get(index, ()):
            tensor, snapshot = self._holding[storage], (storage, index)
            if snapshot in self._copied:
                record.storages[snapshot] = tensor.untyped_storage().clone()
            else:
                record.storages[snapshot] = tensor.untyped_storage()
                record.kept.add(snapshot)
                if storage not in self._trace.touched:  # weights are altered by whoever measures, and put back
                    record.keep(tensor)
        if index in self._returning:
            own = (
                tensor if storage in self._kept else None
                for storage, tensor in zip(call.storages, tensors, strict=True)
            )
            record.returned[index] = Returned(build, tuple(map(View.of, tensors)), tuple(own))

    def _altered_after(self, storage: int, call: int) -> bool:
        over = self._trace.calls[call].exit
        return any(time > over for time, _ in self._trace.memory[storage].writes)

    def result(self) -> Record:
        """The record, when the forward is over. Raises DivergedError."""
        self._holding.clear()
        self.operations.check()
        if self._calls < sum(call.enter < self._stop for call in self._trace.calls):
            raise DivergedError("fewer modules were called than before")
        self.record.check()
        return self.record


class Operations(TorchDispatchMode):
    """Are the operations the traced ones, on the same memory?"""

    def __init__(self, trace: Trace, stop: int):
        super().__init__()
        self._expected = [operation for operation in trace.operations if operation.time < stop]
        self._next = 0
        # Storages now, by those of the trace. Weights are the same ones.
        self._weights = trace.weights
        self._places = {storage: storage for storage in trace.weights}
        self._astray: DivergedError | None = None
        self.finished = False
        self.paused = False

    def begin(self, inputs: Sequence[int], now: Sequence[int]) -> None:
        """The storages `now` are those of the forward's arguments."""
        self._places.update(zip(now, inputs, strict=True))

    def enough(self) -> None:
        self.finished = True
        raise Enough

    def astray(self, message: str) -> None:
        """Kept as well as raised: a network may catch it."""
        self._astray = self._astray or DivergedError(message)
        raise self._astray

    @property
    def strayed(self) -> bool:
        return self._astray is not None

    def check(self) -> None:
        """Raises DivergedError if the operations were not those of the trace, or not all of them."""
        if self._astray is not None:
            raise self._astray
        if self._next < len(self._expected):
            raise DivergedError(f"{self._expected[self._next].function} was not carried out")

    def compare(self, expected: Sequence[int], now: Sequence[int]) -> None:
        """Are the storages `now` those that the trace had there?"""
        for place, then in zip(now, expected, strict=True):
            # What was not seen before is a constant of the network's code, made anew in each forward, but no weight.
            known = self._places.get(place)
            if known is None:
                known = self._places[place] = place if then in self._weights else then
            if known != then:
                self.astray("a tensor was used where the traced forward used another one")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        if self._next == len(self._expected):
            self.enough()
        expected = self._expected[self._next]
        given = storages((args, kwargs))
        if expected.function is not func or len(expected.given) != len(given):
            self.astray(f"{func} was carried out where the traced forward did something else")
        self._next += 1
        if func is LITERAL:
            self._places.update(zip(given, expected.given, strict=True))
        self.compare(expected.given, given)
        output = func(*args, **kwargs)
        made = storages(output)
        if len(made) != len(expected.returned):
            self.astray(f"{func} returned something else than in the traced forward")
        for place, then in zip(made, expected.returned, strict=True):
            if place not in given:
                self._places[place] = then  # fresh: at an address that another one may have had before
        self.compare(expected.returned, made)
        return output


def storages(value: Any) -> list[int]:
    """Of each tensor in `value`."""
    return [tensor.untyped_storage()._cdata for tensor in tensors_in(value)]
