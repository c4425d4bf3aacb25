"""NO_COLOR (https://no-color.org): no colour at all, and no grey. What stands out is bold, underlined or reversed."""

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter


@lru_cache(2048)
def _plain(style: Style) -> Style:
    # Rich's `without_color` drops what the mouse finds in a style, too.
    return style.without_color + Style.from_meta(style.meta) if style.meta else style.without_color


class NoColours(LineFilter):
    """Takes the colours out of what is drawn, and leaves bold, underline and reverse."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        del background
        return [Segment(text, None if style is None else _plain(style), control) for text, style, control in segments]
