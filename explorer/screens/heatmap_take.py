"""Taking a heatmap's numbers away: to a file, or to the clipboard."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..core.export import FORMATS, Format, cropped, encode, file_name
from ..core.part import Part
from ..core.survey import scene, survey
from ..core.texts import shorten
from .copying import CopyActions, Under
from .export import Offer, ask
from .heatmap_state import HeatmapState


class TakeActions(HeatmapState, CopyActions):
    """What the heatmap's screen can do with what it shows: the screen is made of this and others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "export", "write a file", id="heatmap.export"),
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

    def under_cursor(self) -> Under | None:
        return None if self.picture is None else Under(self.picture, self.spot(), self.places_under_cursor())
