"""Two runs in a few numbers, each with its definition."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...store import REINITIALISE
from ...store.verdict import Verdict
from .alignment import align
from .compare import Difference, Spot, difference
from .picture import Picture
from .scene import NETWORK

FEWEST = 3
"""Layers below which a rank correlation is not told: of two it is 1 or -1, whatever they are."""


@dataclass(frozen=True)
class Change:
    """A layer of which the two runs say different things at one column."""

    layer: str
    column: str
    before: Verdict
    """In A."""
    after: Verdict
    """In B."""


@dataclass(frozen=True)
class Summary:
    """B against A, over the places that both have: common layers and common columns, without the whole network."""

    metric: str
    places: int
    """How many have a number in both, and a finite difference."""
    mean: float | None
    """Mean over these of the absolute difference; None for none."""
    largest: float | None
    """The largest absolute difference,"""
    where: tuple[str, str] | None
    """and the (layer, column) it was found at."""
    higher: int
    """At how many B is higher for certain: the interval of the difference lies above 0 (each at its own level)."""
    lower: int
    correlation: float | None
    """Spearman's rank correlation of the errors with each of the common layers put back to checkpoint 0; equal
    ones share their mean rank.  None for fewer than 3 layers measured in both, or if all are equal in one run."""
    ranked: int
    """How many layers that is of."""
    judged: int
    """Places with a verdict in both."""
    changes: tuple[Change, ...]
    """Those with another verdict in B than in A."""

    def counted(self) -> list[tuple[Verdict, Verdict, int]]:
        """(in A, in B, how many), the most frequent first."""
        found: Counter[tuple[Verdict, Verdict]] = Counter((change.before, change.after) for change in self.changes)
        return [(before, after, count) for (before, after), count in found.most_common()]


def summary(a: Picture, b: Picture, metric: str) -> Summary:
    """The numbers of :class:`Summary`."""
    known = [(layer, column, found) for layer, column, found, _, _ in compared(a, b, metric, network=False) if found]
    finite = [one for one in known if math.isfinite(one[2].value)]
    worst = max(finite, key=lambda one: abs(one[2].value), default=None)
    pairs = list(_at_the_start(a, b))
    correlation = spearman([first for first, _ in pairs], [second for _, second in pairs])
    verdicts = list(_verdicts(a, b))
    return Summary(
        metric=metric,
        places=len(finite),
        mean=fmean(abs(one[2].value) for one in finite) if finite else None,
        largest=abs(worst[2].value) if worst else None,
        where=(worst[0], worst[1]) if worst else None,
        higher=sum(one[2].sign == "higher" for one in finite),
        lower=sum(one[2].sign == "lower" for one in finite),
        correlation=correlation if len(pairs) >= FEWEST else None,
        ranked=len(pairs),
        judged=len(verdicts),
        changes=tuple(change for change in verdicts if change.before != change.after),
    )


def compared(
    a: Picture, b: Picture, metric: str, *, network: bool = True
) -> Iterator[tuple[str, str, Difference | None, Spot, Spot]]:
    """(layer, column's label, difference, place in A, place in B) of everything that both runs have."""
    alignment = align((a, b))
    lines: list[tuple[str, tuple[int | None, ...]]] = [(line.name, line.layers) for line in alignment.common_lines]
    if network:
        lines.append((NETWORK, (None, None)))
    for name, layers in lines:
        for column, places in zip(alignment.columns, alignment.places, strict=True):
            if places[0] is None or places[1] is None:
                continue
            at_a, at_b = (layers[0], places[0]), (layers[1], places[1])
            yield name, column.label, difference(a, b, metric, at_a, at_b), at_a, at_b


def _at_the_start(a: Picture, b: Picture) -> Iterator[tuple[float, float]]:
    """(in A, in B): the errors with a layer put back to checkpoint 0, of every single layer that has one in both."""
    alignment = align((a, b))
    places = next(
        (
            places
            for column, places in zip(alignment.columns, alignment.places, strict=True)
            if column.kind == REINITIALISE and column.checkpoint == 0
        ),
        None,
    )
    if places is None or places[0] is None or places[1] is None:
        return
    for line in alignment.common_lines:
        first, second = a.value("error", line.layers[0], places[0]), b.value("error", line.layers[1], places[1])
        if not line.joint and first is not None and second is not None:
            yield first, second


def _verdicts(a: Picture, b: Picture) -> Iterator[Change]:
    for name, label, _, (layer_a, column_a), (layer_b, column_b) in compared(a, b, "error", network=False):
        if layer_a is not None and layer_b is not None:
            before, after = a.verdict(layer_a, column_a), b.verdict(layer_b, column_b)
            if before is not None and after is not None:
                yield Change(name, label, before, after)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.

    None where it is not defined: fewer than two pairs, or all values equal on one side.
    """
    if len(first) < 2:
        return None
    x, y = _ranks(first), _ranks(second)
    middle = (len(x) + 1) / 2
    xs, ys = [rank - middle for rank in x], [rank - middle for rank in y]
    size = math.sqrt(sum(value * value for value in xs) * sum(value * value for value in ys))
    return sum(p * q for p, q in zip(xs, ys, strict=True)) / size if size > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    """1 for the lowest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for index in order[start : end + 1]:
            ranks[index] = (start + end) / 2 + 1
        start = end + 1
    return ranks
