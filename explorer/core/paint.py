"""How the levels of a colour scale look on a terminal: with many colours, with sixteen, with none."""

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style

from .ramp import SHADES, Mix, Ramp


@dataclass(frozen=True)
class Paint:
    """How a level is put on the screen."""

    style: Style
    """Of the cell's colour or shade."""
    fill: str = "    "
    """Four characters, repeated over what the text leaves free: shades where colours do not suffice."""
    plain: Style | None = None
    """Of the cell's text, where `style` is that of blanks or shades."""


def by_colour(system: str | None) -> bool:
    """Whether a level is one colour on such a terminal, and neither a shade nor characters."""
    return system not in (None, "standard", "windows")


@lru_cache(maxsize=32)
def paints(ramp: Ramp, system: str | None) -> tuple[Paint, ...]:
    """How each level of `ramp` looks on a terminal: `system` is 'truecolor', '256', 'standard' (16 colours) or None.

    No two levels look alike, and their order is that of their luminance (of the ink, where there are no colours).
    """
    if system is None:
        return tuple(Paint(Style.null(), _shaded(level, ramp)) for level in range(len(ramp)))
    if not by_colour(system):
        return tuple(Paint(Style(color=mix.fore, bgcolor=mix.back), mix.shade * 4, _text(mix)) for mix in ramp.mixes)
    # By their numbers, which every such terminal knows: half the bytes of three numbers from 0 to 255.
    return tuple(
        Paint(Style(bgcolor=f"color({number})"), plain=_numbered(231 if fore == "#ffffff" else 16, number))
        for fore, number in zip(ramp.foregrounds, ramp.xterm, strict=True)
    )


def _numbered(fore: int, back: int) -> Style:
    return Style(color=f"color({fore})", bgcolor=f"color({back})")


def _text(mix: Mix) -> Style:
    return Style(color=mix.text, bgcolor=mix.back, bold=True)


_LOWER, _HIGHER = " _=≡", " ┼╪╬"
"""More and more ink, none of it a mark that a place may bear or part of a number: lower is lines, higher is crosses."""


def _shaded(level: int, ramp: Ramp) -> str:
    """Four characters whose ink grows by a quarter of a shade from level to level.

    For differences it grows both ways from none at all, in characters of their own on either side.
    """
    if ramp.diverging:
        middle = len(ramp) // 2
        ink = _LOWER if level < middle else _HIGHER
        tone, share = divmod(round(abs(level - middle) / middle * 4 * (len(ink) - 1)), 4)
        return ink[tone + 1 : tone + 2] * share + ink[tone] * (4 - share)
    tone, share = divmod(level, 4)
    return SHADES[tone + 1] * share + SHADES[tone] * (4 - share)
