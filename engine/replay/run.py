"""One run of a network from a moment on: what each call of a module returns, or that it is carried out."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn

from .fold import Fold, UnfoldableError
from .fuse import Fusion
from .recipe import INPUT, Recipe, Snapshot, Step
from .record import Arguments, DivergedError, Record, View
from .structure import take_apart


class Blank:
    """Memory that nobody looks at."""

    def __init__(self) -> None:
        self._storage: UntypedStorage | None = None

    def under(self, view: View) -> Tensor:
        """A tensor of a view's shape: all ones, which is NaN in every floating type."""
        if self._storage is None or self._storage.nbytes() < view.bytes or self._storage.device != view.device:
            flat = torch.full((view.bytes,), 255, dtype=torch.uint8, device=view.device)
            self._storage = flat.untyped_storage()
        return view.on(self._storage)


class Run:
    """A run of `recipe` on `record`, or with `fold` one of several variants, behind one another.

    `fusion` is the network's.  `undisturbed` is called when the rest of the calls need nobody's attention, `attended`
    when they do again.
    """

    def __init__(
        self,
        record: Record,
        recipe: Recipe,
        blank: Blank,
        fusion: Fusion | None,
        undisturbed: Callable[[], None],
        attended: Callable[[], None],
        fold: Fold | None = None,
    ):
        self._record, self._recipe, self._blank, self._fusion, self._fold = record, recipe, blank, fusion, fold
        self._undisturbed, self._attended = undisturbed, attended
        self._own = {s: record.storages[s].clone() for s in recipe.altered if s[1] != INPUT}
        self._steps = iter(recipe.steps)
        self._next = 0  # in a folded run: the next call's place in the trace
        self._astray: DivergedError | UnfoldableError | None = None

    def arguments(self) -> Arguments:
        """What the network is called with. Raises UnfoldableError."""
        given, snapshots = self._record.arguments, self._recipe.inputs
        tensors, build = take_apart((given.args, dict(given.kwargs)))
        for tensor, snapshot in zip(tensors, snapshots, strict=True):
            if snapshot[1] == INPUT and snapshot in self._recipe.altered:
                self._own[snapshot] = tensor.untyped_storage().clone()
        places = zip(tensors, snapshots, strict=True)
        return Arguments(*build([self._tensor(snapshot, View.of(tensor), None) for tensor, snapshot in places]))

    def call(self, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a call of `module` gives. Raises DivergedError, UnfoldableError."""
        step = next(self._steps, None)
        if step is not None and step.module is not module:
            self._stray(f"{type(module).__name__} was called where {type(step.module).__name__} had been")
        if self._fold is None and (step is None or not step.skipped):
            if step is None:
                self._undisturbed()
            return original(*args, **kwargs)
        try:
            if step is not None and step.skipped:
                return self._skip(module, step)
            assert self._fold is not None
            return self._folded(self._fold, module, original, args, kwargs)
        except UnfoldableError as error:
            self._astray = self._astray or error
            raise

    def _skip(self, module: nn.Module, step: Step) -> Any:
        returned = self._record.returned[step.call]
        tensors = [
            self._tensor(leaf, view, tensor)
            for leaf, view, tensor in zip(step.leaves, returned.views, returned.tensors, strict=True)
        ]
        if self._fusion is not None and module in self._fusion.forwards:
            self._fusion.skipped(module, tensors)
        self._next = self._record.trace.calls[step.call].last + 1
        return returned.build(tensors)

    def _folded(self, fold: Fold, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A call that is carried out. Nothing else may be called than was for one variant."""
        calls = self._record.trace.calls
        if self._next >= len(calls) or calls[self._next].module is not module:
            self._stray(f"{type(module).__name__} was called where the traced forward did something else")
        call = calls[self._next]
        self._next += 1
        if not fold.splits(call):
            return original(*args, **kwargs)
        fusion = self._fusion if self._fusion is not None and module in self._fusion.forwards else None
        self._undisturbed()
        output = fold.call(original, args, kwargs, (lambda: fusion.forget(module)) if fusion else lambda: None)
        self._attended()
        if fusion is not None:
            fusion.skipped(module, [output])
        self._next = call.last + 1
        return output

    def failed(self) -> None:
        """The run ended in an error. Raises what it was that went wrong, if that is known."""
        self._record.check()
        if self._astray is not None:
            raise self._astray from None

    def finished(self) -> None:
        """The run has ended. Raises DivergedError, UnfoldableError where it was not what it should be."""
        self.failed()
        short = self._fold is not None and self._next < len(self._record.trace.calls)
        if short or next(self._steps, None) is not None:
            raise DivergedError("fewer modules were called than before")

    def _stray(self, message: str) -> None:
        # Kept as well as raised: a network may catch it.
        self._astray = self._astray or DivergedError(message)
        raise self._astray

    def _tensor(self, leaf: Snapshot | None, view: View, tensor: Tensor | None) -> Tensor:
        if self._fold is None:
            return self._blank.under(view) if leaf is None else self._one(leaf, view, tensor)
        if leaf is None:
            return self._blank.under(self._fold.blank(view))
        return self._fold.repeated(self._one(leaf, view, tensor))

    def _one(self, leaf: Snapshot, view: View, tensor: Tensor | None) -> Tensor:
        if leaf in self._own:
            return view.on(self._own[leaf])
        if leaf[1] == INPUT:
            given = self._record.arguments.tensors()
            return view.of_same_version(given[self._record.trace.inputs.index(leaf[0])])
        # The tensor itself, if its storage is the network's own and in the state that is wanted.
        if tensor is not None and leaf in self._record.kept:
            return tensor
        return view.on(self._record.storages[leaf])
