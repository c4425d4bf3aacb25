"""How many heatmaps stand beside each other, and one above the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from .grid import DIGITS_WIDTH, HEAD, MARGIN, PLAIN_WIDTH, SHADED_WIDTH
from .scene import NETWORK, Scene

_COLUMNS, _ROWS = 5, 6
"""So many columns and rows of each heatmap are seen at least, if there are as many."""


@dataclass(frozen=True)
class Arrangement:
    """A grid of heatmaps."""

    across: int
    down: int

    @property
    def shown(self) -> int:
        """How many are seen at once."""
        return self.across * self.down

    def window(self, runs: int, chosen: int) -> range:
        """Which of the runs are seen, so that the chosen one is among them; they change by the windowful."""
        first = chosen // self.shown * self.shown
        return range(min(first, max(0, runs - self.shown)), min(runs, first + self.shown))


def arrange(scenes: Sequence[Scene], width: int, height: int, *, shaded: bool = False) -> Arrangement:
    """The arrangement that shows most of these heatmaps in `width` x `height`; side by side rather than stacked.

    Each has a line above it that names its run.  `shaded` where there are no colours.
    """
    if not scenes:
        return Arrangement(1, 1)
    scene = scenes[0]
    longest = max(cell_len(row.name) for row in scene.rows)
    names = MARGIN + min(max(len(NETWORK), longest), 16) + 1
    cell = DIGITS_WIDTH if scene.digits else SHADED_WIDTH if shaded else PLAIN_WIDTH
    needed = names + min(len(scene.columns), _COLUMNS) * cell + 1
    across = max(1, min(len(scenes), width // needed))
    lines = 1 + HEAD + min(scene.body, _ROWS) + 1
    down = max(1, min(-(-len(scenes) // across), height // lines))
    return Arrangement(across, down)
