"""Runs side by side, and the difference of two: numbers only.

**What is known of a difference.** Let A's error at a place lie in [low A, high A] and B's in [low B, high B], each with
95 % confidence.  If both hold, B - A lies in [low B - high A, high B - low A].  Each fails with at most 5 %;
by Bonferroni's inequality both hold with at least 90 %, whatever the two have to do with each other (runs of one
seed see the test set in one order, so they need not be independent).  Where one of the two saw all examples its error
is known, nothing is lost on it, and the level is 95 %; where both did, the difference is known itself.  Since the two
intervals hold at all looks at once, so does this one.  It is wider than need be, never too narrow, and it speaks of one
place: of many places looked at, some may fail.  Draws: it is of the means of the draws that were made.

Loss and agreement have no interval: their difference is known where both saw all examples, and else only estimated.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from ...store import inert
from . import ramp
from .alignment import Alignment, align, only
from .marks import Place, State, place
from .picture import METRICS, Metric, Picture
from .rows import FOLDED, arranged, criticality, inside
from .scene import Look, Row, Scene
from .survey import joined
from .view import HeatView

CONFIDENCE = 0.95
"""Of an estimate's interval, `low` to `high` in the store."""

Sign = Literal["higher", "lower", "equal", "open"]


@dataclass(frozen=True)
class Difference:
    """B's value less A's at one place, and what is known of it."""

    value: float
    low: float | None = None
    high: float | None = None
    """It lies in low..high with probability `level` at least; None: nothing is known."""
    level: float | None = None
    """1 where both values are known, else 0.95 or 0.9 (see above)."""

    @property
    def exact(self) -> bool:
        """Whether it is known to the last digit."""
        return self.level == 1.0

    @property
    def sign(self) -> Sign:
        """Whether B is higher or lower or equal for certain (at `level`), or whether that is open."""
        if self.low is None or self.high is None:
            return "open"
        if self.low > 0:
            return "higher"
        if self.high < 0:
            return "lower"
        return "equal" if self.low == self.high == 0 else "open"


Spot = tuple[int | None, int]
"""(layer, column) of a picture; layer None is the whole network."""


def difference(a: Picture, b: Picture, metric: str, at_a: Spot | None, at_b: Spot | None) -> Difference | None:
    """The value of `metric` at a place of `b` less that at a place of `a`; None where one of them has none.

    A place is None where a run has no such layer or column.
    """
    if at_a is None or at_b is None:
        return None
    first, second = a.value(metric, *at_a), b.value(metric, *at_b)
    if first is None or second is None:
        return None
    value = second - first
    if not math.isfinite(value):
        return Difference(math.nan)
    if metric in ("l2", "linf"):
        return Difference(value, value, value, 1.0)
    cell_a, cell_b = a.cell(*at_a), b.cell(*at_b)
    if cell_a is None or cell_b is None:
        return None
    open_ends = (not cell_a.exact) + (not cell_b.exact)
    if not open_ends:
        return Difference(value, value, value, 1.0)
    if metric != "error":
        return Difference(value)
    # The ends of an exact estimate are the error itself.
    level = round(1 - open_ends * (1 - CONFIDENCE), 6)
    return Difference(value, cell_b.low - cell_a.high, cell_b.high - cell_a.low, level)


# What is drawn


class _Signed(Metric):
    """A metric's differences: their text has a sign."""

    def text(self, value: float | None, width: int = 5) -> str:
        if value is None or not math.isfinite(value):
            return super().text(value, width)
        text = super().text(abs(value), width - 1)
        sign = "" if float(text) == 0 else "+" if value > 0 else "−"
        return sign + text

    def end(self, value: float) -> str:
        return f"{'+' if value > 0 else '−'}{super().end(abs(value))}"


class _Shift(Metric):
    """From one verdict to another."""

    def text(self, value: float | None, width: int = 5) -> str:
        if value is None:
            return ""
        words = ("=", "same") if value == 0 else ("+", "worse") if value > 0 else ("−", "better")
        return words[width >= len("better")]

    def end(self, value: float) -> str:
        return "+ worse" if value > 0 else "− better"


def signed(metric: Metric) -> Metric:
    """How differences of `metric` are written."""
    title = metric.title.removesuffix(", %").removesuffix(", points")
    told = f"difference of the {title}" + (", points" if metric.fraction else "")
    return (_Shift if metric.name == "verdict" else _Signed)(**{**vars(metric), "title": told})


