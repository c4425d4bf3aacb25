"""A drawing as SVG: plain elements, text that can be selected, nothing that runs and nothing to be fetched."""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from .drawing import Drawing, Rect, Words

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def to_svg(drawing: Drawing) -> str:
    """The drawing as one SVG document, the same to the last byte for the same drawing."""
    width, height = _number(drawing.width), _number(drawing.height)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="{FONT}">',
        f"<title>{_text(drawing.title)}</title>",
        f"<desc>{_text(drawing.description)}</desc>",
    ]
    for shape in drawing.shapes:
        lines.extend(_rect(shape) if isinstance(shape, Rect) else _words(shape))
    return "\n".join([*lines, "</svg>", ""])


def _rect(rect: Rect) -> Iterator[str]:
    place = f'x="{_number(rect.x)}" y="{_number(rect.y)}" width="{_number(rect.width)}" height="{_number(rect.height)}"'
    # A line around a place lies half outside of it.
    stroke = f' stroke={quoteattr(rect.stroke)} stroke-width="0.5"' if rect.stroke else ""
    stroke += ' shape-rendering="crispEdges"'  # no seams between neighbours
    opened = f"<rect {place} fill={quoteattr(rect.fill)}{stroke}"
    yield f"{opened}><title>{_text(rect.title)}</title></rect>" if rect.title else f"{opened}/>"


def _words(words: Words) -> Iterator[str]:
    if not words.text:
        return
    look = f'x="{_number(words.x)}" y="{_number(words.y)}" font-size="{_number(words.size)}" fill="{words.colour}"'
    if words.anchor != "start":
        look += f' text-anchor="{words.anchor}"'
    look += ' font-weight="bold"' if words.bold else ""
    look += ' font-style="italic"' if words.italic else ""
    yield f'<text {look} xml:space="preserve">{_text(words.text)}</text>'


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _number(value: float) -> str:
    """At most two decimals: no picture is finer."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
