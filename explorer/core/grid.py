"""Where everything in a heatmap goes: pure arithmetic on columns and lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich.cells import cell_len

from ...store import inert
from .scene import NETWORK, Scene
from .words import head

HEAD = 2
"""Lines of column heads."""
MARGIN = 2
"""Columns left of a row's name, for the cursor's mark."""

DIGITS_WIDTH, PLAIN_WIDTH, WIDEST, TALLEST = 6, 2, 14, 8
SHADED_WIDTH = 4
"""A cell is at least as wide where shades stand for colours: four of them make a level."""
MOST_LEAST = 10
"""The least width of a cell with digits is not greater than this, however long the heads are."""
OVERVIEW_WIDEST = 4
NAME_LEAST = 8
"""Columns that a name keeps, be they ever so few: 'network' fits."""


@dataclass(frozen=True)
class Grid:
    """The geometry of a heatmap in a viewport; cells grow to use the room there is.

    Rows are grouped into lines of cells: `per_line` of them, two in an overview, each `cell_height` lines of text high.
    """

    body: int
    """Rows that scroll."""
    network: bool
    """Whether the whole network's row stands below them."""
    starts: tuple[int, ...]
    """Where each column starts, unscrolled; at the end, where the last one ends."""
    names: int
    """Columns of text before the first cell."""
    cell_width: int
    cell_height: int
    network_height: int
    network_gap: int
    """Blank lines above the whole network's row."""
    per_line: int = 1

    @classmethod
    def fit(cls, scene: Scene, width: int, height: int, *, shaded: bool = False, halves: bool = True) -> "Grid":
        """The geometry for a viewport of `width` x `height`.

        `shaded` where there are no colours, `halves` where a level is one colour: two of them share a character then.
        """
        body, network = scene.body, scene.body < len(scene.rows)
        kinds = [column.kind for column in scene.columns]
        gaps = [kind != after for kind, after in zip(kinds, [*kinds[1:], kinds[-1]], strict=True)]
        longest = max(cell_len(inert(row.name)) + row.depth for row in scene.rows)
        least = _least_width(scene, gaps, shaded)
        # Names give way to columns, as far as the end that tells layers apart stays.
        beside = width - len(gaps) * least - sum(gaps) - MARGIN - 1
        least_name = min(len(NETWORK), max(NAME_LEAST, width // 4))
        most = min(beside, max(width // 4, width - 60)) if beside >= least_name else width // 4
        names = MARGIN + min(longest, max(least_name, most)) + 1
        room = width - names - sum(gaps)
        widest = OVERVIEW_WIDEST if scene.overview else WIDEST
        cell_width = min(widest, max(least, room // max(1, len(gaps))))
        per_line = 2 if scene.overview and halves and not shaded else 1
        lines = -(-body // per_line)
        # The whole network's row may be lower than the others, so that these can be higher.
        spare = height - HEAD
        most_high = 1 if scene.overview else TALLEST
        cell_height = min(most_high, max(1, cell_width * 3 // 4), max(1, (spare - 2 * network) // max(1, lines)))
        left = spare - lines * cell_height
        gap = 1 if network and left > 1 else 0
        starts = tuple(accumulate((cell_width + gap_after for gap_after in gaps), initial=names))
        foot = min(cell_height, max(1, left - gap)) if network else 0
        return cls(body, network, starts, names, cell_width, cell_height, foot, gap, per_line)

    @property
    def columns(self) -> int:
        return len(self.starts) - 1

    @property
    def lines(self) -> int:
        """Lines of cells."""
        return -(-self.body // self.per_line)

    @property
    def foot(self) -> int:
        """Lines of text of the whole network's row, its gap included."""
        return self.network_gap + self.network_height

    @property
    def width(self) -> int:
        """Columns of text of the whole heatmap."""
        return self.starts[-1]

    @property
    def height(self) -> int:
        """Lines of text of the whole heatmap."""
        return HEAD + self.lines * self.cell_height + self.foot

    def x(self, column: int) -> int:
        """Where `column` starts, unscrolled."""
        return self.starts[column]

    def gap(self, column: int) -> int:
        """Blanks after `column`: kinds are set apart."""
        return self.starts[column + 1] - self.starts[column] - self.cell_width

    def first_column(self, scroll_x: int) -> int:
        """The first column shown: columns are never cut at the left."""
        found = next((i for i, start in enumerate(self.starts[:-1]) if start - self.names >= scroll_x), None)
        return max(0, self.columns - 1) if found is None else found

    def first_line(self, scroll_y: int) -> int:
        """The first line of text shown of the body: rows are never cut at the top."""
        return -(-scroll_y // self.cell_height) * self.cell_height

    def columns_shown(self, scroll_x: int, width: int) -> Sequence[int]:
        """The columns that are seen whole in a viewport of `width`."""
        first = self.first_column(scroll_x)
        last = first
        while last + 1 < self.columns and self.x(last + 2) - self.x(first) <= width - self.names:
            last += 1
        return range(first, last + 1)

    def column_at(self, x: int, scroll_x: int) -> int | None:
        """The column under the viewport's `x`."""
        if x < self.names:
            return None
        inside = x - self.names + self.x(self.first_column(scroll_x))
        for column in range(self.columns):
            if self.x(column) <= inside < self.x(column) + self.cell_width:
                return column
        return None

    def line_at(self, y: int, scroll_y: int, height: int) -> int | None:
        """The line of cells under the viewport's `y`; the whole network's is the one after the last."""
        if y < HEAD:
            return None
        bottom = min(height, self.height)
        if y >= bottom - self.foot:
            return self.lines if bottom - self.network_height <= y < bottom else None
        line = (y - HEAD + self.first_line(scroll_y)) // self.cell_height
        return line if line < self.lines else None

    def rows_of(self, line: int) -> range:
        """The rows of a line of cells."""
        if line >= self.lines:
            return range(self.body, self.body + self.network)
        return range(line * self.per_line, min(self.body, (line + 1) * self.per_line))

    def line_of(self, row: int) -> int:
        """The line of cells that a row is in."""
        return self.lines if row >= self.body else row // self.per_line

    def lines_of(self, line: int, scroll_y: int, height: int) -> tuple[int, int]:
        """(first line of text, how many) of a line of cells in a viewport; none where it is out of sight."""
        bottom = min(height, self.height)
        if line >= self.lines:
            return bottom - self.network_height, self.network_height
        start = HEAD + line * self.cell_height - self.first_line(scroll_y)
        top, end = max(HEAD, start), min(start + self.cell_height, bottom - self.foot)
        return top, end - top


def _least_width(scene: Scene, gaps: Sequence[bool], shaded: bool) -> int:
    if scene.overview:
        return SHADED_WIDTH if shaded else 1
    if not scene.digits:
        return SHADED_WIDTH if shaded else PLAIN_WIDTH
    # Between two heads there is a blank, and be it that of a gap.
    heads = [len(head(column, DIGITS_WIDTH)) for column in scene.columns]
    room = max(length + 1 - gap for length, gap in zip(heads, [*gaps[:-1], True], strict=True))
    return min(MOST_LEAST, max(DIGITS_WIDTH, room))