def scenes(pictures: Sequence[Picture], view: HeatView, alignment: Alignment | None = None) -> tuple[Scene, ...]:
    """One scene for each picture: the same rows and columns, and one scale for all.

    Sorted by criticality (:func:`.rows.criticality`) the order is that of the mean over the runs that have the layer.
    A folded row shows each run's own worst layer.
    """
    known = alignment or align(pictures)
    lines = ordered(known, pictures, view)
    scale = common_scale(pictures, view.metric, ramp.ramp_named(view.ramp))
    return tuple(_side(known, lines, number, picture, scale, view) for number, picture in enumerate(pictures))


def common_scale(pictures: Sequence[Picture], metric: str, colours: ramp.Ramp = ramp.HOT) -> ramp.Scale:
    """The scale that holds those of all pictures."""
    found = [ramp.scale(picture, metric, colours) for picture in pictures]
    return replace(found[0], low=min(scale.low for scale in found), high=max(scale.high for scale in found))


def _side(
    alignment: Alignment, rows: Sequence[Row], number: int, picture: Picture, scale: ramp.Scale, view: HeatView
) -> Scene:
    columns = [found[number] for found in alignment.places]

    def looks(layer: int | None) -> tuple[Look, ...]:
        places = [_NOWHERE if at is None else place(picture, view.metric, layer, at) for at in columns]
        return tuple(Look(found, scale.level(found.value)) for found in places)

    def of_line(line: int) -> tuple[Look, ...]:
        layer = alignment.lines[line].layers[number]
        return (Look(_NOWHERE),) * len(columns) if layer is None else looks(layer)

    drawn = [looks(None) if row.network else joined([of_line(line) for line in row.layers], scale) for row in rows]
    own = [_row(alignment, row, (number,)) for row in rows]
    return _scene(alignment, own, drawn, scale, METRICS[view.metric], view, picture.run.name)


def difference_scene(a: Picture, b: Picture, view: HeatView, alignment: Alignment | None = None) -> Scene:
    """Value of `b` less value of `a` at every place, on a diverging scale that is as wide on both sides.

    Where a number still moves on either side, so does the difference: it has the mark of an estimate.  Sorted by
    criticality the rows with the largest differences stand first.  A folded row shows the largest difference of its
    layers, of one and the same layer in both runs.
    """
    known = alignment or align((a, b))
    rows = ordered(known, (a, b), view, differences=True)
    spots = [[spots_of(line.layers, found) for found in known.places] for line in known.lines]
    network = [spots_of(None, found) for found in known.places]
    scale = difference_scale(a, b, view.metric, (spot for row in (*spots, network) for spot in row))

    def looks(row: Sequence[tuple[Spot | None, Spot | None]]) -> tuple[Look, ...]:
        places = [difference_place(a, b, view.metric, *spot) for spot in row]
        return tuple(Look(found, scale.level(found.value)) for found in places)

    drawn = [
        looks(network) if row.network else joined([looks(spots[line]) for line in row.layers], scale) for row in rows
    ]
    own = [_row(known, row, (0, 1)) for row in rows]
    return _scene(known, own, drawn, scale, signed(METRICS[view.metric]), view, "difference")


_NOWHERE = Place(State.UNAVAILABLE)
"""Of a run that has no such layer or column."""


def difference_place(a: Picture, b: Picture, metric: str, at_a: Spot | None, at_b: Spot | None) -> Place:
    """What a place of the difference map is; a spot is None where a run has no such layer or column."""
    if at_a is None or at_b is None:
        return _NOWHERE
    sides = place(a, metric, *at_a), place(b, metric, *at_b)
    states = {side.state for side in sides}
    # The worst of both: what cannot be comes before what is not there yet.
    for state in (State.NONE, State.UNAVAILABLE, State.DAMAGED, State.MISSING):
        if state in states:
            return Place(state)
    found = difference(a, b, metric, at_a, at_b)
    return Place(State.ESTIMATE if State.ESTIMATE in states else State.DONE, None if found is None else found.value)


def difference_scale(
    a: Picture, b: Picture, metric: str, spots: Iterable[tuple[Spot | None, Spot | None]]
) -> ramp.Scale:
    """A diverging scale as far as the largest difference at these places, rounded up to 1, 2 or 5 of a power of ten."""
    found = (difference(a, b, metric, *spot) for spot in spots)
    largest = max((abs(one.value) for one in found if one and math.isfinite(one.value)), default=0.0)
    end = 1.0 if metric == "verdict" else rounded_up(largest)
    return ramp.Scale(metric, -end, end, ramp=ramp.DIVERGING)


