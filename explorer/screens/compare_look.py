"""How runs that are compared are looked at: side by side, as a difference or as curves; which columns, which probes."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..core.alignment import LETTERS
from ..core.compare_text import all_pairs, minus
from .compare_draw import DrawRuns
from .looking import FOLDING
from .probes import Choice, ProbeChooser


class LookAtRuns(DrawRuns):
    """A comparison's screen, as far as its ways of looking are concerned."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("D", "difference", "difference", id="compare.difference"),
        Binding("K", "curves", "curves", id="compare.curves"),
        Binding("tab", "next(1)", "next run", id="compare.next", key_display="tab"),
        Binding("shift+tab", "next(-1)", "run before", id="compare.before", show=False),
        Binding("m", "metric(1)", "metric", id="compare.metric"),
        Binding("M", "metric(-1)", "metric before", id="compare.metric-back", show=False),
        Binding("i", "panel", "numbers of the whole", id="compare.panel"),
        Binding("d", "digits", "digits", id="compare.digits"),
        Binding("s", "sort", "sort", id="compare.sort"),
        *FOLDING,
        Binding("p", "probe", "probe of the chosen run", id="compare.probe", show=False),
        Binding("r", "turn", "turn the difference round", id="compare.turn", show=False),
        Binding("a", "columns", "all columns", id="compare.columns", show=False),
        Binding("o", "overview", "overview", id="compare.overview", show=False),
        Binding("C", "ramp", "colour scale", id="compare.colours", show=False),
        Binding("R", "read", "read again", id="compare.read", show=False),
    ]

    def action_next(self, step: int) -> None:
        """The next run, or in the difference the next two."""
        if self.mode == "difference":
            pairs = all_pairs(len(self.runs))
            here = pairs.index((min(self.pair), max(self.pair)))
            self.pair = pairs[(here + step) % len(pairs)]
            if len(pairs) == 1:
                self._hint = "there are only two runs (r turns the difference round)"
        elif self.mode == "sides":
            self._follow()
            self.chosen = (self.chosen + step) % len(self.runs)
        self.refresh_all()
        self._focus()

    def _switch(self, mode: str) -> None:
        key, label = self.leader.row_key, self.leader.column_label
        self.mode = "sides" if self.mode == mode else mode
        self.set_class(self.mode == "curves", "-curves")
        self._hint = ""
        self.refresh_all()
        if self.mode != "curves":
            self.leader.go_to(key, label)
            self._follow()
            self._focus()
        self.call_after_refresh(self.refresh_all)

    def action_difference(self) -> None:
        self._switch("difference")

    def action_curves(self) -> None:
        self._switch("curves")

    def action_panel(self) -> None:
        """Where only one of them fits: the cell, or the two runs as a whole."""
        self.toggle_class("-whole")
        if self.has_class("-wide"):
            self._hint = f"the numbers of {minus(self.pair)} as a whole are shown already"
        self.call_after_refresh(self.refresh_all)

    def action_turn(self) -> None:
        self.pair = (self.pair[1], self.pair[0])
        self._hint = f"the difference is {minus(self.pair)}"
        self.refresh_all()

    def action_columns(self) -> None:
        self.every_column = not self.every_column
        self._hint = "all columns of any run" if self.every_column else "the columns that all runs have"
        self.refresh_all()

    def action_read(self) -> None:
        self.read(force=True)

    # Other probes

    async def action_probe(self) -> None:
        """Choose among the probes of the chosen run; in the difference of other runs, of the one that is taken from."""
        number = self.chosen
        if self.mode == "difference" and number not in self.pair:
            number = self.pair[1]
        side, letter = self.sides[number], LETTERS[number]
        if side.picture is None:
            self._tell(f"{letter} has no probe to choose from: {side.problem or 'it is being read'}")
            return

        def chosen(choice: Choice) -> None:
            if choice is not None:
                self._hint = f"{letter}: probe {choice[1]}"
                self.follow_probe(number, choice[1])

        key = (side.name, side.picture.probe.id)
        await self.app.push_screen(ProbeChooser(self.lyrx.store_path, key, make=False), chosen)
