"""Writing the table of a screen to a file."""

from collections.abc import Sequence

from rich.text import Text

from ..core.export import file_name
from .base import LyrxScreen
from .export import ExportDialog, Offer, shot_offer


class TakeTable(LyrxScreen):
    """A screen whose table can be written to a file: it tells what there is, and binds a key to `export`."""

    def offers(self) -> tuple[str, Sequence[Offer]]:
        """(what is written, as a heading; the files it can be written as)."""
        raise NotImplementedError

    def action_export(self) -> None:
        """Ask what to write, and where."""
        heading, offers = self.offers()
        shot = shot_offer(self, file_name(heading, "screen"))
        self.app.push_screen(ExportDialog(heading, [*offers, shot], self.told))

    def told(self, note: Text | str, *, alarm: bool = False) -> None:
        """What became of it."""
        self.say(note, alarm=alarm)