def rounded_up(value: float) -> float:
    """1, 2 or 5 times a power of ten, at least `value`; 0.01 for nothing."""
    if value <= 0:
        return 0.01
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= value * (1 - 1e-9))


def spots_of(layers: tuple[int | None, ...] | None, columns: tuple[int | None, ...]) -> tuple[Spot | None, Spot | None]:
    """The places of A and B; `layers` None: the whole network."""
    found: list[Spot | None] = []
    for side in (0, 1):
        column, layer = columns[side], None if layers is None else layers[side]
        found.append(None if column is None or (layers is not None and layer is None) else (layer, column))
    return found[0], found[1]


def line_rows(alignment: Alignment) -> tuple[Row, ...]:
    """A row for each line, with the line's index: what is folded and sorted."""
    return tuple(Row(line.name, line.name, (index,), joint=line.joint) for index, line in enumerate(alignment.lines))


def lines_of(alignment: Alignment, key: str | None) -> tuple[int, ...]:
    """The lines (indices) of a row: one, or those of a folded one; none of the whole network's or of no row."""
    if key is not None and key.startswith(FOLDED):
        return inside(line_rows(alignment), key.removeprefix(FOLDED))
    return tuple(index for index, line in enumerate(alignment.lines) if line.name == key)


def worst_line(
    alignment: Alignment,
    picture: Picture,
    number: int,
    metric: str,
    scale: ramp.Scale,
    lines: Sequence[int],
    column: int,
) -> int:
    """Of the lines of a folded row the one whose number it shows of the run of this `number` among the aligned ones."""
    at = alignment.places[column][number]

    def weight(line: int) -> float:
        layer = alignment.lines[line].layers[number]
        return scale.weight(None if layer is None or at is None else picture.value(metric, layer, at))

    return max(lines, key=weight)


def largest_line(
    alignment: Alignment, a: Picture, b: Picture, metric: str, scale: ramp.Scale, lines: Sequence[int], column: int
) -> int:
    """Of the lines of a folded row the one whose difference it shows."""

    def weight(line: int) -> float:
        found = difference(a, b, metric, *spots_of(alignment.lines[line].layers, alignment.places[column]))
        return scale.weight(found.value if found else None)

    return max(lines, key=weight)


def _row(alignment: Alignment, row: Row, runs: tuple[int, ...]) -> Row:
    """A row of lines as one of layers: those of the first of `runs` that has them; told who else has them."""
    lines = [alignment.lines[index].layers for index in row.layers]
    owners = [any(layer is not None for layer in layers) for layers in zip(*lines, strict=True)]
    found = [next((layers[number] for number in runs if layers[number] is not None), None) for layers in lines]
    layers = tuple(layer for layer in found if layer is not None)
    return replace(row, name=inert(row.name) + only(owners), short=row.name, layers=layers)


def _scene(
    alignment: Alignment,
    rows: Sequence[Row],
    looks: Sequence[tuple[Look, ...]],
    scale: ramp.Scale,
    metric: Metric,
    view: HeatView,
    key: str,
) -> Scene:
    states = frozenset(look.place.state for row in looks for look in row)
    return Scene(
        columns=alignment.columns,
        rows=tuple(rows),
        looks=tuple(looks),
        scale=scale,
        metric=metric,
        digits=view.digits,
        overview=view.overview,
        key=key,
        states=states,
    )


# In which order


def ordered(
    alignment: Alignment, pictures: Sequence[Picture], view: HeatView, *, differences: bool = False
) -> tuple[Row, ...]:
    """The rows as the view wants them, with the lines (indices) of each: folded or not, and by depth, or the most
    critical (or most different) first and unknown ones last."""

    def rank(index: int) -> float:
        line = alignment.lines[index]
        if differences:
            found = [
                difference(pictures[0], pictures[1], view.metric, *spots_of(line.layers, places))
                for places in alignment.places
            ]
            return max((abs(one.value) for one in found if one and math.isfinite(one.value)), default=-1.0)
        found = [rise[layer] for rise, layer in zip(rises, line.layers, strict=True) if layer is not None]
        known = [rise for rise in found if math.isfinite(rise)]
        return fmean(known) if known else -math.inf

    # As in the heatmap of each run alone.
    rises = [criticality(picture) for picture in pictures] if view.order == "criticality" and not differences else []
    return arranged(line_rows(alignment), view, rank)
