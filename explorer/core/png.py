"""A drawing, or a screen of text, as PNG. Pillow draws it: it is there already, for the images of data sets.

(A converter of SVG would be one more dependency, and a compiled one, for rectangles and words.)
"""

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from ...store import LyrxError
from .drawing import Drawing, Rect, Words

SANS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
BOLD = ("DejaVuSans-Bold.ttf", "LiberationSans-Bold.ttf", "NotoSans-Bold.ttf", "Arial Bold.ttf", "Helvetica.ttc")
MONO = ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "NotoSansMono-Regular.ttf", "Menlo.ttc", "cour.ttf")
MONO_BOLD = ("DejaVuSansMono-Bold.ttf", "LiberationMono-Bold.ttf", "NotoSansMono-Bold.ttf", *MONO)
"""Fonts to look for in the system's folders, the best first."""

MOST_PIXELS = 40_000_000
"""A heatmap that would need more is drawn smaller."""

_PLAIN = {"–": "-", "×": "x", "√": "sqrt ", "…": "...", "▸": ">", "○": "o", "▶": ">", "±": "+-", "·": "."}
"""What is written instead where the font at hand lacks a letter."""

_BRAILLE = 0x2800
_PLACES = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""(column, line) of each dot of a braille letter, by the bit of its number."""
_DOT = 1.3
"""Half of a dot's width, in pixels."""


class NoImagesError(LyrxError, RuntimeError):
    """PNG cannot be written here."""


def to_png(drawing: Drawing, scale: float = 2.0) -> bytes:
    """The drawing as PNG, `scale` pixels for each point (fewer where it would have more than MOST_PIXELS).

    Raises NoImagesError when Pillow is not there.
    """
    image_module, draw_module, _ = _pillow()
    scale = min(scale, math.sqrt(MOST_PIXELS / (drawing.width * drawing.height)))
    size = (math.ceil(drawing.width * scale), math.ceil(drawing.height * scale))
    image = image_module.new("RGB", size, "#ffffff")
    pen = draw_module.Draw(image)
    for shape in drawing.shapes:
        if isinstance(shape, Rect):
            _rect(pen, shape, scale)
        else:
            _words(pen, shape, scale)
    return _encoded(image)


def _rect(pen: Any, rect: Rect, scale: float) -> None:
    # Neighbours share an edge: each ends one pixel before the next one starts.
    left, top = round(rect.x * scale), round(rect.y * scale)
    right, bottom = round((rect.x + rect.width) * scale) - 1, round((rect.y + rect.height) * scale) - 1
    if right >= left and bottom >= top:
        pen.rectangle((left, top, right, bottom), rect.fill, rect.stroke or None, 1)


def _words(pen: Any, words: Words, scale: float) -> None:
    font = _font(BOLD if words.bold else SANS, max(1.0, words.size * scale))
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[words.anchor]
    text = _drawable(words.text, font)
    pen.text((round(words.x * scale), round(words.y * scale)), text, words.colour, font, anchor)


def screen_png(lines: Sequence[Sequence[tuple[str, str, str, bool]]], columns: int, background: str) -> bytes:
    """A screen of text as PNG: for each line, pieces of (text, colour, background, bold); `columns` wide.

    Raises NoImagesError when Pillow or a font of one width is not there.
    """
    from rich.cells import cell_len

    image_module, draw_module, _ = _pillow()
    font, strong = _font(MONO, 18.0), _font(MONO_BOLD, 18.0)
    if not getattr(font, "path", None):
        raise NoImagesError(
            "no font of one width was found, which a screenshot as PNG needs "
            f"({', '.join(name.rpartition('.')[0] for name in MONO)}). Install one, or save it as SVG or text."
        )
    width, (above, below) = round(font.getlength("M")), font.getmetrics()
    height = above + below
    image = image_module.new("RGB", (width * columns, height * len(lines)), background)
    pen = draw_module.Draw(image)
    for row, line in enumerate(lines):
        column = 0
        for text, colour, back, bold in line:
            wide = cell_len(text)
            if not wide:
                continue
            at = (column * width, row * height)
            pen.rectangle((*at, at[0] + wide * width - 1, at[1] + height - 1), back)
            for letter in text:
                if _BRAILLE <= ord(letter) < _BRAILLE + 256:
                    _dots(pen, ord(letter) - _BRAILLE, (column * width, row * height), (width, height), colour)
                elif letter != " ":
                    place = (column * width, row * height + above)
                    chosen = strong if bold else font
                    shown = letter if letter.isascii() or _knows(chosen, letter) else _PLAIN.get(letter, "?")[0]
                    pen.text(place, shown, colour, chosen, "ls")
                column += cell_len(letter)
    return _encoded(image)


def _dots(pen: Any, dots: int, at: tuple[int, int], size: tuple[int, int], colour: str) -> None:
    """A letter of braille, such as curves are made of: few fonts of one width have them."""
    for bit, (column, line) in enumerate(_PLACES):
        if dots >> bit & 1:
            x, y = at[0] + size[0] * (2 * column + 1) / 4, at[1] + size[1] * (2 * line + 1) / 8
            pen.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), colour)


def _encoded(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _pillow() -> tuple[Any, Any, Any]:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise NoImagesError(
            f"PNG is drawn by Pillow, which cannot be imported ({error}). "
            "Install it (python -m pip install pillow), or write SVG."
        ) from error
    return Image, ImageDraw, ImageFont


@cache
def _font(names: tuple[str, ...], size: float) -> Any:
    """The first of these fonts that is installed; else the one that Pillow brings along."""
    fonts = _pillow()[2]
    for name in names:
        try:
            return fonts.truetype(name, size)
        except OSError:
            continue
    return fonts.load_default(size)


def _drawable(text: str, font: Any) -> str:
    """`text` without letters that `font` lacks."""
    return text if text.isascii() else "".join(c if c.isascii() or _knows(font, c) else _other(c) for c in text)


@cache
def _knows(font: Any, letter: str) -> bool:
    """Whether the font has this letter, and does not draw the box of a letter that is missing."""
    found, box = font.getmask(letter), font.getmask("\uffff")
    return found.size != box.size or bytes(found) != bytes(box)


def _other(letter: str) -> str:
    return _PLAIN.get(letter, f"\\u{ord(letter):04x}")
