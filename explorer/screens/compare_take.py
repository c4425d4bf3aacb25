"""Taking a comparison away: the difference of two runs, the numbers of all of them, or a picture of the screen."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..core.compare_files import (
    DIFFERENCE_FORMATS,
    RUNS_FORMATS,
    difference_name,
    encode_difference,
    encode_runs,
)
from ..core.compare_text import minus
from ..core.export import Format, file_name
from .compare_runs import ComparedRuns
from .export import Offer, ask


class TakeComparison(ComparedRuns):
    """A comparison's screen, as far as files are concerned."""

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
