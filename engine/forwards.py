"""The outputs of a network's variants: by replay where that is right, by full forwards everywhere else.

A *variant* is the network with other values in the place of some tensors.  :mod:`.trust` says whose replays are right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .agreement import differ
from .device import out_of_memory
from .folding import Folds, most_folded
from .footprint import peak_bytes
from .interventions import applied
from .mixing import mixing
from .opened import Batch
from .precision import Precision
from .replay.fold import Fold
from .replay.fuse import Fusion
from .replay.purity import Places, Sums, left_alone, put_back
from .replay.recipe import Recipe
from .replay.replayer import Arguments, DivergedError, Record, Replayer, UnreplayableError
from .replay.swap import Swap
from .replay.trace import Trace
from .state import evaluating
from .trust import Fallback, Trust

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


class Forwards:
    """Variants of one network on one batch after another. Use it inside `with`.

    Inside, the network is in evaluation mode and computes in `precision`; after it, its weights, modes and
    hooks are what they were.  `on_fallback` hears of every fallback, once; `on_trusted` of each row and kind whose
    replays were proven right.
    """

    def __init__(
        self,
        model: nn.Module,
        precision: Precision,
        *,
        replay: bool = True,
        on_fallback: Callable[[Fallback], None] = lambda fallback: None,
        on_trusted: Callable[[str, str], None] = lambda row, kind: None,
    ):
        self.model, self.precision, self.device = model, precision, precision.device
        self.trust = Trust(self, on_fallback, on_trusted)
        self._unreplayable = "" if replay else "full forwards were asked for"
        self._replayer = Replayer(model)
        self._traces: list[Trace] = []
        self._starts: dict[tuple[int, str], int] = {}
        self._folds = Folds(self)
        self.mixes = ""
        """What to know of a network in which examples are not each for themselves; '' of all others."""
        self._slice: Arguments | None = None
        self.trained: Any = None
        """The trained network's output for the slice."""
        self._layout = ExitStack()
        self._counting: list[tuple[Tensor, Tensor]] = []  # buffers that each forward alters, with their trained values
        self._moving: Places | None = None  # weights and buffers that each forward puts something else in the place of
        self._stack = ExitStack()

    def __enter__(self) -> "Forwards":
        with ExitStack() as stack:
            stack.enter_context(left_alone(self.model))
            stack.enter_context(evaluating(self.model))
            self._layout = stack.enter_context(ExitStack())
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
        self.trust.clear()
        self._slice = self.trained = None
        self._folds.clear()
        self._counting, self._moving = [], None

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.no_grad(), self.precision.active():
            yield

    @property
    def fallbacks(self) -> Mapping[tuple[str, str], Fallback]:
        """What is not replayed, by row and kind."""
        return self.trust.fallbacks

    @property
    def replays(self) -> bool:
        """Whether replay can be used at all."""
        return not self._unreplayable

    def give_up(self, reason: str) -> None:
        """Full forwards only, from now on."""
        self._unreplayable = reason

    @property
    def slice(self) -> Arguments:
        """The few examples that replays are checked on."""
        assert self._slice is not None
        return self._slice

    def depth(self, row: Row) -> int:
        """When, in a forward, a row's variants begin: for ordering them."""
        return self.recipe(self._traces[0], row).start if self._traces else 0

    def prepare(self, arguments: Arguments) -> None:
        """Follow the network on a few examples; what is checked is checked on them. Once."""
        if self._slice is not None:
            return
        arguments = arguments.compact()
        # Twice: what a network keeps from its first forward on (tables of positions, say) does not change later.
        self._warm_up(arguments)
        self._slice = arguments
        self.mixes = mixing(self.full, arguments, self.trained, self.precision.rounding(self.model))
        if not self._unreplayable:
            try:
                self._traces.append(self._fused(self._traced(arguments), arguments))
            except UnreplayableError as error:
                self._unreplayable = str(error)

    def _fused(self, trace: Trace, arguments: Arguments) -> Trace:
        """The trace of a network whose norms are taken into the convolutions before them, where that is exact enough.

        In fewer bits it rounds in other places, and was no faster where it was measured.
        """
        fusion = Fusion(trace) if self.precision.name == "fp32" else None
        if not fusion:
            return trace
        self._replayer.fusion = fusion
        try:
            fused = self._traced(arguments)
        except UnreplayableError:
            self._replayer.fusion = None
            return trace
        with self._computing():
            fusion.keep()
        return fused

    def _warm_up(self, arguments: Arguments) -> None:
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        places, sums = Places(self.model), Sums(self.model)
        self.trained = self.full(arguments)
        if moved := places.left():
            moved.restore()
            self._moving = moved
            self._unreplayable = (
                self._unreplayable or "it puts others in the place of its weights or buffers in a forward"
            )
        elif self.precision.prefers_channels_last(self.model):
            self._layout.enter_context(_channels_last(self.model))
            # A network may have been written for one memory order only: `view` after a convolution is one such case,
            # and `as_strided` gives other numbers.
            try:
                turned = self.full(arguments)
                if differ(self.trained, turned, self.precision.rounding(self.model)):
                    self._layout.close()
                else:
                    self.trained = turned
            except Exception as error:
                self._layout.close()
                if out_of_memory(error):
                    raise
        self._counting = put_back(buffers)
        sums.refuse_altered()

    def full(self, arguments: Arguments) -> Any:
        """A plain forward."""
        with self._computing():
            try:
                output = self._replayer.full(arguments)
            finally:
                if self._moving is not None:
                    self._moving.restore()
            for buffer, value in self._counting:
                buffer.copy_(value)
            return output

    def works(self) -> bool:
        """Whether the network, as it was trained, still runs on the slice: a lost device, say, computes nothing."""
        try:
            self.full(self.slice)
        except Exception:
            return False
        return True

    def reference(self, variant: Variant, arguments: Arguments) -> Any:
        """A variant by a full forward, its values copied into the weights and taken out again."""
        with applied(self.model, variant.values):
            return self.full(arguments)

    def memory(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Bytes that one example takes: (at the peak of a forward, kept in a record for `rows`); 0: not to be known."""
        examples = self.tried
        if not self._traces:
            return self._measured_peak() // examples, 0
        peak = self._traces[0].peak // examples
        try:
            return peak, self.recorded(self._traces[0], self.slice, rows).bytes // examples
        except Exception as error:  # opening a batch will say the same
            if out_of_memory(error):
                raise
            return peak, 0

    @property
    def tried(self) -> int:
        """Examples of a forward that memory has sufficed for."""
        return self.slice.examples

    def _measured_peak(self) -> int:
        """Of a plain forward of the slice, where nothing followed it."""
        try:
            return peak_bytes(lambda: self.full(self.slice), self.device)
        except Exception as error:  # a network that does not bear to be looked at
            if out_of_memory(error):
                raise
            return 0

    def open(self, arguments: Arguments, rows: Sequence[Row]) -> Batch:
        """A batch on which variants of `rows` will be computed: the one forward that they share is made here."""
        arguments = arguments.compact()
        wanted = [row for row in rows if (row.name, "") not in self.fallbacks]
        if self._unreplayable:
            for row in wanted:
                self.trust.fall_back(Fallback(row.name, "", self._unreplayable))
            return Batch(self, arguments, None, {})
        reason = ""
        for trace in self._traces:
            try:
                return self._opened(trace, arguments, wanted)
            except DivergedError:
                continue
            except Exception as error:  # the full forwards will say whether it is the network's own fault
                if out_of_memory(error):
                    raise
                return Batch(self, arguments, None, {}, f"recording failed ({type(error).__name__}: {error})")
        if len(self._traces) == MOST_TRACES:
            return Batch(self, arguments, None, {}, "the network goes another way on every batch")
        try:
            trace = self._traced(arguments)
            batch = self._opened(trace, arguments, wanted)
        except UnreplayableError as error:
            reason = f"on this batch {error}"
        except DivergedError as error:
            reason = f"the network does not do the same with the same batch ({error})"
        else:
            self._traces.append(trace)
            return batch
        return Batch(self, arguments, None, {}, reason)

    def checked(self, variant: Variant, trace: Trace, arguments: Arguments) -> bool:
        """Whether replays of this row and kind are right. See :meth:`Trust.checked`."""
        return self.trust.checked(variant, trace, self._traces.index(trace), arguments)

    def most_folded(self, examples: int, batch_size: int) -> int:
        """How many variants of a row may share a run, of `examples` examples each."""
        return most_folded(self.device.type, examples, batch_size) if self.replays else 1

    def outputs(self, record: Record, variants: Sequence[Variant], batch: Batch) -> Any | None:
        """The output of variants of one row and kind, behind one another, where that is known to be right."""
        if not self.checked(variants[0], record.trace, batch.arguments):
            return None
        return self._folds.output(record, self._traces.index(record.trace), variants, batch.arguments)

    @property
    def unfolded(self) -> Mapping[str, str]:
        """By row: why its variants are computed one by one, or in some batches."""
        return self._folds.reasons

    def distract(self, arguments: Arguments) -> None:
        """A forward of other data in between: what is kept out of sight (in a hook's variables, say) becomes wrong."""
        try:
            self.full(arguments.another())
        except Exception as error:
            if out_of_memory(error):
                raise

    def replayed(self, record: Record, recipe: Recipe, variant: Variant) -> Any:
        with self.swap.swapped(variant.values), self._computing():
            return self._replayer.run(record, recipe)

    def folded(self, record: Record, recipe: Recipe, fold: Fold) -> Any:
        """Several variants at once, as :class:`Folds` finds it right. Raises DivergedError, UnfoldableError."""
        with self._computing():
            return self._replayer.run(record, recipe, fold)

    def recipe(self, trace: Trace, row: Row) -> Recipe:
        """How to run from the first use of any of the row's tensors on."""
        key = (id(trace), row.name)
        if key not in self._starts:
            used = [trace.touched[s] for s in self.swap.storages(row.tensors) if s in trace.touched]
            # Never used (an unused branch): nothing is computed but what stands outside of all calls.
            self._starts[key] = min(used, default=trace.calls[0].exit)
        return self._replayer.recipe(trace, self._starts[key])

    def _traced(self, arguments: Arguments) -> Trace:
        """Raises UnreplayableError."""
        try:
            with self._computing():
                return self._replayer.trace(arguments)
        except UnreplayableError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise UnreplayableError(f"following it failed ({type(error).__name__}: {error})") from error

    def recorded(self, trace: Trace, arguments: Arguments, rows: Sequence[Row]) -> Record:
        recipes = [self.recipe(trace, row) for row in rows]
        with self._computing():
            return self._replayer.record(trace, arguments, recipes)

    def _opened(self, trace: Trace, arguments: Arguments, rows: Sequence[Row]) -> Batch:
        record = self.recorded(trace, arguments, rows)
        return Batch(self, arguments, record, {row.name: row for row in rows})

    def again(self, record: Record, arguments: Arguments, rows: Sequence[Row]) -> Record | None:
        """A record like one that was spoilt."""
        try:
            return self.recorded(record.trace, arguments, rows)
        except DivergedError:
            return None


@contextmanager
def _channels_last(model: nn.Module) -> Iterator[None]:
    """Copies of the convolutions' weights in the memory order that is faster; the model's own come back untouched."""
    swap = Swap(model)
    own = model.state_dict()
    names = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    convolutions = {name: own[name].to(memory_format=torch.channels_last) for name in names if name in own}
    with swap.swapped(convolutions):
        yield
