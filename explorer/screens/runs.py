"""The table of runs, and a glance at the one under the cursor."""

import asyncio
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, Static

from ...store import LyrxError, inert
from ..widgets.chart import Chart
from ..widgets.curves import training_plot
from ..widgets.heatmap import Heatmap
from ..widgets.runtable import RunTable
from .base import LyrxScreen
from .feed import RunFeed, RunRow, Table, TableFeed, Update

_STATES = {
    "complete": ("●", "#87d787"),
    "training": ("◐", "#ffaf5f"),
    "probing": ("◑", "#d787ff"),
    "interrupted": ("○", "#8a8a8a"),
}
_MUTED = Style(color="#8a8a8a")
_COLUMNS = ("run", "model", "data", "epochs", "error", "state")


def state_mark(row: RunRow) -> Text:
    """The run's state: a mark, the word, and how far its training or, after that, its cells are."""
    mark, colour = _STATES[row.status]
    text = Text(f"{mark} {row.status}", Style(color=colour))
    if row.status == "complete":
        if row.exact < row.wanted:
            text.append(f", {int(100 * row.exact / row.wanted)} % exact", _MUTED)
    else:
        trained = row.epoch is not None and row.epoch >= row.epochs
        share = row.cells / max(1, row.wanted) if trained else (row.epoch or 0) / max(1, row.epochs)
        if share < 1:
            text.append(f" {int(100 * share)} %", _MUTED)
        elif row.status == "interrupted":
            text.append(" damaged", Style(color="#ff5f5f"))
    return text


class RunsScreen(LyrxScreen):
    """All runs of the store."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "read", "read again", id="runs.read", show=False),
        Binding("question_mark", "app.help", "help", id="runs.help", key_display="?"),
        Binding("q", "app.quit", "quit", id="runs.quit"),
    ]

    def __init__(self, feed: TableFeed, first: Table | None = None):
        super().__init__()
        self._feed = feed
        self._first = first
        self.table: Table | None = None
        self._reading = False
        self._glance: RunFeed | None = None
        self._glancing = False

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield RunTable(id="runs", cursor_type="row", cell_padding=1)
        yield Static("", id="empty")
        with Container(id="preview"):
            yield Heatmap(id="glance", interactive=False)
            yield Chart(id="glance-training")
        yield Static("", id="note")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._title(None)
        if self._first is not None:
            self._show(self._first)
        self.read()
        self.set_interval(self.lyrx.poll_seconds, self.read)

    def on_screen_resume(self) -> None:
        self.read()

    # Following the store

    def read(self) -> None:
        """Look for what is new, off the event loop."""
        if not self._reading and self.is_current:
            self._reading = True
            self.run_worker(self._read(), group="feed")

    async def _read(self) -> None:
        try:
            table = await asyncio.to_thread(self._feed.poll)
        except (LyrxError, OSError) as error:
            self.say(inert(str(error)), alarm=True)
        else:
            if table is not None:
                self._show(table)
            self.glance()
        finally:
            self._reading = False

    def _show(self, found: Table) -> None:
        self.table = found
        self._title(len(found.rows))
        self.set_class(not found.rows, "-nothing")
        store = inert(str(self.lyrx.store_path))
        self.query_one("#empty", Static).update(
            Text(f"This store has no runs yet.\n\nTrain and measure a network:  lyrx batch SPEC.toml --store {store}\n"
                 "It appears here as soon as it has begun.")
        )  # fmt: skip
        self._fill()
        if found.problems:
            first, *others = found.problems
            self.say(inert(first) + (f" (and {len(others)} more)" if others else ""), alarm=True)
        else:
            self.say("")

    def _fill(self) -> None:
        if self.table is not None:
            titles = [Text(title, justify="right" if title in ("epochs", "error") else "left") for title in _COLUMNS]
            self.query_one(RunTable).fill(titles, [_cells(run) for run in self.table.rows], self.size.width - 2)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._fill()
        self.query_one("#glance", Heatmap).show_metric("error", event.size.width >= 130)

    def _title(self, count: int | None) -> None:
        runs = "reading …" if count is None else f"{count} run{'s' if count != 1 else ''}"
        name = ("lyrx", Style(color="#ffaf5f", bold=True))
        store = inert(str(self.lyrx.store_path))
        self.query_one("#title", Static).update(Text.assemble(name, f"  {store}", (f"  ·  {runs}", _MUTED)))

    # The run under the cursor

    @property
    def chosen(self) -> RunRow | None:
        """The run under the cursor."""
        row = self.query_one(RunTable).cursor_row
        return self.table.rows[row] if self.table and row < len(self.table.rows) else None

    def on_data_table_row_highlighted(self) -> None:
        self.glance()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        if self.chosen is not None:
            self.lyrx.open_run(self.chosen.name)

    def action_read(self) -> None:
        self.read()

    def glance(self) -> None:
        """Show what the run under the cursor holds, off the event loop."""
        if self.chosen is not None and not self._glancing:
            self._glancing = True
            self.run_worker(self._take_glance(self.chosen.name), group="glance")

    async def _take_glance(self, name: str) -> None:
        update: Update | None = None
        try:
            if self._glance is None or self._glance.run != name:
                self._glance = RunFeed(self.lyrx.store_path, name)
            update = await asyncio.to_thread(self._glance.poll)
        except (LyrxError, OSError):
            self._glance = None  # the table says what is wrong with it, or will lack it in a moment
        finally:
            self._glancing = False
        if self.chosen is not None and self.chosen.name != name:
            self.glance()
        elif update is not None:
            self.query_one("#glance", Heatmap).show(update.picture)
            self.query_one("#glance-training", Chart).show(training_plot(update.picture))


def _cells(run: RunRow) -> list[Text]:
    epoch = "–" if run.epoch is None else str(run.epoch)
    epochs = epoch if run.epoch == run.epochs else f"{epoch}/{run.epochs}"
    error = "–" if run.error is None else f"{100 * run.error:.2f} %"
    trained = run.epoch == run.epochs
    return [
        Text(inert(run.name), Style(bold=True), no_wrap=True, overflow="ellipsis"),
        Text(inert(run.model), no_wrap=True, overflow="ellipsis"),
        Text(inert(run.data), no_wrap=True, overflow="ellipsis"),
        Text(epochs, justify="right"),
        Text(error, Style() if trained else _MUTED, justify="right"),
        state_mark(run),
    ]
