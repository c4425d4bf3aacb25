"""Taking a heatmap's numbers away: to a file, or over OSC 52 to the clipboard of the terminal one sits at."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ...store import inert
from ..core.copying import cell_line, command, row_tsv, unlike
from ..core.export import FORMATS, Format, cropped, encode, file_name
from ..core.part import Part
from ..core.survey import scene, survey
from ..core.texts import shorten
from .export import Offer, ask
from .heatmap_state import HeatmapState


class TakeActions(HeatmapState):
    """What the heatmap's screen can do with what it shows: the screen is made of this and others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "export", "write a file", id="heatmap.export"),
        Binding("y", "copy_cell", "copy the cell", id="heatmap.copy-cell", show=False),
        Binding("Y", "copy_row", "copy the row", id="heatmap.copy-row", show=False),
        Binding("u", "copy_command", "copy the command for the cell", id="heatmap.copy-command", show=False),
    ]

    def action_export(self) -> None:
        """Ask what to write, and where."""
        picture = self.picture
        if picture is None:
            self._tell("there is nothing to write yet")
            return
        metric = self.view.metric
        # What is going on right now is nothing that a file should tell.
        drawn = scene(survey(picture, metric, self.view.ramp), self.view)
        rows, columns = self._on_screen()
        layers = [layer for row in rows for layer in drawn.rows[row].layers or (None,)]
        part, seen = Part(tuple(layers), tuple(columns)), cropped(drawn, rows, columns)
        forms = tuple(FORMATS.values())

        def whole(form: Format) -> bytes:
            return encode(picture, metric, form, scene=drawn)

        def shown(form: Format) -> bytes:
            return encode(picture, metric, form, part, seen)

        name = file_name(picture.run.name, metric)
        offers = [
            Offer("whole heatmap", name, forms, whole),
            Offer("on screen", f"{name}-part", tuple(form for form in forms if form.name != "json"), shown),
        ]
        heading, shot = f"{shorten(picture.run.name, 40)}: {metric}", file_name(picture.run.name, "screen")
        ask(self, heading, offers, self._tell, shot)

    def _on_screen(self) -> tuple[list[int], list[int]]:
        """The rows and columns of the scene that are seen now."""
        widget = self.leader
        grid, shown = widget._grid, widget.scene
        assert grid
        assert shown
        x, y, (width, height) = round(widget.scroll_x), round(widget.scroll_y), widget.viewport
        rows = [row for row in range(len(shown.rows)) if grid.lines_of(grid.line_of(row), y, height)[1] > 0]
        return rows, [*grid.columns_shown(x, width)]

    # Copying

    def action_copy_cell(self) -> None:
        """The cell with all its numbers, as one line."""
        if self.picture is not None:
            self._copy(cell_line(self.picture, *self.spot()), "cell")

    def action_copy_row(self) -> None:
        """The row in the metric shown, as tab-separated values."""
        if self.picture is not None:
            layers = [layer for layer, _ in self.places_under_cursor()]
            self._copy(row_tsv(self.picture, self.view.metric, layers), "row")

    def action_copy_command(self) -> None:
        """The command that measures the cell again."""
        if self.picture is None:
            return
        layer, column = self.spot()
        if reason := self.picture.unavailable(layer, column):
            self._tell(f"no command measures this cell: {inert(reason)}")
        else:
            other = unlike(self.picture, layer, column)
            text = command(self.picture, self.lyrx.store_path.absolute(), layer, column)
            self._copy(text, f"command ({other})" if other else "command")

    def _copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(text)
        self._tell(f"copied the {what}: {inert(text.strip().replace(chr(10), ' / ').replace(chr(9), ' '))}")
