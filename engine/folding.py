"""Several variants of a row as one batch: only where that was seen to give what plain forwards give.

Whether it does cannot be read off a network (a batch that is broadcast, reshaped across or not there at all makes it
wrong without an error).  So two actual variants are compared with full forwards on the slice that replays are checked
on, and a run of a size that was not used before with one replay.  Where anything differs or fails, variants of that row
and kind are replayed one by one, as they would be otherwise.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .agreement import CHECKS, TELLING, differ
from .device import out_of_memory
from .replay.fold import Fold, Folding, UnfoldableError
from .replay.record import Arguments, Record
from .replay.structure import tensors_in
from .replay.trace import Trace

if TYPE_CHECKING:
    from .forwards import Forwards, Variant

ON_A_CPU = (16, 3, 128)
"""Examples of a variant at most, variants at least, examples of all of them at most: where Python's cost for each call
is what takes the time.  See tests/benchmarks/folding.py: folded runs of more examples took longer than single ones."""


def most_folded(device: str, examples: int, batch_size: int) -> int:
    """How many variants share a run, of `examples` examples each, where a batch may have `batch_size`; 1: none.

    It depends on nothing that changes from one run to the next of the same command on the same machine.
    """
    longest, fewest, most = ON_A_CPU if device == "cpu" else (batch_size, 2, batch_size)
    found = min(batch_size, most) // max(1, examples)
    return found if examples <= longest and found >= fewest else 1


_Key = tuple[str, str, int]
"""Row, kind, trace."""

_Size = tuple[str, str, int, int, int]
"""The same, examples of a variant, variants."""


class Folds:
    """Which rows and kinds can be folded, found out when they first are to be."""

    def __init__(self, forwards: "Forwards"):
        self._forwards = forwards
        self._foldings: dict[tuple[int, str, frozenset[str]], Folding] = {}
        self._checked: dict[_Key, int] = {}  # checks that are still to be made
        self._sizes: set[_Size] = set()  # that were compared
        self._never: dict[_Key | _Size, str] = {}

    def clear(self) -> None:
        """Nothing is known any more."""
        self._foldings.clear()
        self._checked.clear()
        self._sizes.clear()
        self._never.clear()

    @property
    def reasons(self) -> dict[str, str]:
        """By row: why its variants are not folded, or not in every number."""
        return {key[0]: reason for key, reason in self._never.items()}

    def output(self, record: Record, place: int, variants: "Sequence[Variant]", arguments: Arguments) -> Any | None:
        """The output of several variants of one row and kind, behind one another; None where it could be wrong.

        `record` is of the trace at `place`, on `arguments`.
        """
        key = (variants[0].row.name, variants[0].kind, place)
        size = (*key, _examples(record), len(variants))
        if key in self._never or size in self._never:
            return None
        now: _Key | _Size = key
        try:
            if self._checked.get(key, CHECKS):
                proven = self._check(record.trace, variants, arguments if place else self._forwards.slice)
                self._checked[key] = 0 if proven else self._checked.get(key, CHECKS) - 1
            # A table as long as a batch looks like one: that says nothing of batches of another length.
            now = size
            return self._run(record, size, variants)
        except Exception as error:  # replays, one by one, will say whether it is the network's own fault
            told = "memory does not suffice" if out_of_memory(error) else f"{type(error).__name__}: {error}"
            self._never[now] = str(error) if isinstance(error, UnfoldableError) else told
            return None

    def _check(self, trace: Trace, variants: "Sequence[Variant]", arguments: Arguments) -> bool:
        """Whether two variants prove that folding is right. Raises UnfoldableError where they show that it is not."""
        forwards, tolerance = self._forwards, self._forwards.precision.tolerance
        pair = [variants[0], variants[-1]]
        record = forwards.recorded(trace, arguments, [pair[0].row])
        forwards.distract(arguments)
        parts = _parts(self._folded(record, pair), 2)
        one, other = (forwards.reference(variant, arguments) for variant in pair)
        for full, part in zip((one, other), parts, strict=True):
            if wrong := differ(full, part, tolerance):
                raise UnfoldableError(f"a folded run {wrong}")
        return bool(differ(one, other, TELLING * tolerance))

    def _run(self, record: Record, size: _Size, variants: "Sequence[Variant]") -> Any:
        output = self._folded(record, variants)
        if size not in self._sizes:
            recipe = self._forwards.recipe(record.trace, variants[-1].row)
            alone = self._forwards.replayed(record, recipe, variants[-1])
            if wrong := differ(alone, _parts(output, len(variants))[-1], self._forwards.precision.tolerance):
                raise UnfoldableError(f"a folded run of {len(variants)} variants {wrong}")
            self._sizes.add(size)
        return output

    def _folded(self, record: Record, variants: "Sequence[Variant]") -> Any:
        forwards, trace, row = self._forwards, record.trace, variants[0].row
        values = [variant.values for variant in variants]
        # A variant may bring more than its row: statistics of the norms that the row feeds.
        names = frozenset(row.tensors).union(*values)
        recipe, key = forwards.recipe(trace, row), (id(trace), row.name, names)
        if key not in self._foldings:
            self._foldings[key] = Folding(trace, recipe.start, forwards.swap.storages(names))
        return forwards.folded(
            record, recipe, Fold(self._foldings[key], values, _examples(record), forwards.swap.swapped)
        )


def _examples(record: Record) -> int:
    return record.arguments.examples


def _parts(output: Any, variants: int) -> list[list[Tensor]]:
    """The tensors of each variant. Raises UnfoldableError."""
    tensors = tensors_in(output)
    if not all(tensor.dim() and len(tensor) % variants == 0 for tensor in tensors):
        raise UnfoldableError("the network returns something without an axis of examples")
    split = [tensor.chunk(variants) if len(tensor) else (tensor,) * variants for tensor in tensors]
    return [list(members) for members in zip(*split, strict=True)]
