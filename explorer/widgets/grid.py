"""Where everything in a heatmap goes: pure arithmetic on columns and lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ...store import inert
from ..picture import Picture
from ..words import head

HEAD = 2
"""Lines of column heads."""
MARGIN = 2
"""Columns left of a row's name, for the cursor's mark."""
NETWORK = "whole network"

DIGITS_WIDTH, PLAIN_WIDTH, WIDEST, TALLEST = 6, 3, 14, 8
MOST_LEAST = 10
"""The least width of a cell with digits is not greater than this, however long the heads are."""


@dataclass(frozen=True)
class Grid:
    """The geometry of a heatmap in a viewport; cells grow to use the room there is."""

    rows: int
    gaps: tuple[bool, ...]
    """For each column, whether a blank follows it: kinds are set apart."""
    names: int
    """Columns of text before the first cell."""
    cell_width: int
    cell_height: int
    network_height: int
    network_gap: int
    """Blank lines above the whole network's row."""

    @classmethod
    def fit(cls, picture: Picture, width: int, height: int, *, digits: bool) -> "Grid":
        """The geometry for a viewport of `width` x `height`."""
        rows = len(picture.probe.layers)
        kinds = [column.kind for column in picture.columns]
        gaps = tuple(kind != after for kind, after in zip(kinds, [*kinds[1:], kinds[-1]], strict=True))
        longest = max([len(NETWORK), *(cell_len(inert(name)) for name in picture.layer_names)])
        # Between two heads there is a blank, and be it that of a gap.
        heads = [len(head(column, DIGITS_WIDTH)) for column in picture.columns]
        room = max(length + 1 - gap for length, gap in zip(heads, [*gaps[:-1], True], strict=True))
        least = min(MOST_LEAST, max(DIGITS_WIDTH, room)) if digits else PLAIN_WIDTH
        # Names give way to columns, as far as the end that tells layers apart stays.
        beside = width - len(gaps) * least - sum(gaps) - MARGIN - 1
        most = min(beside, width // 4) if beside >= len(NETWORK) else width // 4
        names = MARGIN + min(longest, max(len(NETWORK), most)) + 1
        room = width - names - sum(gaps)
        cell_width = min(WIDEST, max(least, room // max(1, len(gaps))))
        # The whole network's row may be lower than the others, so that these can be higher.
        spare = height - HEAD
        cell_height = min(TALLEST, max(1, cell_width * 3 // 4), max(1, (spare - 2) // max(1, rows)))
        left = spare - rows * cell_height
        gap = 1 if left > 1 else 0
        return cls(rows, gaps, names, cell_width, cell_height, min(cell_height, max(1, left - gap)), gap)

    @property
    def foot(self) -> int:
        """Lines of the whole network's row, its gap included."""
        return self.network_gap + self.network_height

    @property
    def width(self) -> int:
        """Columns of text of the whole heatmap."""
        return self.x(len(self.gaps))

    @property
    def height(self) -> int:
        """Lines of the whole heatmap."""
        return HEAD + self.rows * self.cell_height + self.foot

    def x(self, column: int) -> int:
        """Where `column` starts, unscrolled."""
        return self.names + column * self.cell_width + sum(self.gaps[:column])

    def first_column(self, scroll_x: int) -> int:
        """The first column shown: columns are never cut at the left."""
        for column in range(len(self.gaps)):
            if self.x(column) - self.names >= scroll_x:
                return column
        return max(0, len(self.gaps) - 1)

    def first_line(self, scroll_y: int) -> int:
        """The first body line shown: rows are never cut at the top."""
        return -(-scroll_y // self.cell_height) * self.cell_height

    def columns_shown(self, scroll_x: int, width: int) -> Sequence[int]:
        """The columns that are seen whole in a viewport of `width`."""
        first = self.first_column(scroll_x)
        last = first
        while last + 1 < len(self.gaps) and self.x(last + 2) - self.x(first) <= width - self.names:
            last += 1
        return range(first, last + 1)

    def column_at(self, x: int, scroll_x: int) -> int | None:
        """The column under the viewport's `x`."""
        if x < self.names:
            return None
        inside = x - self.names + self.x(self.first_column(scroll_x))
        for column in range(len(self.gaps)):
            if self.x(column) <= inside < self.x(column) + self.cell_width:
                return column
        return None

    def row_at(self, y: int, scroll_y: int, height: int) -> int | None:
        """The row under the viewport's `y`; the whole network's row is the one after the last layer."""
        if y < HEAD:
            return None
        bottom = min(height, self.height)
        if y >= bottom - self.foot:
            return self.rows if bottom - self.network_height <= y < bottom else None
        row = (y - HEAD + self.first_line(scroll_y)) // self.cell_height
        return row if row < self.rows else None
