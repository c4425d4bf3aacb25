"""The colours of a heatmap: sequential scales to choose from, and one for differences.

Every level *is* a colour of the xterm palette, so a terminal with 256 colours shows the very same levels as one with 16
million, and no two of them ever fall together.  Relative luminance grows from each level of a sequential scale to the
next: the order survives a grey screen, a photocopy and colour-blind eyes.  :data:`DIVERGING` grows from its middle to
both ends, to blue on one side and to orange on the other, which all common kinds of colour blindness tell apart.

Terminals with 16 colours mix two of them with shades (:data:`Ramp.mixes`), and those without colours get characters
with more and more ink (:func:`.paint.paints`): the levels stay ordered and distinct there too.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from .picture import METRICS, Metric, Picture

_STEPS = (0, 95, 135, 175, 215, 255)
_GREYS = 232
SHADES = " ░▒▓█"


def _rgb(number: int) -> tuple[int, int, int]:
    """A colour of the xterm palette.

    The brighter greys are those nearest to the palette's that Rich takes to that very number: its own rounding takes
    the palette's one number too low (at most 7 of 255 apart).
    """
    if number < _GREYS:
        red, rest = divmod(number - 16, 36)
        green, blue = divmod(rest, 6)
        return _STEPS[red], _STEPS[green], _STEPS[blue]
    grey = 8 + 10 * (number - _GREYS) if number <= 246 else round((number - 231) * 255 / 25)
    return grey, grey, grey


def luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance 0..1 of an sRGB colour, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _hex(rgb: tuple[int, int, int]) -> str:
    red, green, blue = rgb
    return f"#{red:02x}{green:02x}{blue:02x}"


def _readable(rgb: tuple[int, int, int]) -> str:
    """White (231) or black (16), whichever has the greater contrast, (lighter + 0.05) / (darker + 0.05)."""
    return "#ffffff" if (luminance(rgb) + 0.05) ** 2 < 1.05 * 0.05 else "#000000"


# The palette of a terminal with 16 colours as Rich knows it: it takes exactly these to their numbers.
_BLACK, _RED, _BROWN, _BLUE, _MAGENTA, _CYAN = "#000000", "#aa0000", "#aa5500", "#0000aa", "#aa00aa", "#00aaaa"
_YELLOW, _BRIGHT_CYAN, _WHITE = "#ffff55", "#55ffff", "#ffffff"


class Mix(NamedTuple):
    """A level on a terminal with 16 colours: a shade of one over another."""

    back: str
    fore: str
    shade: str
    text: str
    """The colour of digits on it."""


def _mixed(stops: tuple[str, ...], shades: str) -> tuple[Mix, ...]:
    """From one colour to the next, in these shades."""
    found = []
    for back, fore in itertools.pairwise(stops):
        text = _WHITE if back in (_BLACK, _BLUE, _MAGENTA, _RED) else _BLACK
        found += [Mix(back, fore, shade, text) for shade in shades]
    return tuple(found)


_SEQUENTIAL = _mixed((_BLACK, _BLUE, _MAGENTA, _BRIGHT_CYAN, _WHITE), " ░▒▓")
_LOW = _mixed((_BLACK, _BLUE, _CYAN, _BRIGHT_CYAN, _WHITE), " ▒")
_HIGH = _mixed((_BLACK, _RED, _BROWN, _YELLOW, _WHITE), " ▒")


@dataclass(frozen=True)
class Ramp:
    """A colour scale."""

    name: str
    title: str
    """What it is, for people."""
    xterm: tuple[int, ...]
    """The levels as numbers of the xterm palette, from the cool end to the hot one."""
    diverging: bool = False
    """The middle level is 'no difference', and both ends are the brightest."""
    not_finite: str = "#5f5f5f"
    """Behind a number that is infinite or not a number: a colour that no level is."""

    def __len__(self) -> int:
        return len(self.xterm)

    @cached_property
    def rgb(self) -> tuple[tuple[int, int, int], ...]:
        """Red, green and blue of every level, 0..255."""
        return tuple(map(_rgb, self.xterm))

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The levels as '#rrggbb'."""
        return tuple(map(_hex, self.rgb))

    @cached_property
    def foregrounds(self) -> tuple[str, ...]:
        """The colours of digits on the levels: black or white."""
        return tuple(map(_readable, self.rgb))

    @property
    def mixes(self) -> tuple[Mix, ...]:
        """The levels on a terminal with 16 colours."""
        return (*reversed(_LOW[1:]), _LOW[0], *_HIGH[1:]) if self.diverging else _SEQUENTIAL

    def level(self, fraction: float) -> int:
        """The level of a place 0..1 on the scale; what lies outside takes the nearest end."""
        return min(len(self) - 1, max(0, int(fraction * len(self))))


