"""The outputs of a network's variants: by replay where that is right, by full forwards everywhere else.

A *variant* is the network with other values in the place of some tensors.  Before the replays of a row and a kind of
intervention are trusted, one actual variant is compared with a plain forward on a slice of the data, its values copied
into the weights (the reference evaluator's way).  Where the two differ, or replay cannot be used, full forwards are
made instead, and the reason is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .device import out_of_memory
from .interventions import applied
from .precision import Precision
from .replay.recipe import Recipe
from .replay.replayer import Arguments, DivergedError, Record, Replayer, UnreplayableError
from .replay.structure import tensors_in
from .replay.swap import Swap
from .replay.trace import Trace

MOST_TRACES = 8
"""Ways through the network (branches on data) that are followed before a batch that takes another is not replayed."""


@dataclass(frozen=True)
class Row:
    """Tensors that are replaced together."""

    name: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """The network with `values` in the place of tensors of `row`, of an intervention's `kind`."""

    row: Row
    kind: str
    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class Fallback:
    """Why the variants of a row are computed by full forwards. `kind` '' stands for every kind."""

    row: str
    kind: str
    reason: str


class Forwards:
    """Variants of one network on one batch after another. Use it inside `with`.

    Inside, the network is in evaluation mode and computes in `precision`; after it, its weights, modes and
    hooks are what they were.  `on_fallback` hears of every fallback, once.
    """

    def __init__(
        self,
        model: nn.Module,
        precision: Precision,
        *,
        replay: bool = True,
        on_fallback: Callable[[Fallback], None] = lambda fallback: None,
    ):
        self.model, self.precision, self.device = model, precision, precision.device
        self.fallbacks: dict[tuple[str, str], Fallback] = {}
        self._on_fallback = on_fallback
        self._unreplayable = "" if replay else "full forwards were asked for"
        self._replayer = Replayer(model)
        self._traces: list[Trace] = []
        self._checked: set[tuple[str, str]] = set()
        self._starts: dict[tuple[int, str], int] = {}
        self._slice: Arguments | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Forwards":
        with ExitStack() as stack:
            stack.enter_context(_evaluating(self.model))
            if self.precision.prefers_channels_last(self.model):
                stack.enter_context(_channels_last(self.model))
            if not self._unreplayable:
                try:
                    stack.enter_context(self._replayer)
                except UnreplayableError as error:
                    self._unreplayable = str(error)
            self.swap = Swap(self.model)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._traces.clear()
        self._starts.clear()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.no_grad(), self.precision.active():
            yield

    @property
    def replays(self) -> bool:
        """Whether replay can be used at all."""
        return not self._unreplayable

    def give_up(self, reason: str) -> None:
        """Full forwards only, from now on."""
        self._unreplayable = reason

    def depth(self, row: Row) -> int:
        """When, in a forward, a row's variants begin: for ordering them."""
        return self.recipe(self._traces[0], row).start if self._traces else 0

    def prepare(self, arguments: Arguments) -> None:
        """Follow the network on a few examples; what is checked is checked on them. Once."""
        if self._slice is not None:
            return
        self._slice = arguments = arguments.compact()
        # Twice: what a network keeps from its first forward on (tables of positions, say) does not change later.
        self.full(arguments)
        if not self._unreplayable:
            try:
                self._traces.append(self._traced(arguments))
            except UnreplayableError as error:
                self._unreplayable = str(error)
            except (RuntimeError, NotImplementedError, TypeError) as error:
                if out_of_memory(error):
                    raise
                self._unreplayable = f"following it failed ({type(error).__name__}: {error})"

    def full(self, arguments: Arguments) -> Any:
        """A plain forward."""
        with self._computing():
            return self._replayer.full(arguments)

    def reference(self, variant: Variant, arguments: Arguments) -> Any:
        """A variant by a full forward, its values copied into the weights and taken out again."""
        with applied(self.model, variant.values):
            return self.full(arguments)

    def memory(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Bytes that one example takes: (at the peak of a forward, kept in a record for `rows`)."""
        assert self._slice is not None
        if not self._traces:
            return 0, 0
        examples = max(1, next((len(tensor) for tensor in self._slice.tensors()), 1))
        record = self._recorded(self._traces[0], self._slice, rows)
        return self._traces[0].peak // examples, record.bytes // examples

    def open(self, arguments: Arguments, rows: Sequence[Row]) -> "Batch":
        """A batch on which variants of `rows` will be computed: the one forward that they share is made here."""
        arguments = arguments.compact()
        wanted = [row for row in rows if (row.name, "") not in self.fallbacks]
        if self._unreplayable:
            for row in wanted:
                self._fall_back(Fallback(row.name, "", self._unreplayable))
            return Batch(self, arguments, None, {})
        for trace in self._traces:
            try:
                return self._opened(trace, arguments, wanted)
            except DivergedError:
                continue
        if len(self._traces) < MOST_TRACES:
            try:
                self._traces.append(self._traced(arguments))
                return self._opened(self._traces[-1], arguments, wanted)
            except (DivergedError, UnreplayableError):
                pass
        return Batch(self, arguments, None, {}, "the network goes another way on every batch")

    def checked(self, variant: Variant) -> bool:
        """Whether replays of this row and kind are right, as far as one actual variant on a slice can show."""
        key = (variant.row.name, variant.kind)
        if key in self.fallbacks or (variant.row.name, "") in self.fallbacks:
            return False
        if key in self._checked:
            return True
        assert self._slice is not None
        wrong = self._difference(variant, self._slice)
        if wrong:
            self._fall_back(Fallback(*key, wrong))
            return False
        self._checked.add(key)
        return True

    def _difference(self, variant: Variant, arguments: Arguments) -> str:
        """What is wrong with a replay of `variant`; empty where it is right."""
        trace = self._traces[0]
        try:
            record = self._recorded(trace, arguments, [variant.row])
            replayed = self.replayed(record, self.recipe(trace, variant.row), variant)
        except DivergedError as error:
            return f"with it the network goes another way ({error})"
        except Exception as error:  # somebody's network; the full forward says whether it is its own fault
            if out_of_memory(error):
                raise
            self.reference(variant, arguments)
            return f"replay failed ({type(error).__name__}: {error})"
        return _compare(self.reference(variant, arguments), replayed, self.precision.tolerance)

    def replayed(self, record: Record, recipe: Recipe, variant: Variant) -> Any:
        with self.swap.swapped(variant.values), self._computing():
            return self._replayer.run(record, recipe)

    def recipe(self, trace: Trace, row: Row) -> Recipe:
        """How to run from the first use of any of the row's tensors on."""
        key = (id(trace), row.name)
        if key not in self._starts:
            used = [trace.touched[s] for s in self.swap.storages(row.tensors) if s in trace.touched]
            # Never used (an unused branch): nothing is computed but what stands outside of all calls.
            self._starts[key] = min(used, default=trace.calls[0].exit)
        return self._replayer.recipe(trace, self._starts[key])

    def diverged(self, variant: Variant, error: DivergedError) -> None:
        """A replay that was trusted noticed that it was wrong."""
        self._fall_back(Fallback(variant.row.name, variant.kind, f"with it the network goes another way ({error})"))

    def _traced(self, arguments: Arguments) -> Trace:
        with self._computing():
            return self._replayer.trace(arguments)

    def _recorded(self, trace: Trace, arguments: Arguments, rows: Sequence[Row]) -> Record:
        recipes = [self.recipe(trace, row) for row in rows]
        with self._computing():
            return self._replayer.record(trace, arguments, recipes)

    def _opened(self, trace: Trace, arguments: Arguments, rows: Sequence[Row]) -> "Batch":
        record = self._recorded(trace, arguments, rows)
        return Batch(self, arguments, record, {row.name: self.recipe(trace, row) for row in rows})

    def _fall_back(self, fallback: Fallback) -> None:
        key = (fallback.row, fallback.kind)
        if key not in self.fallbacks:
            self.fallbacks[key] = fallback
            self._on_fallback(fallback)


class Batch:
    """One batch of examples, with what was recorded of it."""

    def __init__(
        self,
        forwards: Forwards,
        arguments: Arguments,
        record: Record | None,
        recipes: Mapping[str, Recipe],
        reason: str = "",
    ):
        self.arguments = arguments
        self._forwards, self._record, self._recipes, self._reason = forwards, record, recipes, reason

    def output(self, variant: Variant) -> tuple[Any, str]:
        """A variant's output, and why it was not replayed ('' where it was)."""
        forwards, recipe = self._forwards, self._recipes.get(variant.row.name)
        if self._record is not None and recipe is not None and forwards.checked(variant):
            try:
                return forwards.replayed(self._record, recipe, variant), ""
            except DivergedError as error:
                forwards.diverged(variant, error)
        found = forwards.fallbacks.get((variant.row.name, "")) or forwards.fallbacks.get(
            (variant.row.name, variant.kind)
        )
        return forwards.reference(variant, self.arguments), found.reason if found else self._reason


def _compare(full: Any, replayed: Any, tolerance: float) -> str:
    expected, got = tensors_in(full), tensors_in(replayed)
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in got]:
        return "replay gives something of another shape"
    for one, other in zip(expected, got, strict=True):
        one, other = one.double(), other.double()
        if not torch.equal(one.isfinite(), other.isfinite()):
            return "replay differs from a full forward in which numbers are finite"
        finite = one.isfinite()
        one, other = one[finite], other[finite]
        if one.numel():
            difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
            if difference > tolerance:
                return f"replay differs from a full forward by {difference:.1e}, relative to the largest output"
    return ""


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _channels_last(model: nn.Module) -> Iterator[None]:
    """Copies of the convolutions' weights in the memory order that is faster; the model's own come back untouched."""
    swap = Swap(model)
    convolutions = {
        name: tensor.to(memory_format=torch.channels_last)
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, Tensor) and tensor.dim() == 4 and tensor.is_floating_point()
    }
    with swap.swapped(convolutions):
        yield
