"""A question that is answered with yes or no."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from .toned import toned


class Answer(Static, can_focus=True):
    """One of the two answers: a click or enter gives it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "choose", "this answer", id="confirm.choose", show=False),
    ]

    def on_click(self) -> None:
        self.action_choose()

    def action_choose(self) -> None:
        assert isinstance(self.screen, Confirm)
        self.screen.action_answer(self.id == "yes")


class Confirm(ModalScreen[bool]):
    """Ask; True only if the answer is yes. The safe answer has the focus."""

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 68; max-width: 94%; height: auto; max-height: 90%; padding: 1 2; background: $panel; }
    Confirm #question { width: 100%; height: auto; }
    Confirm Horizontal { width: 100%; height: 1; margin: 1 0 0 0; }
    Confirm Answer { width: auto; height: 1; margin: 0 2 0 0; padding: 0 1; background: $surface; }
    Confirm Answer:hover { text-style: underline; }
    Confirm Answer:focus { background: $foreground; color: $background; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", id="confirm.yes"),
        Binding("n,escape,q", "answer(False)", "no", id="confirm.no"),
        Binding("left,right,h,l,up,down", "other", "the other answer", id="confirm.other", show=False),
    ]

    def __init__(self, question: Text, yes: str, no: str):
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(toned(self._question, self.app), id="question")
            with Horizontal():
                yield Answer(Text(f"y  {self._yes}"), id="yes")
                yield Answer(Text(f"n  {self._no}"), id="no")

    def on_mount(self) -> None:
        # The app's own style of screens is opaque; what the question is about should be seen behind it.
        self.styles.background = Color(0, 0, 0, 0.6)
        self.query_one("#no", Answer).focus()

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        self.focus_next()
