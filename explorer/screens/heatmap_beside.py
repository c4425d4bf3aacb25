"""What stands beside a heatmap: the cell's panel and its figures, and the way to the network and back."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..core.subject import subject
from ..widgets.side import CellSide
from .heatmap_measure import MeasureActions


class BesideActions(MeasureActions):
    """A heatmap's screen, as far as the cell under the cursor is concerned: a CellSide stands beside its Heatmap."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "figure", "next figure", id="heatmap.figure"),
        Binding("t", "model", "model", id="heatmap.model"),
    ]

    def show_cell(self) -> None:
        """Tell about the cell under the cursor."""
        picture, row = self.picture, self.row
        if picture is None or row is None:
            return
        column = self.leader.cursor[1]
        here = subject(picture, row, column, self.going_on(), self.why_failed)
        self.query_one(CellSide).show(here, self.view.figure)

    def action_figure(self) -> None:
        self.view = self.view.with_(figure=self.query_one(CellSide).after())
        self.show_cell()

    def on_cell_side_next_figure(self) -> None:
        self.action_figure()

    def action_model(self) -> None:
        row = self.row
        layer = row.layers[0] if row is not None and row.layers and not row.joint else None
        self.lyrx.open_model(self.run_name, self.picture, layer)

    def go_to_layer(self, name: str) -> None:
        """Put the cursor on a layer's row, as soon as there is one; the groups that hide it are unfolded."""
        hiding = {prefix for prefix in self.view.folded if name.startswith(f"{prefix}.")}
        folded = self.view.folded - hiding
        if self.picture is None:  # not read yet: the cursor starts there
            self.view = self.view.with_(layer=name, folded=folded)
        else:
            self.change(layer=name, folded=folded)
