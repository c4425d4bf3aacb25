"""One of a few things, on a line: left and right, or a click."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from .toned import toned

CHOSEN, OTHER = "●", "○"


def places(titles: Sequence[str], width: int) -> list[tuple[int, int]]:
    """(start, end) of each choice on a line of `width`: two blanks between them, or one where room is short."""
    apart = 2 if sum(cell_len(title) + 4 for title in titles) - 2 <= width else 1
    found, x = [], 0
    for title in titles:
        end = x + apart + cell_len(title)
        found.append((x, end))
        x = end + apart
    return found


class Choice(Widget, can_focus=True):
    """A line of choices, one of them chosen. Posts Changed."""

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "choice before", id="choice.before", show=False),
        Binding("right,l,space", "step(1)", "next choice", id="choice.next", show=False),
    ]

    class Changed(Message):
        """Another one is chosen."""

    def __init__(self, titles: Sequence[str], *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.titles = tuple(titles)
        self.chosen = 0

    def offer(self, titles: Sequence[str], chosen: int) -> None:
        """Offer other things."""
        self.titles, self.chosen = tuple(titles), chosen
        self.refresh()

    def choose(self, index: int) -> None:
        """Choose one, and say so."""
        if index != self.chosen and 0 <= index < len(self.titles):
            self.chosen = index
            self.refresh()
            self.post_message(self.Changed())

    def action_step(self, step: int) -> None:
        self.choose((self.chosen + step) % len(self.titles))

    def on_click(self, event: events.Click) -> None:
        for index, (start, end) in enumerate(places(self.titles, self.size.width)):
            if start <= event.x < end:
                self.choose(index)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render(self) -> Content:
        line = Text(no_wrap=True)
        spans = places(self.titles, self.size.width)
        for index, (title, (start, end)) in enumerate(zip(self.titles, spans, strict=True)):
            line.append(" " * (start - line.cell_len))
            here = index == self.chosen
            style = ("accent bold reverse" if self.has_focus else "accent bold") if here else "muted"
            line.append(f"{CHOSEN if here else OTHER}{' ' * (end - start - cell_len(title) - 1)}{title}", style)
        return toned(line, self.app)
