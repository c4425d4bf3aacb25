"""One run of a comparison, and how all of them are laid out."""

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from ..widgets.scenemap import SceneMap

MOST = 9
"""Runs that are compared at once."""

STYLE = """
CompareScreen #compare-body { height: 1fr; layout: vertical; padding: 0 1; }
CompareScreen #panes { width: 100%; height: 1fr; layout: grid; grid-gutter: 0 2; }
CompareScreen .pane { height: 100%; width: 100%; }
CompareScreen .pane-head { height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
CompareScreen .pane-words { display: none; padding: 1 2; color: $lyrx-muted; }
CompareScreen .pane.-words .pane-words { display: block; }
CompareScreen .pane.-words SceneMap { display: none; }
CompareScreen SceneMap { height: 1fr; width: 100%; }
CompareScreen #curves { display: none; width: 100%; height: 1fr; layout: horizontal; }
CompareScreen #curves Chart { width: 1fr; height: 100%; padding: 0 1 0 0; }
CompareScreen.-curves #curves { display: block; layout: horizontal; }
CompareScreen.-curves.-narrow #curves { layout: vertical; }
CompareScreen.-curves.-narrow #curves Chart { width: 100%; height: 1fr; }
CompareScreen.-curves #panes { display: none; }
CompareScreen #compare-side { width: 100%; height: auto; max-height: 50%; layout: horizontal; }
CompareScreen #compare-side Static { width: 1fr; height: auto; }
CompareScreen #compare-whole, CompareScreen #compare-about { display: none; }
CompareScreen.-whole #compare-whole { display: block; }
CompareScreen.-whole #compare-place { display: none; }
CompareScreen.-tall #compare-side { padding: 1 0 0 0; }
CompareScreen.-wide #compare-whole, CompareScreen.-wide #compare-place { display: block; padding: 0 3 0 0; }
CompareScreen.-wide #compare-about { display: block; color: $lyrx-muted; }
CompareScreen.-wide #compare-side #compare-place { width: 70; }
"""


class Pane(Vertical):
    """A heatmap with the name of its run above it, or why there is none."""

    class Picked(Message):
        """It was pointed at: its run is the one to look at."""

        def __init__(self, number: int | None):
            super().__init__()
            self.number = number

    def __init__(self, number: int | None):
        super().__init__(id="pane-difference" if number is None else f"pane-{number}", classes="pane")
        self.number = number

    def compose(self) -> ComposeResult:
        yield Static("", classes="pane-head")
        yield SceneMap()
        yield Static("", classes="pane-words")

    @property
    def map(self) -> SceneMap:
        return self.query_one(SceneMap)

    def on_mouse_down(self) -> None:
        self.post_message(self.Picked(self.number))


class Panes(Container):
    """The heatmaps side by side or one above the other; tells when there is other room for them."""

    class Resized(Message):
        """It has another size."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())
