"""Taking a comparison away.

To a file: the difference of two runs, the numbers of all of them, or a picture of the screen. To the clipboard: the
cell or the row under the cursor, or the command that measures it again.
"""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..core.alignment import LETTERS, Line
from ..core.compare import lines_of, spots_of
from ..core.compare_copy import difference_line, difference_tsv
from ..core.compare_files import (
    DIFFERENCE_FORMATS,
    RUNS_FORMATS,
    difference_name,
    encode_difference,
    encode_runs,
)
from ..core.compare_text import minus
from ..core.export import Format, file_name
from ..core.picture import Picture
from .compare_draw import DrawRuns
from .copying import CopyActions, Under
from .export import Offer, ask


class TakeComparison(DrawRuns, CopyActions):
    """A comparison's screen, as far as files and the clipboard are concerned."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "export", "write a file", id="compare.export", show=False),
    ]

    def action_export(self) -> None:
        """Ask what to write, and where."""
        offers = [*self._difference(), *self._runs()]
        ask(self, f"comparison: {self.view.metric}", offers, self._tell, "comparison-screen")

    def _difference(self) -> list[Offer]:
        """The difference of the chosen two, where there is one."""
        if self.two is None or self.alignment_of_two().problem():
            return []
        (a, b), view, every = self.two, self.view, self.every_column

        def make(form: Format) -> bytes:
            return encode_difference(a, b, view, form, every_column=every)

        name = difference_name(a, b, view.metric)
        return [Offer(f"difference {minus(self.pair)}", name, DIFFERENCE_FORMATS, make)]

    def _runs(self) -> list[Offer]:
        """All that is known of every run."""
        shown = self.shown
        if not shown:
            return []
        name = file_name(*(picture.run.name for picture in shown))
        return [Offer("all runs", name, RUNS_FORMATS, lambda form: encode_runs(shown, form))]

    # Copying

    def under_cursor(self) -> Under | str | None:
        """The cell of the chosen run: in the difference it is copied otherwise."""
        at = self._at()
        if not isinstance(at, tuple):
            return at
        lines, told, column = at
        number = self.leading
        picture, letter = self.pictures[number], LETTERS[number]
        assert picture is not None
        side = len([one for one in self.pictures[:number] if one is not None])
        place = self.alignment().places[column][side]
        if place is None:
            return f"{letter} has no such column: tab goes to the next run"
        if told is None:
            return Under(picture, (None, place), [(None, place)], f"{letter}'s")
        layers = [layer for line in lines if (layer := line.layers[side]) is not None]
        if not layers:
            return f"{letter} has no such layer: tab goes to the next run"
        # Of a folded row of which nothing is measured any layer may be told of, one that this run lacks too.
        layer = layers[0] if told.layers[side] is None else told.layers[side]
        return Under(picture, (layer, place), [(one, place) for one in layers], f"{letter}'s")

    def _at(self) -> tuple[list[Line], Line | None, int] | str | None:
        """The lines of the row under the cursor and the one that is told of (none: the whole network), and the column;
        a line that says why there are none, or None while there is nothing at all."""
        if self.mode == "curves":
            return "there is no cell among the curves: K goes back to the heatmaps"
        if self.mode == "difference" and (problem := self._difference_problem()):
            return problem
        if problem := self._nothing():  # there is no scene then
            return problem
        if not self.shown or self.leader.scene is None:
            return None
        alignment, key = self.alignment(), self.leader.row_key
        column = alignment.column(self.leader.column_label)
        if key is None or column is None:
            return None
        name, _ = self._told(key, self.leader.column_label)
        lines = [alignment.lines[index] for index in lines_of(alignment, key)]
        return lines, next((line for line in lines if line.name == name), None), column

    def _of_difference(self) -> tuple[Picture, Picture, list[Line], Line | None, int] | None:
        """The two runs and :meth:`_at`, where it is a difference that is copied."""
        at = self._at() if self.mode == "difference" else None
        return (*self.two, *at) if self.two and isinstance(at, tuple) else None

    def action_copy_cell(self) -> None:
        """The chosen run's cell, or the difference and the cells of both."""
        if (found := self._of_difference()) is None:
            super().action_copy_cell()
            return
        a, b, _, told, column = found
        text = difference_line(a, b, self.view.metric, self.alignment(), told, column, self.pair)
        self.copy(text, "the difference")

    def action_copy_row(self) -> None:
        """The chosen run's row, or the difference's."""
        if (found := self._of_difference()) is None:
            super().action_copy_row()
            return
        a, b, lines, _, _ = found
        text = difference_tsv(a, b, self.view.metric, self.alignment(), lines or [None], self.pair)
        self.copy(text, f"the row of {minus(self.pair)}")

    def action_copy_command(self) -> None:
        """The command that measures the chosen run's cell again; of a difference those of both, one after the other."""
        if (found := self._of_difference()) is None:
            super().action_copy_command()
            return
        a, b, _, told, column = found
        spots = spots_of(told.layers if told else None, self.alignment().places[column])
        said = []
        for picture, spot, number in zip((a, b), spots, self.pair, strict=True):
            if spot is None:
                self._tell(f"no command measures this difference: {LETTERS[number]} has no such place")
                return
            if (one := self.command_for(picture, spot)) is None:
                return
            said.append((LETTERS[number], *one))
        others = "; ".join(f"{letter}: {other}" for letter, _, other in said if other)
        self.copy(" && ".join(text for _, text, _ in said), f"both commands ({others})" if others else "both commands")
