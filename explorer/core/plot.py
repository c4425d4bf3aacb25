"""What a chart shows: series of numbers, scales and ticks. No drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Colour = str | tuple[int, int, int]
"""A word of :mod:`.tones`, or red, green and blue."""


@dataclass(frozen=True)
class Series:
    """One line of a chart. Points that are not finite are left out."""

    label: str
    colour: Colour
    x: Sequence[float]
    y: Sequence[float]
    right: bool = False
    """On the scale at the right."""
    dots: bool = False
    """Mark each point."""
    letter: str = ""
    """Stands for the line at the points `marked`, and in the chart's first line."""
    marked: Sequence[int] = ()
    """Indices of the points that bear the letter."""
    line: bool = True
    """Join the points."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    """A band around the line, filled: its ends at each point; empty, there is none."""
    band: Colour = "faint"

    @property
    def mark(self) -> str:
        """What stands for it in the chart's first line, without any colour: a filled area, points, or a line."""
        if self.letter:
            return f"━{self.letter}━"
        if not self.line:
            return "◆" if self.dots else "█"
        return "●" if self.dots else "━"

    def finite(self) -> tuple[list[float], list[float]]:
        pairs = [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y)]
        return [x for x, _ in pairs], [y for _, y in pairs]

    def bands(self) -> list[tuple[list[float], list[float], list[float]]]:
        """(x, low, high) of each stretch in which the band is wider than a line; its neighbours are its ends."""
        points = list(zip(self.x, self.low, self.high, strict=False)) if len(self.low) == len(self.x) else []
        finite = [math.isfinite(low) and math.isfinite(high) for _, low, high in points]
        wide = [known and point[2] > point[1] for known, point in zip(finite, points, strict=True)]
        found: list[list[tuple[float, float, float]]] = []
        joined = False
        for index, point in enumerate(points):
            near = wide[max(0, index - 1) : index + 2]
            if finite[index] and any(near):
                if not joined:
                    found.append([])
                found[-1].append(point)
            joined = finite[index] and any(near)
        return [([p[0] for p in one], [p[1] for p in one], [p[2] for p in one]) for one in found]


@dataclass(frozen=True)
class Plot:
    """What a chart shows."""

    title: str
    series: tuple[Series, ...] = ()
    x: tuple[float, float] = (0, 1)
    left: tuple[float, float] = (0, 1)
    right: tuple[float, float] | None = None
    x_ticks: Sequence[tuple[float, str]] = ()
    left_ticks: Sequence[tuple[float, str]] = ()
    right_ticks: Sequence[tuple[float, str]] = ()
    level: float | None = None
    """A horizontal dotted line at this height of the left scale."""
    here: float | None = None
    """A vertical dotted line at this place: where the cursor stands."""
    empty: str = ""
    """Said instead of a chart."""
    foot: Sequence[str] = ()
    """Lines below the chart, where there is room for three at least: the most important first."""
    brief: Sequence[str] = ()
    """Lines for where there is room for one or two."""

    @property
    def drawable(self) -> bool:
        """Whether there is any point to draw."""
        return any(series.finite()[0] for series in self.series)
