"""The colours of a heatmap: sixteen levels, dark and cool for low, bright and hot for high.

Every level *is* a colour of the xterm palette's 6 x 6 x 6 cube, so a terminal with 256 colours shows the very same
sixteen as one with 16 million, and no two of them ever fall together.  Relative luminance grows from each level to the
next: the order survives a grey screen, a photocopy and colour-blind eyes.
"""

import math
from dataclasses import dataclass

from .picture import METRICS, Picture

XTERM = (17, 18, 54, 55, 91, 127, 162, 197, 202, 208, 214, 220, 221, 227, 229, 230)
"""The levels as numbers of the xterm palette: night blue, violet, magenta, red, orange, yellow, pale."""

_STEPS = (0, 95, 135, 175, 215, 255)


def _cube(number: int) -> tuple[int, int, int]:
    red, rest = divmod(number - 16, 36)
    green, blue = divmod(rest, 6)
    return _STEPS[red], _STEPS[green], _STEPS[blue]


def luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance 0..1 of an sRGB colour, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


RGB = tuple(map(_cube, XTERM))
COLOURS = tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in RGB)
LEVELS = len(COLOURS)

# White (231) or black (16), whichever has the greater contrast, (lighter + 0.05) / (darker + 0.05).
FOREGROUNDS = tuple("#ffffff" if (luminance(rgb) + 0.05) ** 2 < 1.05 * 0.05 else "#000000" for rgb in RGB)

NOT_FINITE = "#5f5f5f"
"""Behind a number that is infinite or not a number: grey, which no level is."""


def level(fraction: float) -> int:
    """The level 0..15 of a place 0..1 on the scale; what lies outside takes the nearest end."""
    return min(LEVELS - 1, max(0, int(fraction * LEVELS)))


@dataclass(frozen=True)
class Scale:
    """How a metric's values are spread over the levels."""

    metric: str
    low: float
    high: float
    reversed: bool = False
    """The low end is the hot one (agreement: a network that no longer agrees has been damaged)."""

    def fraction(self, value: float) -> float:
        """Where a finite `value` lies, 0..1: 0 is the cool end."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.0
        share = min(1.0, max(0.0, share))
        return 1 - share if self.reversed else share

    def level(self, value: float | None) -> int | None:
        """The level of `value`, or None where there is no finite number."""
        return None if value is None or not math.isfinite(value) else level(self.fraction(value))

    def ends(self) -> tuple[str, str]:
        """The values at the cool and at the hot end, for people."""
        metric = METRICS[self.metric]
        texts = [f"{100 * value:.0f}" if metric.fraction else f"{value:.3g}" for value in (self.low, self.high)]
        return (texts[1], texts[0]) if self.reversed else (texts[0], texts[1])


def scale(picture: Picture, metric: str) -> Scale:
    """The scale of `metric` in this picture.

    Fractions are always 0..100 %, so that two runs can be compared.  The loss goes from 0 to the greatest finite one
    shown, but at least to chance (ln of the number of classes, where known); distances from 0 to the greatest.
    """
    if METRICS[metric].fraction:
        return Scale(metric, 0.0, 1.0, reversed=metric == "agreement")
    layers: list[int | None] = [None, *range(len(picture.probe.layers))]
    values = (picture.value(metric, layer, column) for layer in layers for column in range(len(picture.columns)))
    high = max((value for value in values if value is not None and math.isfinite(value)), default=0.0)
    if metric == "loss":
        classes = picture.run.data_facts.get("classes")
        high = max(high, math.log(classes) if isinstance(classes, int) and classes > 1 else 0.0)
    return Scale(metric, 0.0, high or 1.0)
