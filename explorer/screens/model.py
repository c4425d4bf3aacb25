"""A run's network: its modules as a tree, their sizes, and how many weights sit in robust layers."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from ...store import inert
from ..core.model import (
    Node,
    Order,
    build_tree,
    columns_to_tell,
    default_folds,
    home_of,
    layer_of,
    standings,
    sums,
    tree_rows,
    weight_tensors,
)
from ..core.modeltext import Ground, about, facts, summary
from ..core.picture import Picture
from ..feed import GoneError, RunFeed, Update
from ..tail import News, Tail, Trouble
from ..widgets.keybar import KeyBar
from ..widgets.modeltree import ModelTree
from .base import LyrxScreen


class ModelScreen(LyrxScreen):
    """The network of one run, following its newest probe."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", id="model.search", key_display="/"),
        Binding("s", "sort", "by size", id="model.sort"),
        Binding("c", "column", "column", id="model.column"),
        Binding("z", "fold_all", "fold all", id="model.fold-all"),
        Binding("Z", "unfold_all", "unfold all", id="model.unfold-all", show=False),
        Binding("R", "read", "read again", id="model.read", show=False),
        Binding("escape,q", "leave", "back", id="model.back"),
    ]
    AUTO_FOCUS = "#tree"

    DEFAULT_CSS = """
    ModelScreen #sums { height: auto; padding: 1 1 0 1; text-wrap: nowrap; }
    ModelScreen.-low #sums { padding: 0 1; }
    ModelScreen #tree { height: 1fr; margin: 1 0 0 0; padding: 0 1; }
    ModelScreen.-low #tree { margin: 0; }
    ModelScreen #about { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ModelScreen #query { display: none; height: 1; border: none; padding: 0 1; }
    ModelScreen #query.-open { display: block; }
    """

    def __init__(self, run: str, picture: Picture | None = None, layer: int | None = None):
        """`picture` is shown at once, if it is known; the cursor starts on its layer `layer`."""
        super().__init__()
        self.run_name = run
        self.picture = picture
        self._start = layer
        self._feed: RunFeed | None = None
        self._tail: Tail[Update] | None = None
        self._gone = ""
        self._root = Node("")
        self._tensors: object = None
        self._folded: frozenset[str] = frozenset()
        self.order: Order = "model"
        self.looked_for = ""
        self._column = 0

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield Static("", id="sums")
        yield ModelTree(id="tree")
        yield Static("", id="about")
        yield Input(placeholder="part of a name; enter keeps, escape clears", id="query", compact=True)
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        probe = self.picture.probe.id if self.picture else None
        self._feed = RunFeed(self.lyrx.store_path, self.run_name, probe)
        self.put("#title", Text(f"{inert(self.run_name)}  reading …"))
        if self.picture is not None:
            self._take(self.picture)
        self._tail = Tail(self, self._poll, self._hear, self._lost, pace=self.pace)
        self.read()

    # Following the store

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick(force=force)

    def _poll(self, force: bool) -> Update | None:
        assert self._feed
        return self._feed.poll(force=force)

    def _hear(self, news: News[Update]) -> None:
        if self._gone:
            self._gone = ""
            self.say("")
        if news.update is not None:
            self._take(news.update.picture)

    def _lost(self, trouble: Trouble) -> None:
        self._gone = trouble.message
        if isinstance(trouble.error, GoneError) and self.picture is not None:
            self._gone += " What was read before is still shown."
        self.report(trouble)
        self.say(self._gone, alarm=True)

    def _take(self, picture: Picture) -> None:
        self.picture = picture
        described = (picture.run.tensors, picture.probe.id)
        if described != self._tensors:
            first = self._tensors is None
            self._tensors = described
            self._root = build_tree(picture.run.tensors, layer_of(picture))
            self._folded = default_folds(self._root)
            self._column = 0
            self._refresh(home_of(self._root, self._start) if first else None)
        else:
            self._refresh()

    # Drawing

    @property
    def column(self) -> int | None:
        """The column whose verdicts are told."""
        columns = columns_to_tell(self.picture) if self.picture else []
        return columns[self._column % len(columns)] if columns else None

    def _ground(self, picture: Picture) -> Ground:
        largest = max((child.total for child in self._root.children), default=0)
        column = self.column
        known = standings(picture, column) if column is not None else {}
        missing = {layer: known.get(layer, "missing") for layer in range(len(picture.probe.layers))}
        return Ground(missing, self._root.total, largest)

    def _refresh(self, cursor: str | None = None) -> None:
        picture = self.picture
        if picture is None:
            return
        self._head(picture)
        rows = tree_rows(self._root, self._folded, self.order, self.looked_for)
        self.query_one(ModelTree).show(rows, self._ground(picture), cursor)
        self._about()
        if self.looked_for:
            count = sum(row.found for row in rows)
            self._tell(f"{count} found" if count else "nothing is called so", searching=True)

    def _head(self, picture: Picture) -> None:
        width = self.size.width - 2
        title = Text.assemble(
            (inert(picture.run.name), "accent bold"), f"  {inert(picture.run.model)} on {inert(picture.run.data)}"
        )
        counted = facts(weight_tensors(picture.run.tensors), width - title.cell_len - 3)
        title.append(f" · {counted}", "muted")
        self.put("#title", title)
        column = self.column
        if column is None:
            self.put("#sums", Text("no column of the probe says which layers are robust", "muted"))
            return
        found = sums(picture, self._root, column)
        lines = summary(picture, found, width)
        columns = columns_to_tell(picture)
        if len(columns) > 1 and width >= 60:
            lines[0].append(f"   c: {columns.index(column) + 1} of {len(columns)} columns told", "muted")
        if self.has_class("-low"):
            lines = lines[1:]
        self.put("#sums", Text("\n").join(lines))

    def _about(self) -> None:
        row, picture, column = self.query_one(ModelTree).here, self.picture, self.column
        if row is None or picture is None or column is None:
            self.put("#about", Text(""))
            return
        self.put("#about", about(row.node, picture, self._ground(picture), column, lambda layer: ""))

    def _tell(self, note: str, *, searching: bool = False) -> None:
        if not self._gone:
            order = "by size · " if self.order == "size" else ""
            kept = f"/{inert(self.looked_for)}: " if searching else ""
            self.say(f"{order if searching else ''}{kept}{note}")

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._refresh)

    # Looking

    def on_model_tree_moved(self) -> None:
        self._about()

    def on_model_tree_fold(self, event: ModelTree.Fold) -> None:
        self._folded ^= {event.path}
        self._refresh()

    def action_fold_all(self) -> None:
        self._folded = frozenset(node.path for node in self._root.walk() if node.children and node.path)
        self._refresh()

    def action_unfold_all(self) -> None:
        # One step: modules first, and their tensors with the next press.
        leaves = default_folds(self._root)
        self._folded = frozenset() if self._folded == leaves else leaves
        self._refresh()

    def action_sort(self) -> None:
        self.order = "size" if self.order == "model" else "model"
        rows = tree_rows(self._root, self._folded, self.order, self.looked_for)
        self._refresh(rows[0].node.path if rows else None)
        self._tell("the largest first" if self.order == "size" else "in the network's order")

    def action_column(self) -> None:
        self._column += 1
        if self.picture is not None and len(columns_to_tell(self.picture)) < 2:
            self._tell("this probe has one column that tells robust layers")
        self._refresh()

    def action_read(self) -> None:
        self.read()

    # Searching

    def action_search(self) -> None:
        field = self.query_one("#query", Input)
        field.add_class("-open")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.looked_for = event.value
        tree = self.query_one(ModelTree)
        rows = tree_rows(self._root, self._folded, self.order, self.looked_for)
        first = next((row.node.path for row in rows if row.found), None)
        self._refresh(first if self.looked_for and not (tree.here and tree.here.found and self._still(rows)) else None)
        if not self.looked_for:
            self._tell("")

    def _still(self, rows) -> bool:
        here = self.query_one(ModelTree).here
        return here is not None and any(row.found and row.node.path == here.node.path for row in rows)

    def on_input_submitted(self) -> None:
        self._close_search()

    def _close_search(self) -> None:
        self.query_one("#query", Input).remove_class("-open")
        self.query_one(ModelTree).focus()

    def action_leave(self) -> None:
        """Out of the search first, then off the screen."""
        field = self.query_one("#query", Input)
        if field.has_class("-open") or self.looked_for:
            field.value = ""
            self._close_search()
        else:
            self.app.pop_screen()

    # To the heatmap

    def on_model_tree_chosen(self) -> None:
        """To the layer's row in the heatmap; a module of several layers is folded, or unfolded."""
        row, picture = self.query_one(ModelTree).here, self.picture
        if row is None or picture is None:
            return
        layers = row.node.layers
        if len(layers) == 1:
            self.lyrx.go_to_layer(self.run_name, picture.layer_names[layers[0]])
        elif row.folded is not None:
            self._folded ^= {row.node.path}
            self._refresh()
        else:
            self._tell("this belongs to no layer of the probe: nothing resets it")