HOT = Ramp("hot", "night to sun", (17, 18, 54, 55, 91, 127, 162, 197, 202, 208, 214, 220, 221, 227, 229, 230))
"""Night blue, violet, magenta, red, orange, yellow, pale."""
VIRIDIS = Ramp("viridis", "violet to yellow", (53, 54, 55, 24, 25, 30, 31, 36, 72, 41, 77, 113, 148, 184, 220, 227))
"""After viridis: violet, blue, teal, green, yellow."""
GREY = Ramp(
    "grey",
    "black to white",
    (235, 236, 238, 239, 240, 242, 243, 244, 246, 247, 248, 250, 251, 252, 254, 255),
    not_finite="#875f00",
)
RAMPS = {ramp.name: ramp for ramp in (HOT, VIRIDIS, GREY)}
"""Those to choose from, by name; the first is the usual one."""

DIVERGING = Ramp(
    "difference",
    "lower to higher",
    (159, 45, 38, 31, 25, 24, 18, 234, 52, 124, 166, 208, 214, 221, 229),
    diverging=True,
)
"""For differences: 15 levels, so that 'none' has one of its own in the middle, and the ends are equally far from it.
Pass it as `Scale(metric, -end, end, ramp=DIVERGING)`."""

XTERM, RGB, COLOURS, FOREGROUNDS, LEVELS, NOT_FINITE = (
    HOT.xterm, HOT.rgb, HOT.colours, HOT.foregrounds, len(HOT), HOT.not_finite
)  # fmt: skip
"""Of the usual scale: what is printed and exported without a choice."""

level = HOT.level


def ramp_named(name: str) -> Ramp:
    """The scale of this name; the usual one where there is none."""
    return RAMPS.get(name, HOT)


def ramp_after(name: str) -> Ramp:
    """The scale that follows the one of this name, round in a circle."""
    known = list(RAMPS)
    return RAMPS[known[(known.index(ramp_named(name).name) + 1) % len(known)]]


@dataclass(frozen=True)
class Scale:
    """How a metric's values are spread over the levels."""

    metric: str
    low: float
    high: float
    reversed: bool = False
    """The low end is the hot one (agreement: a network that no longer agrees has been damaged)."""
    ramp: Ramp = HOT

    def fraction(self, value: float) -> float:
        """Where a finite `value` lies, 0..1: 0 is the cool end."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.0
        share = min(1.0, max(0.0, share))
        return 1 - share if self.reversed else share

    def level(self, value: float | None) -> int | None:
        """The level of `value`, or None where there is no finite number."""
        return None if value is None or not math.isfinite(value) else self.ramp.level(self.fraction(value))

    def weight(self, value: float | None) -> float:
        """How much `value` matters where one of several is shown: the hotter the more, of differences the greater.

        What is not finite matters most, and what is missing least.
        """
        if value is None:
            return -1.0
        if not math.isfinite(value):
            return 2.0
        share = self.fraction(value)
        return abs(2 * share - 1) if self.ramp.diverging else share

    def ends(self, metric: Metric | None = None) -> tuple[str, str]:
        """The values at the cool and at the hot end, for people."""
        metric = metric or METRICS[self.metric]
        texts = [metric.end(value) for value in (self.low, self.high)]
        return (texts[1], texts[0]) if self.reversed else (texts[0], texts[1])


def scale(picture: Picture, metric: str, ramp: Ramp = HOT) -> Scale:
    """The scale of `metric` in this picture.

    Fractions are always 0..100 %, so that two runs can be compared.  The loss goes from 0 to the greatest finite one
    shown, but at least to chance (ln of the number of classes, where known); distances and widths of intervals from 0
    to the greatest.
    """
    if METRICS[metric].whole:
        return Scale(metric, 0.0, 1.0, metric == "agreement", ramp)
    layers: list[int | None] = [None, *range(len(picture.probe.layers))]
    values = (picture.value(metric, layer, column) for layer in layers for column in range(len(picture.columns)))
    high = max((value for value in values if value is not None and math.isfinite(value)), default=0.0)
    if metric == "loss":
        classes = picture.run.data_facts.get("classes")
        high = max(high, math.log(classes) if isinstance(classes, int) and classes > 1 else 0.0)
    return Scale(metric, 0.0, high or 1.0, ramp=ramp)
