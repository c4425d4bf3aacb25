"""Record a forward once, then run the network from a layer on, as often as its variants need.

A network is *attached* while it is being probed: each of its modules gets a wrapper around its call, as an attribute of
that one object.  Nothing else about it changes, and `detach` takes the wrappers off again.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from .fold import Fold
from .fuse import Fusion
from .purity import Watch
from .recipe import Recipe, compile_recipe
from .record import Arguments, DivergedError, Enough, Record, Recording
from .run import Blank, Run
from .trace import Trace, Tracer, UntraceableError

__all__ = ["Arguments", "DivergedError", "Record", "Replayer", "UnreplayableError"]

_SLOT = "_call_impl"  # what `Module.__call__` looks up on the object


class UnreplayableError(RuntimeError):
    """Why a network cannot be replayed at all."""


class Replayer:
    """A network that can be run from any moment on. Use it inside `with`, under `torch.no_grad()`.

    Raises UnreplayableError from `trace` where the network cannot be followed.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self._wrapped: list[nn.Module] = []
        self._on_call: Callable[[nn.Module, Callable[..., Any], Any, Any], Any] | None = None
        self._recipes: dict[tuple[int, int], Recipe] = {}
        self._blank = Blank()
        self._fused: Mapping[nn.Module, Callable[..., Any]] = {}
        self.fusion: Fusion | None = None
        """Pairs of modules that are computed as one, but for :meth:`full`."""

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
        self._recipes.clear()  # they know their traces by an id, which another one may get
        self._blank, self.fusion = Blank(), None

    def _call(self, module: nn.Module, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        on_call = self._on_call
        if self._fused:
            original = self._fused.get(module, original)
        return original(*args, **kwargs) if on_call is None else on_call(module, original, args, kwargs)

    def _forward(self, arguments: Arguments, on_call: Callable[..., Any] | None, *, fused: bool = True) -> Any:
        fusion = self.fusion if fused else None
        self._on_call = on_call
        self._fused = fusion.forwards if fusion is not None else {}
        if fusion is not None:
            fusion.begin()
        try:
            with _uncompiled() if self._wrapped else nullcontext():
                output = self.model(*arguments.args, **arguments.kwargs)
        except Exception:
            if fusion is not None and fusion.broken:
                raise DivergedError("a norm was called without the convolution before it") from None
            raise
        finally:
            self._on_call, self._fused = None, {}
        if fusion is not None and not fusion.complete:
            raise DivergedError("a convolution was called without the norm that follows it")
        return output

    def full(self, arguments: Arguments) -> Any:
        """A plain forward on copies of the tensors in `arguments`."""
        return self._forward(arguments.copied(), None, fused=False)

    @contextmanager
    def _multiplying(self) -> Iterator[None]:
        """Inside, fused weights are multiplied anew: a forward that is followed uses the network's own."""
        kept = self.fusion is not None and self.fusion.keeping
        if self.fusion is not None:
            self.fusion.keeping = False
        try:
            yield
        finally:
            if self.fusion is not None:
                self.fusion.keeping = kept

    def trace(self, arguments: Arguments) -> Trace:
        """Follow one forward. Raises UnreplayableError."""
        copied = arguments.copied()
        tracer = Tracer(copied.tensors(), [*self.model.parameters(), *self.model.buffers()])
        watch = Watch(self.model, _SLOT)
        try:
            with tracer, self._multiplying():
                self._forward(copied, tracer.call)
            trace = tracer.result()
        except UntraceableError as error:
            raise UnreplayableError(str(error)) from error
        if impurity := watch.impurity():
            raise UnreplayableError(impurity)
        if trace.altered:
            raise UnreplayableError("it alters weights, buffers or other memory of its own in a forward")
        if trace.drawn:
            raise UnreplayableError(f"it draws random numbers in a forward ({trace.drawn})")
        return trace

    def recipe(self, trace: Trace, start: int) -> Recipe:
        """The recipe for `start`, made once."""
        key = (id(trace), start)
        if key not in self._recipes:
            self._recipes[key] = compile_recipe(trace, start)
        return self._recipes[key]

    def record(self, trace: Trace, arguments: Arguments, recipes: Iterable[Recipe]) -> Record:
        """Run the network on `arguments` and keep what `recipes` need. Raises DivergedError."""
        recording = Recording(trace, arguments, list(recipes))
        if not recording.needed:
            return recording.record
        operations = recording.operations
        try:
            with operations, self._multiplying():
                self._forward(recording.given, recording.call)
        except (Enough, Exception):
            if not (operations.finished or operations.strayed):
                raise
        return recording.result()

    def run(self, record: Record, recipe: Recipe, fold: Fold | None = None) -> Any:
        """The network's output, computed from `recipe.start` on. Raises DivergedError.

        With `fold` it is that of its variants, behind one another; raises UnfoldableError where that cannot be.
        """
        run = Run(record, recipe, self._blank, self.fusion, self._undisturbed, lambda: self._attended(run), fold)
        try:
            output = self._forward(run.arguments(), run.call)
        except Exception:
            run.failed()
            raise
        run.finished()
        return output

    def _undisturbed(self) -> None:
        self._on_call = None

    def _attended(self, run: Run) -> None:
        self._on_call = run.call


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Inside, what `torch.compile` made is not used: it knows nothing of calls that are skipped."""
    if "torch._dynamo" not in sys.modules:  # then nothing was compiled, and to import it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
