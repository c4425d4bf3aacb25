"""Copying what stands under the cursor of a heatmap, over OSC 52, to the clipboard of the terminal one sits at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from ...store import inert
from ..core.copying import cell_line, command, row_tsv, unlike
from ..core.picture import Picture
from ..core.survey import Spot
from .looking import LookActions


@dataclass(frozen=True)
class Under:
    """What is under the cursor."""

    picture: Picture
    spot: Spot
    """The place that is told of: of a folded row that of the layer whose number is shown."""
    places: Sequence[Spot]
    """Of all layers of the row."""
    whose: str = ""
    """Which of several runs it is of, to be read before 'cell'."""

    def named(self, what: str) -> str:
        """'the cell', or 'B's cell'."""
        return f"{self.whose} {what}" if self.whose else f"the {what}"


class CopyActions(LookActions):
    """A screen with a cell under the cursor that can be taken along.

    The keys are the same wherever there is one, with the ids of the heatmap's screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy_cell", "copy the cell", id="heatmap.copy-cell", show=False),
        Binding("Y", "copy_row", "copy the row", id="heatmap.copy-row", show=False),
        Binding("u", "copy_command", "copy the command for the cell", id="heatmap.copy-command", show=False),
    ]

    def under_cursor(self) -> Under | str | None:
        """What is copied; a line that says why nothing can be, or None while there is nothing at all."""
        return None

    def _under(self) -> Under | None:
        found = self.under_cursor()
        if isinstance(found, str):
            self._tell(found)
            return None
        return found

    def action_copy_cell(self) -> None:
        """The cell with all its numbers, as one line."""
        if (under := self._under()) is not None:
            self.copy(cell_line(under.picture, *under.spot), under.named("cell"))

    def action_copy_row(self) -> None:
        """The row in the metric shown, as tab-separated values."""
        if (under := self._under()) is not None:
            layers = [layer for layer, _ in under.places]
            self.copy(row_tsv(under.picture, self.view.metric, layers), under.named("row"))

    def action_copy_command(self) -> None:
        """The command that measures the cell again."""
        if (under := self._under()) is not None:
            said = self.command_for(under.picture, under.spot)
            if said is not None:
                text, other = said
                self.copy(text, under.named(f"command ({other})" if other else "command"))

    def command_for(self, picture: Picture, spot: Spot) -> tuple[str, str] | None:
        """The command that measures a cell again, and why it gives another number; None: no command does, told."""
        if reason := picture.unavailable(*spot):
            self._tell(f"no command measures this cell: {inert(reason)}")
            return None
        return command(picture, self.lyrx.store_path.absolute(), *spot), unlike(picture, *spot)

    def copy(self, text: str, what: str) -> None:
        """To the clipboard; it is told what was copied."""
        self.app.copy_to_clipboard(text)
        self._tell(f"copied {what}: {inert(text.strip().replace(chr(10), ' / ').replace(chr(9), ' '))}")
