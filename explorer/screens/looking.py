"""How heatmaps are looked at, on whichever screen they are: metric, digits, order, colours, what is folded."""

from collections.abc import Sequence

from textual.binding import Binding

from ..core.picture import METRICS
from ..core.ramp import ramp_after
from ..core.rows import folded_next, row_of_layer, toggled
from ..core.scene import Row
from ..core.view import HeatView
from ..widgets.heatmap import Heatmap
from .base import LyrxScreen

FOLDING = (
    Binding("z", "fold", "fold, unfold", id="heatmap.fold", show=False),
    Binding("Z", "fold_all", "fold all, a step further", id="heatmap.fold-all", show=False),
)
"""Keys that are the same wherever there are rows to fold."""


class LookActions(LyrxScreen):
    """A screen with a heatmap, or with several that are looked at in one way. Its heir binds the actions to keys."""

    def __init__(self) -> None:
        super().__init__()
        self.view = HeatView()
        """How it is looked at."""
        self._hint = ""
        """What was said last to a person's wish; until the cursor moves."""

    @property
    def leader(self) -> Heatmap:
        """The heatmap whose cursor counts."""
        return self.query_one(Heatmap)

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.leader.row

    @property
    def sorted_by(self) -> str:
        """What rows are sorted by where they are not in the network's order."""
        return "criticality"

    def plain_rows(self) -> Sequence[Row]:
        """The rows with nothing folded: none while nothing is known."""
        return ()

    def refresh_all(self) -> None:
        """Show everything anew."""
        self._say()

    def _say(self) -> None:
        self.say(self._hint)

    def _tell(self, hint: str) -> None:
        self._hint = hint
        self._say()

    def change(self, **changes: object) -> None:
        """Look at it otherwise; see HeatView."""
        self.view = self.view.with_(**changes)
        self.refresh_all()

    # The actions

    def action_metric(self, step: int) -> None:
        names = list(METRICS)
        at = names.index(self.view.metric) if self.view.metric in names else 0
        self.change(metric=names[(at + step) % len(names)])

    def action_digits(self) -> None:
        self.change(digits=not self.view.digits)

    def action_overview(self) -> None:
        self.change(overview=not self.view.overview)

    def action_sort(self) -> None:
        self.change(order="criticality" if self.view.order == "depth" else "depth")
        self._tell("in the network's order" if self.view.order == "depth" else f"sorted by {self.sorted_by}")

    def action_ramp(self) -> None:
        ramp = ramp_after(self.view.ramp)
        self.change(ramp=ramp.name)
        self._tell(f"colours: {ramp.title}")

    def action_fold(self) -> None:
        """Fold the innermost open group of the row under the cursor, or unfold the row."""
        row, plain = self.row, self.plain_rows()
        if row is None or not plain:
            return
        view = toggled(plain, self.view, row)
        if view == self.view:
            self._tell("this row belongs to no stage or block that could be folded")
        else:
            self.change(folded=view.folded, layer=view.layer)

    def action_fold_all(self) -> None:
        """Fold all blocks, then all stages, then unfold all; the cursor stays where its layer is."""
        row, plain = self.row, self.plain_rows()
        if row is None or not plain:
            return
        folded = folded_next([one.key for one in plain], self.view.folded)
        if folded == self.view.folded:
            self._tell("there are no stages or blocks to fold")
        else:
            self.change(folded=folded, layer=row_of_layer(plain, folded, row))

    def on_heatmap_folding(self) -> None:
        self.action_fold()
