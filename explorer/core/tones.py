"""The names of the app's colours.  What they look like is the theme's business.

Core functions write :class:`rich.text.Text` whose styles are words of this list, with 'bold' or 'italic' beside them
('accent bold').  `widgets/toned.py` turns them into the colours of the theme at the moment of drawing.

They are legible with 16 million colours, with 256 and with 16, on the app's own two themes as on all of Textual's,
which tests check.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from rich.color import Color, ColorSystem

DARK_SURFACES = {"background": "#121212", "surface": "#1c1c1c", "panel": "#262626"}
LIGHT_SURFACES = {"background": "#ffffff", "surface": "#eeeeee", "panel": "#e4e4e4"}
"""What lies behind: the screen, lines at its edges, and dialogs."""

DARK = {
    "muted": "#949494",
    "faint": "#767676",
    "text": "#d0d0d0",
    "accent": "#ffaf5f",
    "alarm": "#ff5f5f",
    "good": "#87d787",
    "info": "#87afd7",
    "working": "#d787ff",
    "critical": "#ffffff on #d70000",
    "robust": "#ffffff on #005f87",
    "undecided": "#000000 on #8a8a8a",
}
"""On a dark screen: what stands behind what matters; marks and frames, never words; plain text; where one is and keys;
bad news; good news; what waits; what is at work; and the three verdicts."""

LIGHT = {
    "muted": "#626262",
    "faint": "#808080",
    "text": "#303030",
    "accent": "#875f00",
    "alarm": "#af0000",
    "good": "#005f00",
    "info": "#005f87",
    "working": "#8700af",
    "critical": "#ffffff on #d70000",
    "robust": "#ffffff on #005f87",
    "undecided": "#ffffff on #626262",
}
"""The same on a light screen."""

WORDS_CONTRAST, MARKS_CONTRAST = 4.5, 3.0
"""What WCAG 2.2 asks of text (1.4.3) and of marks (1.4.11); tests hold every tone to it."""


def tones(dark: bool) -> dict[str, str]:
    """Each tone's colours on a dark or a light screen."""
    return DARK if dark else LIGHT


def contrast(one: str, other: str) -> float:
    """The ratio 1..21 between two colours '#rrggbb', as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@lru_cache(maxsize=2048)
def _luminance(colour: str) -> float:
    from .ramp import luminance

    return luminance(_rgb(colour))


PATCHES = ("critical", "robust", "undecided")
"""The tones that bring the colour behind them along: nothing of the theme can make them illegible."""

SHADES = ("text", "muted", "faint")
"""The tones that are nearer to the background or further from it, and tell no state."""

APART = 60.0
"""How far from each other (in red, green and blue, 0..255) the tones are that tell states apart."""

_STEPS = 32
_READ_IN_DIALOGS = ("text", "accent")


def adapted(
    wanted: Mapping[str, Sequence[str]], screens: Sequence[str], others: Sequence[str], *, dark: bool
) -> dict[str, str]:
    """Tones in the colours of a theme, made legible: on `screens` as text must be, on `others` at least as marks must.

    The others are what lies behind dialogs and chosen lines; what is read there (:func:`_least`) is text there too.
    `wanted` names for each tone the colours '#rrggbb' that suit, the best first: the first is taken that differs from
    the tones before it, the one of :func:`tones` being the last; where none does, the one that differs most.  A tone
    that is not named is that of :func:`tones`.
    """
    usual, found = tones(dark), dict[str, str]()
    for name in [*wanted, *(name for name in usual if name not in wanted)]:
        if name in PATCHES:
            continue
        surfaces = {other: _least(name, read=name in _READ_IN_DIALOGS) for other in others}
        surfaces |= {screen: _least(name) for screen in screens}
        told = [legible(colour, surfaces) for colour in (*wanted.get(name, ()), usual[name])]
        before = [] if name in SHADES else [found[other] for other in found if other not in SHADES]
        apart = [min((_apart(one, other) for other in before), default=math.inf) for one in told]
        fits = (one for one, far in zip(told, apart, strict=True) if far >= APART)
        found[name] = next(fits, told[apart.index(max(apart))])
    return {name: found.get(name, colours) for name, colours in usual.items()}


def _least(name: str, *, read: bool = True) -> float:
    """The contrast that a tone needs."""
    return WORDS_CONTRAST if read and name != "faint" else MARKS_CONTRAST


def legible(colour: str, surfaces: Mapping[str, float]) -> str:
    """`colour`, or the nearest one towards white or black that has with every surface at least the contrast it names.

    On a terminal with 256 colours, which moves surfaces too, it has that of a mark; with 16 colours the two differ.
    """
    for step in range(_STEPS + 1):
        for end in ("#ffffff", "#000000"):
            candidate = mixed(colour, end, step / _STEPS)
            if all(_stands_out(candidate, surface, least) for surface, least in surfaces.items()):
                return candidate
    # Between such surfaces nothing is legible: whatever is best.
    return max(("#ffffff", "#000000"), key=lambda end: min(contrast(end, surface) for surface in surfaces))


def _stands_out(front: str, behind: str, least: float) -> bool:
    return (
        contrast(front, behind) >= least
        and contrast(with_256(front), with_256(behind)) >= min(least, MARKS_CONTRAST)
        and _sixteen(front) != _sixteen(behind)
    )


@lru_cache(maxsize=2048)
def with_256(colour: str) -> str:
    """What a terminal with 256 colours makes of '#rrggbb'."""
    number = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).number
    assert number is not None
    return Color.from_ansi(number).get_truecolor().hex


@lru_cache(maxsize=2048)
def _sixteen(colour: str) -> int | None:
    return Color.parse(colour).downgrade(ColorSystem.STANDARD).number


def mixed(one: str, other: str, share: float) -> str:
    """One colour with a `share` 0..1 of another."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_rgb(one), _rgb(other), strict=True))


def _apart(one: str, other: str) -> float:
    return math.dist(_rgb(one), _rgb(other))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
