"""Beside or below a heatmap: everything about the cell under the cursor, and as many figures as there is room for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from ..core.cellpanel import cell_text
from ..core.plot import Plot
from ..core.plots import FIGURES, layer_plot, next_figure, training_plot, weights_plot, weights_wanted
from ..core.sidelayout import SideLayout, side_layout
from ..core.subject import Subject
from ..weights import Answer, Question
from .chart import Chart
from .toned import toned

Look = Callable[[Question], Answer | None]


class CellSide(Container):
    """The cell's panel with figures. Posts NextFigure when a figure is clicked."""

    DEFAULT_CSS = """
    CellSide { layout: vertical; }
    CellSide #cell { height: auto; width: 100%; }
    CellSide Chart { width: 100%; height: 1fr; margin: 1 0 0 0; }
    CellSide.-close Chart { margin: 0; }
    CellSide.-across { layout: horizontal; }
    CellSide.-across #cell { height: 100%; }
    CellSide.-across Chart { width: 1fr; height: 100%; margin: 0 0 0 2; }
    """

    class NextFigure(Message):
        """Another figure is wanted."""

    def __init__(self, store: Path, look: Look, *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._store, self._look = store, look
        self.subject: Subject | None = None
        self.figure = ""
        """A name in FIGURES; empty: none was asked for."""
        self._division: SideLayout | None = None
        self._said: object = None

    def compose(self) -> ComposeResult:
        yield Static("", id="cell")
        for slot in range(len(FIGURES)):
            yield Chart(id=f"figure-{slot}")

    def show(self, subject: Subject, figure: str = "") -> None:
        """Tell about `subject`; `figure` is the first of the figures shown."""
        self.subject = subject
        self.figure = figure if figure in FIGURES else ""
        self.redraw()

    def after(self) -> str:
        """The figure after this one; where words and figures take turns, words (empty) are one of them."""
        if self._division is not None and self._division.exclusive:
            turns = ("", *FIGURES)
            return turns[(turns.index(self.figure) + 1) % len(turns)]
        return next_figure(self.figure or FIGURES[0])

    def redraw(self) -> None:
        """Draw anew what may have changed: weights have come, or the room is another one."""
        subject, (width, height) = self.subject, self.size
        if subject is None or not width or not height:
            return

        def text(room: int, lines: int | None) -> Text:
            return cell_text(
                subject.picture, subject.layer, subject.column, subject.over, subject.message, room, lines,
                name=subject.name,
            )  # fmt: skip

        def count(room: int) -> int:
            return text(room, None).plain.count("\n") + 1

        layout = side_layout(width, height, count, figure=bool(self.figure))
        self._arrange(layout)
        shown = text(layout.text_width, layout.text_height)
        said = (shown, [str(span.style) for span in shown.spans], self.app.theme)
        if said != self._said:
            self._said = said
            self.query_one("#cell", Static).update(toned(shown, self.app))
        figure = self.figure or FIGURES[0]
        for slot in range(layout.figures):
            self.query_one(f"#figure-{slot}", Chart).show(self._plot(subject, figure, layout.figure_width))
            figure = next_figure(figure)

    def _arrange(self, layout: SideLayout) -> None:
        if layout == self._division:
            return
        self._division = layout
        self.set_class(layout.across, "-across")
        self.set_class(layout.exclusive, "-close")
        cell = self.query_one("#cell", Static)
        cell.styles.width = layout.text_width if layout.across else "100%"
        cell.styles.height = "100%" if layout.across else layout.text_height
        cell.display = layout.text_height > 0
        for slot in range(len(FIGURES)):
            self.query_one(f"#figure-{slot}", Chart).display = slot < layout.figures

    def _plot(self, subject: Subject, figure: str, width: int) -> Plot:
        picture, column = subject.picture, subject.column
        match figure:
            case "weights":
                return self._weights(subject, width)
            case "training":
                return training_plot(picture)
            case _:
                return layer_plot(picture, subject.layer, width, column, name=subject.name)

    def _weights(self, subject: Subject, width: int) -> Plot:
        picture, column = subject.picture, subject.column
        layers: Sequence[int] = subject.layers or ()
        names, epoch, other, missing = weights_wanted(picture, layers, column)
        answer = None
        if not missing:
            run = picture.run
            identity = f"{run.created!r} {run.fingerprint}"
            answer = self._look(Question(self._store, run.name, identity, names, epoch, other))
        compared, problem = (None, "") if answer is None else (answer.compared, answer.problem)
        return weights_plot(picture, layers, column, compared, problem, width)

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        if isinstance(event.widget, Chart) or (self._division is not None and self._division.exclusive):
            self.post_message(self.NextFigure())
