"""Several variants of a row in one run: their examples lie behind one another in the batch.

What was recorded is repeated along the first axis.  A call that uses the row's tensors is made once for each variant,
on its part of the batch and with its values, and what the calls return is joined; everything else is carried out once,
for all of them.  That is right where a network treats each example by itself and has the examples on the first axis of
what such calls are given and return, which nothing here can know: whoever folds compares with plain forwards first.
What can be seen not to be so is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from .record import View
from .structure import OpaqueError, take_apart
from .trace import Call, Trace

Values = Mapping[str, Tensor]


class UnfoldableError(RuntimeError):
    """Why variants cannot share a run."""


class Folding:
    """How the variants of a row are folded: which calls of the traced forward use its tensors."""

    def __init__(self, trace: Trace, start: int, storages: set[int]):
        """`storages` are the row's, first used at `start`. Raises UnfoldableError."""
        self.trace = trace
        self.calls = _users(trace, start, storages)
        # What the network's code does with a number may be another variant's way, here or on another batch.
        if any(time >= start and not self._within(time) for time in trace.looks):
            raise UnfoldableError("what the network does depends on numbers that the row can change")
        if any(time >= start and not self._within(time) for time in trace.pooled):
            raise UnfoldableError("examples are put together after the row")

    def _within(self, time: int) -> bool:
        return any(self.trace.calls[index].enter < time < self.trace.calls[index].exit for index in self.calls)


def _users(trace: Trace, start: int, storages: set[int]) -> frozenset[int]:
    """The outermost calls that use any of these storages by their own code."""
    uses = [use for storage in storages if storage in trace.memory for use in trace.memory[storage].reads]
    found: set[int] = set()
    for index in {call for _, call in uses}:
        if index <= 0:
            raise UnfoldableError("the network's own code uses the row's tensors")
        found.add(index)
    for index in list(found):
        call = trace.calls[index]
        parent = call.parent
        while parent > 0 and parent not in found:
            parent = trace.calls[parent].parent
        if parent > 0:
            found.discard(index)
        # What is recorded is one variant's: within a call that is made several times it cannot be handed out.
        elif call.last > index and trace.calls[index + 1].enter < start:
            raise UnfoldableError(f"{type(call.module).__name__} calls other modules before it uses the row's tensors")
    return frozenset(found)


class Fold:
    """One folded run of `variants` on `examples` examples each."""

    def __init__(
        self,
        folding: Folding,
        variants: Sequence[Values],
        examples: int,
        swapped: Callable[[Values], AbstractContextManager[None]],
    ):
        self._folding, self._variants, self._examples, self._swapped = folding, variants, examples, swapped
        self._repeated: dict[int, UntypedStorage] = {}

    @property
    def total(self) -> int:
        """Examples of the run."""
        return self._examples * len(self._variants)

    def splits(self, call: Call) -> bool:
        """Whether a call is made once for each variant."""
        return call.index in self._folding.calls

    def blank(self, view: View) -> View:
        """The shape of something that nobody looks at."""
        return self._longer(view, view.stride[0]) if self._by_example(view.size) else view

    def repeated(self, tensor: Tensor) -> Tensor:
        """What was recorded, once for each variant; what has no axis of examples is every variant's. UnfoldableError.

        Storages are repeated, not tensors: what shared memory still does.
        """
        if not self._by_example(tensor.shape):
            return tensor
        view, storage = View.of(tensor), tensor.untyped_storage()
        numbers = storage.nbytes() // tensor.element_size()
        step = numbers // self._examples
        if self._examples > 1 and view.stride[0] == 0 and not tensor.is_conj():
            return self._longer(view, 0).on(storage)
        inner = sum((length - 1) * stride for length, stride in zip(view.size[1:], view.stride[1:], strict=True))
        by_example = step * self._examples == numbers and (self._examples == 1 or view.stride[0] == step)
        if not by_example or view.offset + inner >= step or 0 in view.size:
            raise UnfoldableError("examples do not lie behind one another in memory")
        key = storage._cdata
        if key not in self._repeated:
            flat = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)  # type: ignore[call-overload]
            self._repeated[key] = flat.repeat(len(self._variants)).untyped_storage()
        return self._longer(view, step).on(self._repeated[key])

    def call(self, original: Callable[..., Any], args: Any, kwargs: Any, before: Callable[[], None]) -> Any:
        """A call of a module that uses the row's tensors; `before` each of its parts. Raises UnfoldableError."""
        try:
            tensors, build = take_apart((args, dict(kwargs)))
            parts = []
            for number, values in enumerate(self._variants):
                before()
                own, more = build([self._part(tensor, number) for tensor in tensors])
                with self._swapped(values):
                    parts.append(take_apart(original(*own, **more)))
        except OpaqueError as error:
            raise UnfoldableError(f"a call is given, or returns, {error}") from error
        if len({len(returned) for returned, _ in parts}) > 1:
            raise UnfoldableError("a call returns something else for another variant")
        joined = [self._joined(members) for members in zip(*(returned for returned, _ in parts), strict=True)]
        return parts[0][1](joined)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        if not all(self._by_example(part.shape) for part in parts):
            raise UnfoldableError("a call returns something without an axis of examples")
        return torch.cat(list(parts))

    def _part(self, tensor: Tensor, number: int) -> Tensor:
        if not tensor.dim() or len(tensor) != self.total:
            return tensor
        return tensor.narrow(0, number * self._examples, self._examples)

    def _by_example(self, shape: Sequence[int]) -> bool:
        return len(shape) > 0 and shape[0] == self._examples

    def _longer(self, view: View, step: int) -> View:
        return replace(view, size=(self.total, *view.size[1:]), stride=(step, *view.stride[1:]))
