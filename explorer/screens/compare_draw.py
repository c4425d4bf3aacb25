"""What is drawn of runs that are compared: the heatmaps, as many as there is room for, and the words around them."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from ...store import inert
from ..core.alignment import LETTERS, align
from ..core.arrangement import Arrangement, arrange
from ..core.compare import difference_scene, largest_line, lines_of, scenes, worst_line
from ..core.compare_heads import about_text, newer_probes, probes_matter, scale_text, side_text, title_text
from ..core.compare_numbers import summary
from ..core.compare_text import LEVELS, all_pairs, minus, place_text, summary_text, warnings
from ..core.curves import curves_plot, trained_text
from ..core.rows import FOLDED
from ..core.scene import NETWORK_KEY, Scene
from ..widgets.chart import Chart
from ..widgets.heatmap import colour_system
from .compare_pane import Pane
from .compare_runs import ComparedRuns


class DrawRuns(ComparedRuns):
    """A comparison's screen, as far as drawing is concerned."""

    def refresh_all(self) -> None:
        if not self.is_mounted or not self.query("#panes"):
            return
        self.put("#title", title_text(self.runs, self.size.width - 2))
        found = self._draw()
        self._begin()
        self._arrange(found)
        self._curves()
        self._legend(found)
        self._heads()
        self._texts()
        self._say()

    def _draw(self) -> list[Scene]:
        """Give every heatmap its scene; those of the runs."""
        shown = self.shown
        if self.mode == "difference":
            pane = self.query_one("#pane-difference", Pane)
            problem = self._difference_problem()
            self._words(pane, problem)
            if not problem and self.two:
                scene = difference_scene(*self.two, self.view, self.alignment())
                pane.map.show(scene)
                return [scene]
            return []
        found = list(scenes(shown, self.view, self.alignment())) if shown and not self._nothing() else []
        drawn = iter(found)
        for pane, side in zip(self.panes(), self.sides, strict=True):
            words = side.problem if side.picture is None else self._nothing()
            self._words(pane, words or ("" if self._heard else "reading …"))
            if side.picture is not None and found:
                pane.map.show(next(drawn))
        return found

    def _nothing(self) -> str:
        """Why the runs cannot be shown in one frame: one alone always can."""
        return self._apart() if len(self.shown) > 1 else ""

    def _apart(self) -> str:
        """Why there is nothing to compare, and what can be done."""
        problem = self.alignment().problem()
        grains = {picture.probe.granularity for picture in self.shown}
        return f"{problem} p chooses another probe of a run." if problem and len(grains) > 1 else problem

    def _difference_problem(self) -> str:
        if not self.two:
            missing = [number for number in self.pair if self.sides[number].picture is None]
            said = "; ".join(f"{LETTERS[n]}: {self.sides[n].problem or 'reading …'}" for n in missing)
            return f"there is no difference to show: {said}"
        return self._apart()

    def _words(self, pane: Pane, words: str) -> None:
        pane.set_class(bool(words), "-words")
        pane.query_one(".pane-words", Static).update(Text(words))

    def _arrange(self, found: Sequence[Scene] = ()) -> None:
        """Show as many heatmaps as there is room for, the chosen one among them."""
        panes, grid = self.panes(), self.query_one("#panes")
        difference = self.mode == "difference"
        self.query_one("#pane-difference", Pane).display = difference
        size = grid.size if grid.size.width else self.size
        now = Arrangement(1, 1) if difference else self._fitting(found, size.width, size.height)
        window = range(0) if difference else now.window(len(panes), self.chosen)
        for pane in panes:
            pane.display = pane.number in window
        grid.styles.grid_size_columns = min(now.across, max(1, len(window)))
        grid.styles.grid_size_rows = now.down

    def _fitting(self, found: Sequence[Scene], width: int, height: int) -> Arrangement:
        if found:
            # Runs without a heatmap have a place as well.
            return arrange([found[0]] * len(self.runs), width, height, shaded=colour_system(self.app) is None)
        return Arrangement(len(self.runs) if width >= 30 * len(self.runs) else 1, 1)

    def _curves(self) -> None:
        for what in ("error", "loss"):
            chart = self.query_one(f"#curve-{what}", Chart)
            runs = [side.trained for side in self.sides]
            chart.show(curves_plot(runs, what, chart.size.width or 40))

    def _legend(self, found: Sequence[Scene]) -> None:
        width = self.size.width - 2
        if self.mode == "curves":
            self.put("#legend", Text("training curves, each with its run's letter", "bold"))
        elif found:
            about = about_text(self.view.metric, self.pair if self.mode == "difference" else None, width)
            by = "depth" if self.view.order == "depth" else self.sorted_by
            self.put("#legend", scale_text(found, about, by, width, colour_system(self.app)))
        else:
            self.put("#legend", Text(""))

    def _heads(self) -> None:
        matter = probes_matter(self.pictures, [side.probes for side in self.sides])
        for pane, side, probe in zip(self.panes(), self.sides, matter, strict=True):
            chosen = pane.number == self.chosen and self.mode == "sides"
            width = pane.size.width or self.size.width - 2
            head = side_text(LETTERS[pane.number or 0], side.name, side.picture, width, chosen=chosen, probe=probe)
            self.put(f"#{pane.id} .pane-head", head)
        a, b = (self._named(number, matter[number]) for number in self.pair)
        head = Text.assemble(("▸ ", "accent bold"), (f"{b} − {a}", "bold"), no_wrap=True)
        self.put("#pane-difference .pane-head", head)

    def _named(self, number: int, probe: bool) -> str:
        """A run's letter and name, and where it matters its probe."""
        picture = self.sides[number].picture
        said = f" ({inert(picture.probe.id)})" if probe and picture is not None else ""
        return f"{LETTERS[number]} {inert(self.runs[number])}{said}"

    def _texts(self) -> None:
        wide = self.has_class("-wide")
        self._place(66 if wide else max(30, self.size.width - 2))
        whole, about = Text(), Text()
        if self.two and not self.alignment().problem():
            width = max(30, (self.size.width - 72) // 2 - 3 if wide else self.size.width - 2)
            lines = max(6, self.size.height // 4)
            whole = summary_text(summary(*self.two, self.view.metric), self.pair, width, lines=lines)
            about = Text(LEVELS)
        self.put("#compare-whole", whole)
        self.put("#compare-about", about)

    def _place(self, width: int) -> None:
        """The numbers at the cursor, or those of the training."""
        if self.mode == "curves":
            self.put("#compare-place", trained_text([side.trained for side in self.sides], width))
            return
        leader = self.leader
        key, label = leader.row_key, leader.column_label
        alignment = align(self.shown, every_column=True) if self.shown else None
        column = alignment.column(label) if alignment else None
        if alignment is None or column is None or key is None or self._nothing():
            self.put("#compare-place", Text(""))
            return
        pairs = [self.pair] if self.mode == "difference" else all_pairs(len(self.runs))[: len(self.runs) - 1]
        name, why = self._told(key, label)
        self.put(
            "#compare-place",
            place_text(self.pictures, alignment, name, column, self.view.metric, pairs, width, why),
        )

    def _told(self, key: str, label: str | None) -> tuple[str | None, str]:
        """The layer that is told of (None: the whole network), and of a folded row why it is this one."""
        if key == NETWORK_KEY:
            return None, ""
        if not key.startswith(FOLDED):
            return key, ""
        alignment, scene, metric = self.alignment(), self.leader.scene, self.view.metric
        column, group = alignment.column(label), inert(key.removeprefix(FOLDED))
        assert scene is not None
        assert column is not None
        lines = lines_of(alignment, key)
        if self.mode == "difference" and self.two:
            at = largest_line(alignment, *self.two, metric, scene.scale, lines, column)
            return alignment.lines[at].name, f"the largest {minus(self.pair)} in {group}"
        number = len([picture for picture in self.pictures[: self.leading] if picture is not None])
        at = worst_line(alignment, self.shown[number], number, metric, scene.scale, lines, column)
        return alignment.lines[at].name, f"{LETTERS[self.leading]}'s worst in {group}"

    def _say(self) -> None:
        """Bad news first, then what was asked, then what stands between like and like."""
        problems = [f"{LETTERS[n]}: {side.problem}" for n, side in enumerate(self.sides) if side.problem]
        alignment = self.alignment()
        known = warnings(self.shown, alignment) if len(self.shown) > 1 else []
        if self.mode != "curves":  # why there is nothing to compare is said where the heatmaps would be
            known = [said for said in known if said != alignment.problem()]
        if alignment.left_out and alignment.columns:
            known[-1] += " (a shows them)"
        newer = newer_probes(self.pictures, [side.probes for side in self.sides])
        parts = [self._gone, *problems, self._hint, *known, *newer]
        self.say("  ·  ".join(filter(None, parts)), alarm=bool(self._gone or problems))
