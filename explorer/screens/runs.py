"""The table of runs: find one, mark several, open it."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.widgets import Input, Static

from ...store import inert
from ..core.query import KEYS, Query, ordered, parse
from ..core.runcolumns import COLUMNS
from ..core.runrow import RunRow, Table
from ..core.view import TableView
from ..runsout import RUN_FORMATS, runs_file
from ..tablefeed import TableFeed
from ..tail import News, Tail, Trouble
from ..widgets.keybar import KeyBar
from ..widgets.runtable import RunTable
from .export import Offer, ask
from .runs_glance import GlanceBeside

_BUDGET = 0.08
"""Seconds that one look at the table may take before it shows what it has found."""


class FilterInput(Input):
    """The line that is typed after `/`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.clear_filter", "show all", id="filter.clear"),
        Binding("down", "screen.cursor(1)", "down", id="filter.down", show=False),
        Binding("up", "screen.cursor(-1)", "up", id="filter.up", show=False),
    ]


class RunsScreen(GlanceBeside):
    """All runs of the store."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_training", "new training", id="runs.new"),
        Binding("L", "training", "log", id="runs.training", show=False),
        Binding("t", "model", "model", id="runs.model", show=False),
        Binding("v", "compare", "compare", id="runs.compare", show=False),
        Binding("slash", "filter", "filter", id="runs.filter", key_display="/"),
        Binding("s", "sort", "sort", id="runs.sort"),
        Binding("S", "turn", "turn order round", id="runs.turn", show=False),
        Binding("escape", "clear_filter", "show all", id="runs.clear", show=False),
        Binding("R", "read", "read again", id="runs.read", show=False),
        Binding("w", "export", "write a file", id="runs.export", show=False),
        Binding("q", "app.quit", "quit", id="runs.quit"),
    ]

    DEFAULT_CSS = """
    RunsScreen {
        #run-body { height: 1fr; layout: vertical; }
        #run-list { height: 1fr; padding: 0 1; }
        #run-empty { height: 1fr; padding: 1 1; display: none; }
        &.-none #run-empty { display: block; }
        &.-none RunTable, &.-none #run-glance { display: none; }
        &.-beside #run-body { layout: horizontal; }
        &.-beside #run-list { height: 100%; width: 1fr; }
        #run-filter { height: 1; padding: 0 1; display: none; background: $surface; }
        &.-filtering #run-filter { display: block; }
        #run-slash { width: 2; color: $lyrx-accent; text-style: bold; }
        FilterInput, FilterInput:focus { height: 1; border: none; padding: 0; background: $surface; width: 1fr; }
    }
    """

    def __init__(self, feed: TableFeed, first: Table | None = None, view: TableView | None = None):
        super().__init__()
        self._told = Text()
        self._feed, self._first = feed, first
        self._view = view or TableView()
        """How it was looked at last, here or before."""
        self.table: Table | None = None
        self.query_text: Query = parse(self._view.filter)
        """What is filtered by."""
        self.sort, self.descending = self._view.sort, self._view.descending
        """The column sorted by, and whether the other way round."""
        self._sorted: list[RunRow] = []
        self._tail: Tail[Table] | None = None
        self._trouble = ""

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        with Container(id="run-body"):
            with Container(id="run-list"):
                yield RunTable(id="run-table", clock=self.clock)
                yield Static("", id="run-empty")
            yield from self.glance()
        with Horizontal(id="run-filter"):
            yield Static("/", id="run-slash")
            yield FilterInput(id="run-query", placeholder="a name, model or data · error<5% · state:running · age<2d")
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        self._tail = Tail(
            self, self._poll, self._take, self._lost, pace=self.pace, more=lambda: bool(self._feed.unread),
            active=lambda: self.is_current,
        )  # fmt: skip
        table = self.query_one(RunTable)
        table.focus()
        table.wanted, table.filling = self._view.run, True
        if self.query_text.text:
            self.add_class("-filtering")
            with self.prevent(Input.Changed):  # it is filtered by this already
                self.query_one(FilterInput).value = self.query_text.text
        self._head()
        if self._first is not None:
            self._show(self._first)
        self.read()

    def on_screen_resume(self) -> None:
        if self._tail is not None:
            self.read()

    # Following the store

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick(force=force)

    def _poll(self, force: bool) -> Table | None:
        return self._feed.poll(budget=None if force else _BUDGET)

    def _take(self, news: News[Table]) -> None:
        self._trouble = ""
        if news.update is not None:
            self._show(news.update)
            self.report_damage(news.update.problems)
        else:
            self.query_one(RunTable).refresh_lines_changed()
        self._say()

    def _lost(self, trouble: Trouble) -> None:
        self._trouble = trouble.message
        self.report(trouble)
        self._say()

    def _show(self, found: Table) -> None:
        self.table = found
        self._order()
        table = self.query_one(RunTable)
        table.measure(found.rows)
        self._arrange()
        if not found.unread:
            table.wanted = None  # what has not come by now is gone, or filtered out
            table.filling = False
        self._say()

    @property
    def view(self) -> TableView:
        """How the runs are looked at."""
        for table in self.query(RunTable):  # none before there is a table, and when the app ends
            run = table.wanted or (table.chosen.name if table.chosen else None)
            self._view = TableView(self.query_text.text, self.sort, self.descending, run)
        return self._view

    def _order(self) -> None:
        rows = self.table.rows if self.table else ()
        self._sorted = ordered(rows, self.sort, self.clock(), reverse=self.descending)

    def _arrange(self) -> None:
        """Show the runs that are meant, in their order."""
        found = self.query_text.select(self._sorted, self.clock())
        # Of a store that is slow to read not one run may be known yet: that is not to say that there are none.
        begun = self.table is not None and not (self.table.unread and not self.table.rows)
        self.set_class(begun and not found, "-none")
        table = self.query_one(RunTable)
        table.show(found, self.sort, self.descending)
        if found and self.focused is None:
            table.focus()  # while there was nothing to show it was hidden, and what is hidden loses the focus
        if begun and not found:
            self.put("#run-empty", self._nothing())
        self._head()
        self._facts()

    def _nothing(self) -> Text:
        if self.table is not None and self.table.rows:
            text = Text("No run matches ").append(inert(self.query_text.text), "accent bold")
            return text.append(".\n\nesc shows all of them.", "muted")
        store = inert(str(self.lyrx.store_path))
        text = Text("This store has no runs yet.\n\nTrain and measure a network:  ")
        text.append(f"lyrx batch SPEC.toml --store {store}", "accent")
        return text.append("\nIt appears here as soon as it has begun.")

    def _head(self) -> None:
        title = Text(no_wrap=True, overflow="ellipsis").append("lyrx", "accent bold")
        title.append(f"  {inert(str(self.lyrx.store_path))}")
        table = self.table
        if table is None:
            self.put("#title", title.append("  ·  reading …", "muted"))
            return
        count, shown = len(table.rows), self.query_one(RunTable).row_count
        runs = f"{count:,} run{'s' if count != 1 else ''}"
        title.append(f"  ·  {runs}" if shown == count else f"  ·  {shown:,} of {runs}", "muted")
        if marked := len(self.marked):
            title.append("  ·  ", "muted").append(f"◆ {marked} marked", "accent")
        if table.unread:
            title.append(f"  ·  reading {table.unread:,} …", "muted")
        self.put("#title", title)

    def told(self, note: Text | str, *, alarm: bool = False) -> None:
        """Keep a note until the cursor moves."""
        self._told = note if isinstance(note, Text) else Text(note, "alarm" if alarm else "")
        self._say()

    def _say(self) -> None:
        """One line: trouble first, then what is wrong with the filter, then runs that cannot be read."""
        problems = self.table.problems if self.table else ()
        if self._trouble:
            self.say(self._trouble, alarm=True)
        elif self.query_text.problem:
            self.say(inert(self.query_text.problem), alarm=True)
        elif problems:
            first, *others = problems
            self.say(inert(first) + (f" (and {len(others)} more)" if others else ""), alarm=True)
        else:
            self.say(self._told)

    # Finding

    def action_filter(self) -> None:
        """Type what is looked for; the runs that are meant stay."""
        self.add_class("-filtering")
        self.query_one(FilterInput).focus()

    def action_clear_filter(self) -> None:
        """Show all runs again."""
        self.query_one(FilterInput).value = ""
        self.remove_class("-filtering")
        self.query_one(RunTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.filter(event.value)

    def on_input_submitted(self) -> None:
        self.set_class(bool(self.query_text.text), "-filtering")
        self.query_one(RunTable).focus()

    def filter(self, text: str) -> None:
        """Show only the runs that `text` means (see :mod:`..core.query`)."""
        self.query_text = parse(text)
        self._arrange()
        self._say()

    def action_cursor(self, step: int) -> None:
        self.query_one(RunTable).action_move(step)

    def sort_by(self, column: str, *, descending: bool = False) -> None:
        """Sort by a column of :data:`..core.query.KEYS`."""
        self.sort, self.descending = column, descending
        self._order()
        self._arrange()
        if column not in [shown.spec.id for shown in self.query_one(RunTable).shown]:
            self.told(f"sorted by {column}, which there is no room to show")

    def action_sort(self) -> None:
        """Sort by the next of the columns that are shown."""
        shown = [column.spec.id for column in self.query_one(RunTable).shown] or [spec.id for spec in COLUMNS]
        after = shown.index(self.sort) + 1 if self.sort in shown else 0
        self.sort_by(shown[after % len(shown)])

    def action_turn(self) -> None:
        """Turn the order round."""
        self.sort_by(self.sort, descending=not self.descending)

    def on_run_table_sorted(self, event: RunTable.Sorted) -> None:
        assert event.column in KEYS
        self.sort_by(event.column, descending=event.column == self.sort and not self.descending)

    def action_new_training(self) -> None:
        from .start import StartScreen

        self.app.push_screen(StartScreen())

    def action_training(self) -> None:
        from .training import TrainingScreen

        if self.chosen is not None:
            self.app.push_screen(TrainingScreen(self.chosen.name))

    def action_read(self) -> None:
        """Look at every run again, now."""
        self.read(force=True)

    # The marked runs, and the one under the cursor

    @property
    def marked(self) -> list[str]:
        """Names of the marked runs that are there, in the order of the table, those filtered out included."""
        marks = self.query_one(RunTable).marks
        return [row.name for row in self._sorted if row.name in marks]

    def on_run_table_marked(self) -> None:
        self._head()

    def on_run_table_chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        if self.chosen is not None:
            self.lyrx.open_run(self.chosen.name)

    def action_model(self) -> None:
        if self.chosen is not None:
            self.lyrx.open_model(self.chosen.name)

    def action_compare(self) -> None:
        """The marked runs beside each other; with fewer than two, ask which others."""
        if len(self.marked) > 1:
            self.lyrx.compare(self.marked)
        elif self.marked:
            self.lyrx.compare_with(self.marked[0])
        elif self.chosen is not None:
            self.lyrx.compare_with(self.chosen.name)

    def action_export(self) -> None:
        """Ask where to write the table of runs, as it is shown."""
        store, names = self.lyrx.store_path, [row.name for row in self.table.rows] if self.table else []
        offers = [Offer("table of runs", "runs", RUN_FORMATS, lambda form: runs_file(store, names, form))]
        ask(self, "runs", offers, self.told)

    def on_run_table_moved(self) -> None:
        self._told = Text()
        self.glance_elsewhere()
