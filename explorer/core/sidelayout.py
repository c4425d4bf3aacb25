"""How the room beside or below a heatmap is divided between words and figures."""

from collections.abc import Callable
from dataclasses import dataclass

_FIGURE_LINES = 10
"""Lines that a figure has at least where figures stand below the words, the blank one above it included."""
_FIGURE_COLUMNS = 38
"""Columns that a figure has at least where there are several beside one another, and:"""
_GAP = 2
"""columns between them."""
_MOST_FIGURES = 3
_TALL = 18
"""Lines from which on figures stand below the words, and not beside them, unless there is a lot of width."""
_ACROSS = 90
_NARROW = 64
"""Columns below which there is room for words or for a figure, not for both, where there are few lines."""
_FEWEST = 4
"""Lines below which there is no room for a figure at all."""
WORDS_WITH_FIGURE = 2
"""Lines of words above a figure that takes all the room."""


@dataclass(frozen=True)
class SideLayout:
    """Where everything goes."""

    across: bool
    """Words left, figures at their right; else figures below the words."""
    text_width: int
    text_height: int
    figures: int
    figure_width: int
    exclusive: bool = False
    """Words or a figure: which of them is chosen in turn."""


def side_layout(width: int, height: int, lines: Callable[[int], int], *, figure: bool = False) -> SideLayout:
    """The division of `width` x `height`; `lines(w)` is how many lines the words take in `w` columns.

    `figure`: a figure was asked for, which matters where there is room for one of them only.
    """
    if height < _FEWEST:
        return SideLayout(False, width, height, 0, 0, True)
    if height < _TALL and width < _NARROW:
        words = WORDS_WITH_FIGURE if height >= WORDS_WITH_FIGURE + 5 else 0
        if figure and height >= 5:
            return SideLayout(False, width, words, 1, width, True)
        return SideLayout(False, width, height, 0, 0, True)
    if height < _TALL or width >= _ACROSS:
        text = max(32, min(48, width * 2 // 5, width - _GAP - _FIGURE_COLUMNS))
        left = width - text
        figures = min(_MOST_FIGURES, max(1, left // (_FIGURE_COLUMNS + _GAP)))
        return SideLayout(True, text, height, figures, left // figures - _GAP)
    wanted = lines(width)
    text = min(wanted, height - _FIGURE_LINES)
    figures = min(_MOST_FIGURES, max(1, (height - text) // _FIGURE_LINES))
    return SideLayout(False, width, text, figures, width)
